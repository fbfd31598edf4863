from __future__ import annotations

import numpy as np
import pytest

from masklet.clicks import next_click, noisy_box, sample_click
from masklet.prompts import Box

EMPTY = np.zeros((60, 80), dtype=bool)


def rectangle(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = EMPTY.copy()
    mask[y0:y1, x0:x1] = True
    return mask


def click_of(points) -> tuple[float, float, int]:
    assert len(points) == 1
    return (*points.xy[0].tolist(), int(points.labels[0]))


def deepest_distance(region: np.ndarray) -> float:
    """Brute force: the largest distance of a region's pixel to the nearest pixel outside, border included."""
    padded = np.pad(region, 1)
    inside, outside = np.argwhere(padded), np.argwhere(~padded)
    return float(np.sqrt(((inside[:, None] - outside[None]) ** 2).sum(-1)).min(axis=1).max())


def test_the_first_click_is_the_centre_of_the_object():
    assert click_of(next_click(rectangle(10, 21, 30, 41), EMPTY)) == (35, 15, 1)


def test_the_next_click_goes_to_the_deeper_error():
    truth = rectangle(10, 31, 10, 31)
    missed = truth & ~rectangle(10, 31, 24, 31)
    assert click_of(next_click(truth, missed))[2] == 1
    assert click_of(next_click(truth, missed | rectangle(35, 50, 50, 65))) == (57, 42, 0)


def test_equally_deep_errors_get_a_negative_click():
    assert click_of(next_click(rectangle(0, 5, 0, 5), rectangle(20, 25, 20, 25))) == (22, 22, 0)


def test_the_border_of_the_picture_counts_as_an_edge():
    assert click_of(next_click(rectangle(0, 60, 0, 11), EMPTY))[0] == 5


def test_a_right_prediction_needs_no_click():
    truth = rectangle(5, 9, 5, 9)
    assert next_click(truth, truth.copy()) is None


def test_the_click_lies_as_deep_as_brute_force_finds():
    rng = np.random.default_rng(1)
    for _ in range(5):
        truth = np.kron(rng.random((6, 8)) < 0.4, np.ones((4, 4))).astype(bool)
        x, y, label = click_of(next_click(truth, np.zeros_like(truth)))
        distances = np.sqrt(((np.argwhere(~np.pad(truth, 1)) - (y + 1, x + 1)) ** 2).sum(-1))
        assert label == 1
        assert distances.min() == pytest.approx(deepest_distance(truth))


def test_sampled_clicks_cover_the_whole_error_uniformly():
    truth, prediction = rectangle(0, 2, 0, 2), rectangle(0, 1, 0, 4)
    rng = np.random.default_rng(0)
    clicks = [click_of(sample_click(truth, prediction, rng)) for _ in range(2000)]
    expected = {(0, 1, 1), (1, 1, 1), (2, 0, 0), (3, 0, 0)}
    assert set(clicks) == expected
    assert all(400 < clicks.count(click) < 600 for click in expected)


def test_a_right_prediction_is_sampled_outside_the_object():
    truth = ~rectangle(3, 4, 7, 8)
    assert click_of(sample_click(truth, truth, np.random.default_rng(0))) == (7, 3, 0)


def test_an_object_that_fills_the_picture_gets_a_positive_click():
    full = ~EMPTY
    assert click_of(sample_click(full, full, np.random.default_rng(0)))[2] == 1


def test_clicks_refuse_logits_and_other_sizes():
    with pytest.raises(ValueError, match="bool"):
        next_click(EMPTY, EMPTY.astype(np.float32))
    with pytest.raises(ValueError, match="resize"):
        sample_click(EMPTY, np.zeros((3, 3), bool), np.random.default_rng(0))


def test_a_box_without_noise_is_the_bounding_box():
    assert noisy_box(rectangle(10, 20, 30, 50), np.random.default_rng(0), share=0) == Box(30, 10, 50, 20)


def test_box_noise_is_at_most_a_tenth_of_the_box_and_twenty_pixels():
    rng = np.random.default_rng(0)
    small = np.array([noisy_box(rectangle(10, 20, 30, 50), rng).corners_xy.ravel() for _ in range(500)])
    offsets = np.abs(small - [30, 10, 50, 20])
    assert (offsets.max(axis=0) <= [2, 1, 2, 1]).all()
    assert (offsets.max(axis=0) > [1.9, 0.95, 1.9, 0.95]).all()

    wide = np.zeros((1000, 1000), bool)
    wide[300:700, 300:700] = True
    edges = np.array([noisy_box(wide, rng).corners_xy.ravel() for _ in range(100)])
    assert 15 < np.abs(edges - [300, 300, 700, 700]).max() <= 20


def test_noisy_boxes_stay_inside_the_picture():
    rng = np.random.default_rng(0)
    for _ in range(50):
        noisy_box(~EMPTY, rng).check_inside((60, 80))
    noisy_box(rectangle(59, 60, 79, 80), rng).check_inside((60, 80))


def test_a_box_around_nothing_is_refused():
    with pytest.raises(ValueError, match="empty"):
        noisy_box(EMPTY, np.random.default_rng(0))
