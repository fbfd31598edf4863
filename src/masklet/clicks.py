"""The simulated user: where a person would click next, given the truth and what the network answered.

All masks are bool (h, w). Coordinates are pixel indices (x right, y down).
"""

from __future__ import annotations

import cv2
import numpy as np

from masklet.masks import bounding_box, check_comparable
from masklet.prompts import NEGATIVE, POSITIVE, Box, Points


def next_click(truth: np.ndarray, prediction: np.ndarray) -> Points | None:
    """The evaluation click: the pixel of the wrong region that lies deepest inside it.

    Missed object pixels (answered by a positive click) and pixels wrongly called object (negative) are two regions;
    the one with the deeper pixel is clicked, the negative one on a tie. The picture's border counts as an edge.
    With an empty `prediction` this is the centre of the object. None when nothing is wrong.
    Source: Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for Interactive Segmentation", 2021.
    """
    check_comparable(truth, prediction)
    missed = _deepest_pixel(truth & ~prediction)
    excess = _deepest_pixel(prediction & ~truth)
    (depth, xy), label = (missed, POSITIVE) if missed[0] > excess[0] else (excess, NEGATIVE)
    return Points(xy, label) if depth > 0 else None


def sample_click(truth: np.ndarray, prediction: np.ndarray, rng: np.random.Generator) -> Points:
    """The training click: a wrong pixel drawn uniformly, positive where the object was missed.

    When nothing is wrong, a negative click anywhere outside the object (positive if the object fills the picture).
    """
    check_comparable(truth, prediction)
    candidates = np.flatnonzero(truth != prediction)
    if candidates.size == 0:
        candidates = np.flatnonzero(~truth)
    index = int(rng.choice(candidates)) if candidates.size else int(rng.integers(truth.size))
    y, x = divmod(index, truth.shape[1])
    return Points((x, y), POSITIVE if truth[y, x] else NEGATIVE)


def noisy_box(mask: np.ndarray, rng: np.random.Generator, share: float = 0.1, limit_px: float = 20.0) -> Box:
    """The object's bounding box as a hasty user draws it, clipped to the picture.

    Each edge moves by a uniform amount of at most `share` of the box's size along that axis and `limit_px`.
    Raises ValueError when the mask is empty.
    """
    exact = bounding_box(mask)
    if exact is None:
        raise ValueError("expected a mask with at least one pixel to draw a box around, got an empty one")
    x0, y0, x1, y1 = exact
    reach = np.minimum(share * np.array([x1 - x0, y1 - y0] * 2), limit_px)
    height, width = mask.shape
    return Box.of(exact + reach * rng.uniform(-1, 1, size=4)).clipped((height, width))


def _deepest_pixel(region: np.ndarray) -> tuple[float, tuple[int, int]]:
    """Distance in pixels of the region's innermost pixel to the region's edge, and its (x, y); (0, (0, 0)) if empty."""
    bounds = bounding_box(region)
    if bounds is None:
        return 0.0, (0, 0)
    x0, y0, x1, y1 = bounds
    padded = np.pad(region[y0:y1, x0:x1].view(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return float(distance[y, x]), (int(x) + x0, int(y) + y0)
