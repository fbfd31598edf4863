"""Drawing masks and prompts on frames."""

from __future__ import annotations

import numpy as np
import pytest

from masklet.video.draw import PromptMarks, colour_of, draw_label, draw_prompts, overlay

GREY = np.full((60, 80, 3), 120, dtype=np.uint8)


def disc(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:60, :80]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def test_the_frame_itself_is_left_alone_and_far_pixels_stay() -> None:
    frame = GREY.copy()
    drawn = overlay(frame, {1: disc(40, 30, 12)})
    assert np.array_equal(frame, GREY)
    assert np.array_equal(drawn[~disc(40, 30, 18)], GREY[~disc(40, 30, 18)])


def test_the_inside_is_blended_with_the_colour_of_the_object() -> None:
    drawn = overlay(GREY, {2: disc(40, 30, 15)}, fill=0.5)
    assert drawn[30, 40] == pytest.approx((120 + np.array(colour_of(2))) / 2, abs=1)


def test_an_outline_is_drawn_in_the_full_colour() -> None:
    drawn = overlay(GREY, {1: disc(40, 30, 15)})
    edge = disc(40, 30, 16) & ~disc(40, 30, 13)
    assert (np.abs(drawn[edge].astype(int) - colour_of(1)).sum(axis=1) < 30).any()


def test_a_hole_stays_clear() -> None:
    drawn = overlay(GREY, {1: disc(40, 30, 25) & ~disc(40, 30, 12)})
    assert np.array_equal(drawn[30, 40], GREY[30, 40])


def test_empty_masks_and_masks_at_the_border_are_drawn() -> None:
    assert np.array_equal(overlay(GREY, {1: np.zeros((60, 80), dtype=bool)}), GREY)
    assert (overlay(GREY, {1: np.ones((60, 80), dtype=bool)}) != GREY).any(axis=2).all()


def test_colours_of_the_first_hundred_objects_differ() -> None:
    colours = [colour_of(object_id) for object_id in range(100)]
    assert len(set(colours)) == 100
    assert colour_of(1) == colour_of(1)


def test_a_negative_click_is_dark_and_a_positive_one_has_the_colour() -> None:
    frame = GREY.copy()
    draw_prompts(frame, PromptMarks(1, points_px_xy=[(20, 30), (60, 30)], labels=[1, 0]))
    positive, negative = frame[27:34, 17:24], frame[27:34, 57:64]
    assert (positive == colour_of(1)).all(axis=2).any()
    assert (negative.max(axis=2) < 40).any()
    assert not (positive.max(axis=2) < 40).any()


def test_a_label_is_legible_on_any_ground() -> None:
    for ground in (0, 255):
        frame = np.full((40, 80, 3), ground, dtype=np.uint8)
        draw_label(frame, "128", (0, 0))
        plate = frame[:14, :20]
        assert plate.max() > 200
        assert plate.min() < 60


def test_chosen_colours_stand_in_place_of_the_usual_ones() -> None:
    drawn = overlay(GREY, {2: disc(40, 30, 15)}, fill=1.0, colours={2: (10, 200, 30)})
    assert drawn[30, 40] == pytest.approx((10, 200, 30), abs=1)
