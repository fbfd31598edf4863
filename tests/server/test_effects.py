from __future__ import annotations

import numpy as np
import pytest

from masklet.server.effects import ERASED, SQUARES, Look, Sizes, change, edges, render
from masklet.server.schemas import SetLook

HW = (72, 90)
RED = (255, 0, 0)
OBJECT = np.zeros(HW, dtype=bool)
OBJECT[20:50, 30:60] = True
INSIDE, OUTSIDE = (35, 45), (60, 80)


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (*HW, 3), dtype=np.uint8)


def test_background_and_objects_are_changed_independently(frame: np.ndarray):
    drawn = render(frame, [(OBJECT, RED)], Look("erase", "desaturate"))
    assert np.all(drawn[~OBJECT] == ERASED)
    assert np.all(drawn[OBJECT].max(axis=1) == drawn[OBJECT].min(axis=1))
    assert np.array_equal(render(frame, [(OBJECT, RED)], Look("original", "original")), frame)


def test_an_overlay_tints_and_outlines_and_an_outline_only_outlines(frame: np.ndarray):
    tinted, outlined = (render(frame, [(OBJECT, RED)], Look(effect=effect)) for effect in ("overlay", "outline"))
    assert tinted[INSIDE][0] == pytest.approx(frame[INSIDE][0] * 0.55 + 255 * 0.45, abs=1)
    assert np.array_equal(outlined[INSIDE], frame[INSIDE])
    for drawn in (tinted, outlined):
        assert np.array_equal(drawn[OUTSIDE], frame[OUTSIDE])
        assert drawn[20, 45][0] > 240 > 20 > drawn[20, 45][1] - 0.05 * frame[20, 45][1]


def test_outlines_lie_on_both_sides_of_an_edge_and_belong_to_the_object(frame: np.ndarray):
    owners = OBJECT.astype(np.uint8)
    owners[20:50, 45:60] = 2
    edge = edges(owners, 2)
    assert edge[17, 40] == 0
    assert (edge[18, 40], edge[21, 40], edge[22, 40]) == (1, 1, 0)
    assert (edge[35, 44], edge[35, 45], edge[35, 52]) == (1, 2, 0)


def test_a_picture_lies_over_the_background_and_behind_the_objects(frame: np.ndarray):
    picture = np.zeros((*HW, 4), dtype=np.uint8)
    picture[:, 40:, :] = (0, 0, 255, 255)
    drawn = render(frame, [(OBJECT, RED)], Look("spotlight", "original", picture))
    assert np.array_equal(drawn[OBJECT], frame[OBJECT])
    assert tuple(drawn[OUTSIDE]) == (0, 0, 255)
    assert drawn[60, 10] == pytest.approx(frame[60, 10] / 4, abs=1)


def test_what_stands_for_transparency_and_for_pixels_are_squares(frame: np.ndarray):
    cell = Sizes.of(HW[0]).cell
    squares, pixels = change(frame, "cut-out"), change(frame, "pixelate")
    assert tuple(squares[0, 0]) == (SQUARES[0],) * 3
    assert tuple(squares[0, cell]) == (SQUARES[1],) * 3
    assert np.all(pixels[:cell, cell : 2 * cell] == frame[cell // 2, cell + cell // 2])


def test_every_look_that_a_page_may_ask_for_can_be_drawn(frame: np.ndarray):
    looks = SetLook.model_json_schema()["properties"]
    for background in looks["background"]["enum"]:
        for effect in looks["effect"]["enum"]:
            drawn = render(frame, [(OBJECT, RED)], Look(background, effect))
            assert (drawn.shape, drawn.dtype) == (frame.shape, np.uint8)
            assert np.array_equal(drawn[OUTSIDE], frame[OUTSIDE]) == (background == "original")
