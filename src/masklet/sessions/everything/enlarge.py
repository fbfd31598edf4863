"""Low-res logits as masks of the picture's size, worked out only where it matters.

A bilinearly enlarged pixel lies between its four low-res neighbours. Where all four are on one side of the threshold,
so are all pixels among them; values are computed in the other fields only, which lie along the mask's edge. What comes
out is the mask of the plain enlargement, pixel for pixel, at a small part of its time and memory. Where edges are
everywhere, the plain enlargement is made: a pixel of its own takes many times as long as one of a whole picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch

from masklet import masks
from masklet.masks import Rle

FIELDS_AT_ONCE = 4096
PIXEL_COST = 32
"""Of a single pixel, in pixels of a whole picture."""
ROUNDING = 8 * np.finfo(np.float32).eps
"""Interpolation may leave the range of its neighbours by less than this, in parts of the largest logit."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A mask that is not empty, within its bounding box: ``mask`` (h, w) bool, whose top left pixel is ``x0, y0``."""

    mask: np.ndarray
    x0: int
    y0: int

    @property
    def area(self) -> int:
        """In pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def box_px_xyxy(self) -> tuple[int, int, int, int]:
        """The first and the last column and row, both included, as the published generator has it."""
        height, width = self.mask.shape
        return self.x0, self.y0, self.x0 + width - 1, self.y0 + height - 1

    def moved(self, x: int, y: int) -> Patch:
        """The same mask further to the right and down, in pixels."""
        return Patch(self.mask, self.x0 + x, self.y0 + y)

    def rle(self, picture_hw: tuple[int, int]) -> Rle:
        """COCO run lengths in a picture of this size."""
        height, width = picture_hw
        columns_wh = np.zeros((self.mask.shape[1], self.mask.shape[0] + 2), dtype=np.uint8)
        columns_wh[:, 1:-1] = cv2.transpose(self.mask.view(np.uint8))
        pixels = columns_wh.ravel()
        column, row = np.divmod(np.flatnonzero(pixels[1:] != pixels[:-1]), columns_wh.shape[1])
        changes = (self.x0 + column) * height + self.y0 + row
        runs_on = np.flatnonzero(changes[1:-1:2] == changes[2::2])
        changes = np.delete(changes, np.concatenate([2 * runs_on + 1, 2 * runs_on + 2]))
        runs = np.diff(changes, prepend=0, append=height * width)
        return masks.encode_runs(runs if runs[-1] else runs[:-1], picture_hw)

    def cleaned(self, min_area: int, picture_hw: tuple[int, int]) -> Patch:
        """Without holes and separate parts of fewer than ``min_area`` pixels; the largest part always stays.

        Background that is closed in by the mask and the picture's edge counts as a hole.
        """
        margins = self._margins(picture_hw)
        filled = _without_holes(np.pad(self.mask, margins), margins, min_area)
        kept = masks.remove_small_components(filled, min_area)
        (top, _), (left, _) = margins
        return trimmed(kept, self.x0 - left, self.y0 - top) or self

    def _margins(self, picture_hw: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
        """1 on the sides where there is more of the picture: (top, bottom), (left, right)."""
        x0, y0, x1, y1 = self.box_px_xyxy
        height, width = picture_hw
        return (int(y0 > 0), int(y1 < height - 1)), (int(x0 > 0), int(x1 < width - 1))


def trimmed(mask: np.ndarray, x0: int = 0, y0: int = 0) -> Patch | None:
    """The patch of a mask (h, w) bool whose top left pixel is ``x0, y0``; None if it is empty."""
    box = masks.bounding_box(mask)
    if box is None:
        return None
    left, top, right, bottom = box
    return Patch(mask[top:bottom, left:right], x0 + left, y0 + top)


def _without_holes(mask: np.ndarray, margins: tuple[tuple[int, int], tuple[int, int]], min_area: int) -> np.ndarray:
    """Background parts that reach the margin go on outside of it, so they are no holes."""
    _, found, stats, _ = cv2.connectedComponentsWithStats((~mask).astype(np.uint8), connectivity=8)
    labels, is_hole = np.asarray(found, dtype=np.int32), np.asarray(stats)[:, cv2.CC_STAT_AREA] < min_area
    (top, bottom), (left, right) = margins
    outside = (labels[:top], labels[len(labels) - bottom :], labels[:, :left], labels[:, labels.shape[1] - right :])
    for strip in outside:
        is_hole[strip] = False
    is_hole[0] = False
    return mask | is_hole[labels]


class Enlarger:
    """Bilinear enlargement (or reduction) of low-res logits to a picture, pixel centres aligned."""

    def __init__(self, low_hw: tuple[int, int], picture_hw: tuple[int, int]):
        self.picture_hw = picture_hw
        self.y, self.x = (_Axis(low, full) for low, full in zip(low_hw, picture_hw, strict=True))

    def enlarge(self, logits_hw: np.ndarray) -> Enlarged:
        """float32 logits of the low-res size, as large as the picture."""
        return Enlarged(logits_hw, self)


class Enlarged:
    """Logits that are as large as the picture; what is asked about them is worked out when it is asked."""

    def __init__(self, logits_hw: np.ndarray, by: Enlarger):
        self._logits_hw = logits_hw
        self._by = by

    def area(self, at: float) -> int:
        """Pixels of the picture above ``at``."""
        fields = self._fields(at)
        if fields is None:
            return 0
        if self._is_mostly_edge(fields):
            return int(np.count_nonzero(self._everywhere_hw > np.float32(at)))
        whole = self._by.y.sizes[fields.rows] @ fields.inside.astype(np.int64) @ self._by.x.sizes[fields.columns]
        return int(whole) + sum(len(ys) for ys, _ in self._pixels_above(at, fields))

    def patch(self, at: float) -> Patch | None:
        """The mask of the pixels above ``at``; None if there are none."""
        fields = self._fields(at)
        if fields is None:
            return None
        if self._is_mostly_edge(fields):
            return trimmed(self._everywhere_hw > np.float32(at))
        y, x = self._by.y, self._by.x
        x0, y0 = x.starts[fields.columns.start], y.starts[fields.rows.start]
        mask = fields.inside.repeat(y.sizes[fields.rows], axis=0).repeat(x.sizes[fields.columns], axis=1)
        for ys, xs in self._pixels_above(at, fields):
            mask[ys - y0, xs - x0] = True
        return trimmed(mask, int(x0), int(y0))

    @cached_property
    def _everywhere_hw(self) -> np.ndarray:
        return masks.resize_logits(torch.from_numpy(self._logits_hw), self._by.picture_hw).numpy()

    def _is_mostly_edge(self, fields: _Fields) -> bool:
        """Whether the plain enlargement is the shorter way."""
        y, x = self._by.y, self._by.x
        pixels = y.sizes[fields.rows] @ fields.open.astype(np.int64) @ x.sizes[fields.columns]
        return int(pixels) * PIXEL_COST > math.prod(self._by.picture_hw)

    def _fields(self, at: float) -> _Fields | None:
        """The fields around all logits above ``at``; None without any."""
        logits_hw = self._logits_hw
        reach = at - ROUNDING * float(np.abs(logits_hw).max())
        box = masks.bounding_box(logits_hw > reach)
        if box is None:
            return None
        x0, y0, x1, y1 = box
        rows, columns = slice(max(y0 - 1, 0), y1), slice(max(x0 - 1, 0), x1)
        corners = np.pad(logits_hw, ((0, 1), (0, 1)), mode="edge")[rows.start : y1 + 1, columns.start : x1 + 1]
        lowest, highest = _over_corners(corners, np.minimum), _over_corners(corners, np.maximum)
        inside = lowest > at + (at - reach)
        return _Fields(rows, columns, inside, ~inside & (highest > reach))

    def _pixels_above(self, at: float, fields: _Fields) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows and columns of the pixels above ``at`` in the open fields, some fields at a time."""
        every_row, every_column = np.nonzero(fields.open)
        for start in range(0, len(every_row), FIELDS_AT_ONCE):
            some = slice(start, start + FIELDS_AT_ONCE)
            ys, xs = self._pixels(every_row[some] + fields.rows.start, every_column[some] + fields.columns.start)
            is_above = self._values(ys, xs) > np.float32(at)
            yield ys[is_above], xs[is_above]

    def _pixels(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of all pixels in fields."""
        y, x = self._by.y, self._by.x
        widths = x.sizes[columns]
        counts = y.sizes[rows] * widths
        field = np.arange(len(rows)).repeat(counts)
        place = np.arange(len(field)) - (np.cumsum(counts) - counts)[field]
        down, right = np.divmod(place, widths[field])
        return y.starts[rows][field] + down, x.starts[columns][field] + right

    def _values(self, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        """Interpolated logits (n,) float32."""
        logits_hw, y, x = self._logits_hw, self._by.y, self._by.x
        top, bottom, share_y = y.first[ys], y.second[ys], y.share[ys]
        left, right, share_x = x.first[xs], x.second[xs], x.share[xs]
        upper = logits_hw[top, left] * (1 - share_x) + logits_hw[top, right] * share_x
        lower = logits_hw[bottom, left] * (1 - share_x) + logits_hw[bottom, right] * share_x
        return upper * (1 - share_y) + lower * share_y


@dataclass(frozen=True, eq=False)
class _Fields:
    """Fields between low-res logits, of which each has the pixels among four neighbours."""

    rows: slice
    columns: slice
    inside: np.ndarray
    """(rows, columns) bool: all pixels are above the threshold."""
    open: np.ndarray
    """(rows, columns) bool: some may be."""


class _Axis:
    """How pixels along one side lie among the low-res logits."""

    def __init__(self, low: int, full: int):
        place = np.maximum((np.arange(full) + 0.5) * (low / full) - 0.5, 0).astype(np.float32)
        self.first = np.minimum(place.astype(np.int64), low - 1)
        """(full,) the neighbour before each pixel."""
        self.second = np.minimum(self.first + 1, low - 1)
        self.share = (place - self.first).astype(np.float32)
        """(full,) weight of the second neighbour."""
        self.sizes = np.bincount(self.first, minlength=low)
        """(low,) pixels behind each neighbour and before the next."""
        self.starts = np.cumsum(self.sizes) - self.sizes
        """(low,) the first of them."""


def _over_corners(corners: np.ndarray, pick: np.ufunc) -> np.ndarray:
    """(h + 1, w + 1) logits -> (h, w): the lowest or highest corner of each field."""
    rows = pick(corners[:-1], corners[1:])
    return pick(rows[:, :-1], rows[:, 1:])
