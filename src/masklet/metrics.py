"""Scores of a predicted mask against the truth: bool arrays (h, w) in, numbers from 0 to 1 out.

J is the region overlap (IoU) and F the contour accuracy of Perazzi et al., "A Benchmark Dataset and Evaluation
Methodology for Video Object Segmentation", CVPR 2016. Two empty masks agree: every score is 1. The evaluators of
DAVIS 2016, DAVIS 2017 and SA-V define both alike: contours on the upper left side of an edge, matched within the disc
of ``ceil(0.008 * diagonal)`` pixels, its rim included.
"""

from __future__ import annotations

import math
from functools import lru_cache
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
    return j_and_f(truth, prediction, tolerance).f


def j_and_f(truth: np.ndarray, prediction: np.ndarray, tolerance: float = BOUNDARY_TOLERANCE) -> JF:
    """Both scores of one mask. The work is bounded by the box around the two masks, not by the picture."""
    check_comparable(truth, prediction)
    limit_px = tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(*truth.shape))
    window = _window(truth, prediction)
    truth, prediction = truth[window], prediction[window]
    return JF(iou(truth, prediction), _contour_f(_contour(truth), _contour(prediction), limit_px))


def _window(truth: np.ndarray, prediction: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of all object pixels and one more on each side, where contours may lie."""
    bounds = bounding_box(truth | prediction)
    if bounds is None:
        return slice(0, 0), slice(0, 0)
    x0, y0, x1, y1 = bounds
    return slice(max(y0 - 1, 0), y1 + 1), slice(max(x0 - 1, 0), x1 + 1)


def _contour(mask: np.ndarray) -> np.ndarray:
    """The pixels that differ from their right, lower or lower right neighbour; the picture's border is no contour."""
    contour = np.zeros_like(mask)
    contour[:, :-1] = mask[:, :-1] ^ mask[:, 1:]
    contour[:-1] |= mask[:-1] ^ mask[1:]
    contour[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return contour


def _contour_f(truth: np.ndarray, prediction: np.ndarray, limit_px: float) -> float:
    if not truth.any() and not prediction.any():
        return 1.0
    recall, precision = _share_near(truth, prediction, limit_px), _share_near(prediction, truth, limit_px)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(contour: np.ndarray, other: np.ndarray, limit_px: float) -> float:
    """Share of `contour`'s pixels with one of `other` within `limit_px`."""
    if not contour.any() or not other.any():
        return 0.0
    near_other = cv2.dilate(other.view(np.uint8), _disc(limit_px)).view(bool)
    return int(np.count_nonzero(near_other & contour)) / int(np.count_nonzero(contour))


@lru_cache(maxsize=16)
def _disc(radius: float) -> np.ndarray:
    reach = np.arange(-int(radius), int(radius) + 1)
    return (reach[:, None] ** 2 + reach**2 <= radius**2).astype(np.uint8)
