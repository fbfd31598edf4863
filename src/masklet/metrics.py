"""Scores of a predicted mask against the truth: bool arrays (h, w) in, numbers from 0 to 1 out.

J is the region overlap (IoU) and F the contour accuracy of Perazzi et al., "A Benchmark Dataset and Evaluation
Methodology for Video Object Segmentation", CVPR 2016. Two empty masks agree: every score is 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from masklet.masks import bounding_box, check_comparable

BOUNDARY_TOLERANCE = 0.008
"""How far a contour may be off and still count, as a share of the picture's diagonal."""


class JF(NamedTuple):
    """Region overlap and contour accuracy of one mask, or means of them."""

    j: float
    f: float

    @property
    def mean(self) -> float:
        """J&F."""
        return (self.j + self.f) / 2


def iou(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Intersection over union, the J of J&F."""
    check_comparable(truth, prediction)
    union = int(np.count_nonzero(truth | prediction))
    return int(np.count_nonzero(truth & prediction)) / union if union else 1.0


def boundary_f(truth: np.ndarray, prediction: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """Harmonic mean of the shares of either contour that lie near the other one, the F of J&F.

    Near means within `ceil(tolerance * diagonal)` pixels, or within `tolerance` pixels where that is 1 or more.
    A mask that fills the picture has no contour, like an empty one; F is 0 when only one of the two has a contour.
    """
    check_comparable(truth, prediction)
    bounds = bounding_box(truth | prediction)
    if bounds is None:
        return 1.0
    limit_px = tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(*truth.shape))
    truth_contour, predicted_contour = (_contour(mask, bounds) for mask in (truth, prediction))
    if not truth_contour.any() and not predicted_contour.any():
        return 1.0
    recall = _share_near(truth_contour, predicted_contour, limit_px)
    precision = _share_near(predicted_contour, truth_contour, limit_px)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def j_and_f(truth: np.ndarray, prediction: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE) -> JF:
    """Both scores of one mask."""
    return JF(iou(truth, prediction), boundary_f(truth, prediction, tolerance))


def _contour(mask: np.ndarray, bounds: tuple[int, int, int, int]) -> np.ndarray:
    """The pixels that differ from their right, lower or lower right neighbour, within the box `bounds` of the mask.

    The benchmark's definition: contours lie on the upper left side of an edge, so the result reaches one pixel
    further up and left than `bounds`; the picture's border is no contour.
    """
    x0, y0, x1, y1 = bounds
    height, width = mask.shape
    top, left, bottom, right = max(y0 - 1, 0), max(x0 - 1, 0), min(y1 + 1, height), min(x1 + 1, width)
    inside = np.pad(mask[top:bottom, left:right], ((0, 1), (0, 1)), mode="edge")
    here, beside, below, diagonal = inside[:-1, :-1], inside[:-1, 1:], inside[1:, :-1], inside[1:, 1:]
    return (here != beside) | (here != below) | (here != diagonal)


def _share_near(contour: np.ndarray, other: np.ndarray, limit_px: float) -> float:
    """Share of `contour`'s pixels with one of `other` within `limit_px`."""
    total = int(np.count_nonzero(contour))
    if total == 0 or not other.any():
        return 0.0
    near_other = cv2.dilate(other.view(np.uint8), _disk(limit_px))
    return int(np.count_nonzero(near_other[contour])) / total


def _disk(radius: float) -> np.ndarray:
    reach = np.arange(-int(radius), int(radius) + 1)
    return (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.uint8)
