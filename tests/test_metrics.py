from __future__ import annotations

import math
import time

import cv2
import numpy as np
import pytest

from masklet.metrics import boundary_f, iou, j_and_f

EMPTY = np.zeros((40, 60), dtype=bool)


def rectangle(y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    mask = EMPTY.copy()
    mask[y0:y1, x0:x1] = True
    return mask


def slow_contour(mask: np.ndarray) -> list[tuple[int, int]]:
    height, width = mask.shape
    return [
        (y, x)
        for y in range(height)
        for x in range(width)
        if any(
            mask[y, x] != mask[min(y + dy, height - 1), min(x + dx, width - 1)] for dy, dx in ((0, 1), (1, 0), (1, 1))
        )
    ]


def slow_boundary_f(truth: np.ndarray, prediction: np.ndarray, limit_px: float) -> float:
    """The definition pixel by pixel, as an oracle."""

    def share_near(contour, other):
        near = [any((y - v) ** 2 + (x - u) ** 2 <= limit_px**2 for v, u in other) for y, x in contour]
        return sum(near) / len(near) if near else 0.0

    a, b = slow_contour(truth), slow_contour(prediction)
    if not a and not b:
        return 1.0
    recall, precision = share_near(a, b), share_near(b, a)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def test_iou_is_the_shared_area_by_the_joint_area():
    assert iou(rectangle(0, 10, 0, 10), rectangle(0, 10, 5, 15)) == pytest.approx(50 / 150)


def test_two_empty_masks_agree():
    assert j_and_f(EMPTY, EMPTY) == (1.0, 1.0)


def test_an_empty_mask_disagrees_with_any_other():
    assert j_and_f(EMPTY, rectangle(3, 9, 3, 9)) == (0.0, 0.0)
    assert j_and_f(rectangle(3, 9, 3, 9), EMPTY) == (0.0, 0.0)


def test_equal_masks_score_one():
    mask = rectangle(3, 9, 3, 9)
    assert j_and_f(mask, mask.copy()) == (1.0, 1.0)
    assert j_and_f(mask, mask.copy()).mean == 1.0


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        (rectangle(0, 1, 0, 1), rectangle(0, 1, 0, 1)),
        (rectangle(39, 40, 59, 60), rectangle(38, 39, 58, 59)),
        (rectangle(39, 40, 59, 60), rectangle(5, 6, 5, 6)),
        (rectangle(0, 40, 0, 20), rectangle(0, 40, 0, 22)),
        (rectangle(30, 40, 50, 60), rectangle(28, 40, 46, 60)),
        (~EMPTY, rectangle(0, 40, 0, 59)),
        (~EMPTY, EMPTY),
        (~EMPTY, ~EMPTY),
        (rectangle(5, 20, 5, 20), rectangle(5, 20, 6, 24) | rectangle(30, 33, 40, 44)),
    ],
)
@pytest.mark.parametrize("limit_px", [1, 2, 5])
def test_f_agrees_with_the_definition_pixel_by_pixel(truth, prediction, limit_px):
    expected = slow_boundary_f(truth, prediction, limit_px)
    assert boundary_f(truth, prediction, tolerance=limit_px) == pytest.approx(expected, abs=1e-12)


def test_f_agrees_with_the_definition_on_ragged_masks():
    rng = np.random.default_rng(0)
    for limit_px in (1, 2, 3):
        truth, prediction = (np.kron(rng.random((6, 8)) < 0.3, np.ones((4, 4))).astype(bool) for _ in range(2))
        expected = slow_boundary_f(truth, prediction, limit_px)
        assert 0 < expected < 1
        assert boundary_f(truth, prediction, tolerance=limit_px) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size_hw", [(480, 854), (100, 100), (1000, 1300)])
def test_the_tolerance_grows_with_the_diagonal(size_hw):
    limit_px = math.ceil(0.008 * math.hypot(*size_hw))
    edge = size_hw[1] // 2

    def left_part(edge: int) -> np.ndarray:
        mask = np.zeros(size_hw, bool)
        mask[:, :edge] = True
        return mask

    assert boundary_f(left_part(edge), left_part(edge + limit_px)) == 1.0
    assert boundary_f(left_part(edge), left_part(edge + limit_px + 1)) == 0.0


def test_distances_on_the_limit_count_in_every_direction():
    truth = np.zeros((200, 200), bool)
    truth[100, 100] = True
    for dy, dx in ((0, 25), (25, 0), (7, 24), (24, 7), (15, 20), (20, 15), (-7, -24)):
        moved = np.roll(truth, (dy, dx), axis=(0, 1))
        assert boundary_f(truth, moved, tolerance=25) == 1.0
        assert boundary_f(truth, moved, tolerance=24) < 1.0


def test_scores_refuse_logits_and_other_sizes():
    with pytest.raises(ValueError, match="bool"):
        iou(EMPTY, EMPTY.astype(np.uint8))
    with pytest.raises(ValueError, match="resize"):
        boundary_f(EMPTY, np.zeros((3, 3), bool))


def plain_j_and_f(truth: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    """Both definitions on whole pictures: every pixel's distance to either contour is computed."""

    def contour(mask: np.ndarray) -> np.ndarray:
        grown = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
        return (mask != grown[:-1, 1:]) | (mask != grown[1:, :-1]) | (mask != grown[1:, 1:])

    def share_near(a: np.ndarray, b: np.ndarray) -> float:
        far = cv2.distanceTransform((~b).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return float((far[a] <= math.ceil(0.008 * math.hypot(*truth.shape))).mean()) if a.any() and b.any() else 0.0

    a, b = contour(truth), contour(prediction)
    recall, precision = share_near(a, b), share_near(b, a)
    f = 2 * precision * recall / (precision + recall) if precision + recall else float(not a.any() and not b.any())
    union = (truth | prediction).sum()
    return (truth & prediction).sum() / union if union else 1.0, f


def star(x: int, y: int, radius: float) -> np.ndarray:
    y_hw, x_hw = np.mgrid[:480, :854]
    dy, dx = y_hw - y, x_hw - x
    return np.hypot(dy, dx) < radius * (1 + 0.2 * np.sin(9 * np.arctan2(dy, dx)))


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [
        (star(400, 240, 90), star(406, 244, 93)),
        (star(20, 460, 90), star(25, 470, 80)),
        (star(840, 10, 120), star(845, 3, 130)),
        (star(400, 240, 1), star(404, 247, 1)),
        (star(60, 60, 30), star(800, 430, 30)),
        (star(400, 240, 90), star(400, 240, 0)),
    ],
)
def test_scores_agree_with_the_definition_on_whole_pictures(truth: np.ndarray, prediction: np.ndarray):
    assert j_and_f(truth, prediction) == pytest.approx(plain_j_and_f(truth, prediction), abs=1e-6)


def test_scoring_takes_less_than_half_the_time_of_the_definition_on_whole_pictures():
    truth, prediction = star(400, 240, 90), star(406, 244, 93)

    def best_seconds(score) -> float:
        def once() -> float:
            begin = time.process_time()
            score(truth, prediction)
            return time.process_time() - begin

        return min(once() for _ in range(5))

    assert best_seconds(j_and_f) < best_seconds(plain_j_and_f) / 2
