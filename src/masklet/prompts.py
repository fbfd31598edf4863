"""What a user shows the network: points, a box or a mask, in pixels of the picture.

Pixel coordinates run x to the right and y down from the top left corner. They become unit
coordinates (x / width, y / height) here and nowhere else, so everything behind this module is
independent of the picture's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

NEGATIVE, POSITIVE, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT = 0, 1, 2, 3


class UnitPoints(NamedTuple):
    """Prompt points as the network takes them."""

    unit_xy_p2: np.ndarray
    """(p, 2) float32 in units of the picture's width and height."""
    labels_p: np.ndarray
    """(p,) int32: 0 negative, 1 positive, 2 and 3 the two corners of a box."""


@dataclass(frozen=True, init=False, eq=False)
class Points:
    """Clicks: `xy` (p, 2) float32 in pixels, `labels` (p,) int32 with 1 for "object" and 0 for "not object".

    One click may be given as a bare pair. Without labels all clicks are positive.
    `first + second` are the clicks of both, in that order.
    """

    xy: np.ndarray
    labels: np.ndarray

    def __init__(self, xy: ArrayLike, labels: ArrayLike | None = None) -> None:
        xy_p2 = np.atleast_2d(_numbers(xy, "points"))
        if xy_p2.ndim != 2 or xy_p2.shape[1] != 2 or len(xy_p2) == 0:
            raise ValueError(f"points must have shape (p, 2) with p >= 1, got {xy_p2.shape}; pass [[x, y], ...]")
        object.__setattr__(self, "xy", xy_p2.astype(np.float32))
        object.__setattr__(self, "labels", _labels(labels, len(xy_p2)))

    def __len__(self) -> int:
        return len(self.xy)

    def __add__(self, more: Points) -> Points:
        return Points(np.concatenate([self.xy, more.xy]), np.concatenate([self.labels, more.labels]))

    @property
    def has_positive(self) -> bool:
        return bool((self.labels == POSITIVE).any())

    def check_inside(self, video_hw: tuple[int, int]) -> None:
        """Raises ValueError unless 0 <= x < width and 0 <= y < height for every point."""
        height, width = video_hw
        outside_p = ((self.xy < 0) | (self.xy >= (width, height))).any(axis=1)
        if outside_p.any():
            x, y = self.xy[outside_p][0]
            raise ValueError(
                f"point ({x:g}, {y:g}) is outside the picture, which is {width} wide and {height} high; "
                "points are (x, y) in pixels of the original picture"
            )

    def unit_xy(self, video_hw: tuple[int, int]) -> np.ndarray:
        """(p, 2) float32 in units of the picture's width and height."""
        return _unit_xy(self.xy, video_hw)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: left, top, right and bottom edge. A picture's own box is (0, 0, width, height)."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        corners = _numbers((self.x0, self.y0, self.x1, self.y1), "box")
        for name, value in zip(("x0", "y0", "x1", "y1"), corners, strict=True):
            object.__setattr__(self, name, float(value))
        if self.x0 >= self.x1 or self.y0 >= self.y1:
            raise ValueError(
                f"box ({self.x0:g}, {self.y0:g}, {self.x1:g}, {self.y1:g}) is empty; "
                "expected x0 < x1 and y0 < y1, so pass the top left corner first, then the bottom right one"
            )

    @classmethod
    def of(cls, xyxy: ArrayLike) -> Box:
        """The box of four numbers x0, y0, x1, y1 in any array-like."""
        numbers = _numbers(xyxy, "box")
        if numbers.shape != (4,):
            raise ValueError(f"box must have shape (4,), got {numbers.shape}; pass [x0, y0, x1, y1], one box at a time")
        return cls(*numbers.tolist())

    @property
    def has_positive(self) -> bool:
        return True

    @property
    def corners_xy(self) -> np.ndarray:
        """(2, 2) float32 in pixels: top left, bottom right."""
        return np.array([[self.x0, self.y0], [self.x1, self.y1]], dtype=np.float32)

    def check_inside(self, video_hw: tuple[int, int]) -> None:
        """Raises ValueError unless the box lies within (0, 0, width, height), edges included."""
        height, width = video_hw
        if self.x0 < 0 or self.y0 < 0 or self.x1 > width or self.y1 > height:
            raise ValueError(
                f"box ({self.x0:g}, {self.y0:g}, {self.x1:g}, {self.y1:g}) reaches outside the picture, which is "
                f"{width} wide and {height} high; cut it with box.clipped((height, width))"
            )

    def clipped(self, video_hw: tuple[int, int]) -> Box:
        """The part inside the picture. Raises ValueError when there is none."""
        height, width = video_hw
        return Box(max(self.x0, 0), max(self.y0, 0), min(self.x1, width), min(self.y1, height))

    def unit_xy(self, video_hw: tuple[int, int]) -> np.ndarray:
        """(2, 2) float32: both corners in units of the picture's width and height."""
        return _unit_xy(self.corners_xy, video_hw)


@dataclass(frozen=True, init=False, eq=False)
class Mask:
    """A drawn mask: `array` (h, w) bool. Integer arrays count when they hold 0 and at most one other value."""

    array: np.ndarray

    def __init__(self, array: ArrayLike) -> None:
        mask_hw = np.asarray(array)
        if mask_hw.ndim != 2 or mask_hw.size == 0:
            raise ValueError(f"mask must have shape (height, width), got {mask_hw.shape}; pass one object's mask")
        object.__setattr__(self, "array", _as_bool(mask_hw))

    @property
    def has_positive(self) -> bool:
        return bool(self.array.any())

    def check_inside(self, video_hw: tuple[int, int]) -> None:
        """Raises ValueError unless the mask has the picture's size."""
        if self.array.shape != tuple(video_hw):
            (mask_h, mask_w), (height, width) = self.array.shape, video_hw
            raise ValueError(
                f"mask is {mask_h}x{mask_w} but the picture is {height}x{width} (height x width); "
                "resize it with masks.resize"
            )


Prompt = Points | Box | Mask


def as_points(points: Points | None, box: Box | None, video_hw: tuple[int, int]) -> UnitPoints:
    """Merges clicks and a box of one object into the points that the network takes: the box's corners come first.

    Without clicks and box the result has no points.
    """
    parts: list[UnitPoints] = []
    if box is not None:
        corner_labels = np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], dtype=np.int32)
        parts.append(UnitPoints(box.unit_xy(video_hw), corner_labels))
    if points is not None:
        parts.append(UnitPoints(points.unit_xy(video_hw), points.labels))
    if not parts:
        return UnitPoints(np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=np.int32))
    return UnitPoints(
        np.concatenate([part.unit_xy_p2 for part in parts]), np.concatenate([part.labels_p for part in parts])
    )


def require_positive(*prompts: Prompt | None) -> None:
    """Raises ValueError unless one of an object's first prompts says where the object is."""
    given = [prompt for prompt in prompts if prompt is not None]
    if any(prompt.has_positive for prompt in given):
        return
    names = " and ".join(_NOTHING_POSITIVE[type(prompt)] for prompt in given) or "nothing"
    raise ValueError(
        f"the first prompt of an object must say where it is, got {names}; "
        "add a positive click, a box or a mask that is not empty"
    )


_NOTHING_POSITIVE = {Points: "only negative clicks", Mask: "an empty mask"}


def _unit_xy(px_xy: np.ndarray, video_hw: tuple[int, int]) -> np.ndarray:
    height, width = video_hw
    return px_xy / np.array([width, height], dtype=np.float32)


def _numbers(values: ArrayLike, what: str) -> np.ndarray:
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be numbers in pixels, got {values!r}") from error
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what} must be finite numbers in pixels, got {numbers.tolist()}")
    return numbers


def _labels(labels: ArrayLike | None, count: int) -> np.ndarray:
    if labels is None:
        return np.full(count, POSITIVE, dtype=np.int32)
    labels_p = np.atleast_1d(np.asarray(labels))
    if labels_p.shape != (count,):
        raise ValueError(f"expected one label per point, shape ({count},), got shape {labels_p.shape}")
    if not np.isin(labels_p, (NEGATIVE, POSITIVE)).all():
        raise ValueError(f"labels must be 1 (object) or 0 (not object), got {labels_p.tolist()}; give boxes as Box")
    return labels_p.astype(np.int32)


def _as_bool(mask_hw: np.ndarray) -> np.ndarray:
    if mask_hw.dtype == bool:
        return mask_hw.copy()
    if not np.issubdtype(mask_hw.dtype, np.integer):
        raise ValueError(f"mask must be bool, got {mask_hw.dtype}; pass `probabilities > 0.5` or `logits > 0`")
    ids = np.unique(mask_hw)
    if np.count_nonzero(ids) > 1:
        raise ValueError(f"mask holds several values ({ids[:5].tolist()}...); pass `ids == 1` for object 1 and so on")
    return mask_hw != 0
