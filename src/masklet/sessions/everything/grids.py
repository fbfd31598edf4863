"""Where automatic masks are looked for: points, and crops of the picture.

Both follow the published generator: facebookresearch/segment-anything and facebookresearch/sam2.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

EDGE_PX = 20
"""A mask that comes so near to a crop's edge is taken to be cut off by it."""


@dataclass(frozen=True)
class Crop:
    """A part of the picture: left, top, right and bottom edge in pixels, the last two exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int
    """0 is the whole picture."""

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def area(self) -> int:
        """In pixels."""
        return self.hw[0] * self.hw[1]

    @property
    def xyxy(self) -> tuple[int, int, int, int]:
        """The four edges."""
        return self.x0, self.y0, self.x1, self.y1

    def cuts(self, box_px_xyxy: tuple[int, int, int, int], picture_hw: tuple[int, int]) -> bool:
        """Whether a box in the picture comes near an edge of the crop that is not an edge of the picture."""
        height, width = picture_hw
        edges = zip(box_px_xyxy, self.xyxy, (0, 0, width, height), strict=True)
        return any(abs(side - own) <= EDGE_PX < abs(side - outer) for side, own, outer in edges)


def point_grid(points_per_side: int) -> np.ndarray:
    """(n * n, 2) float64 x and y from 0 to 1: the centres of n x n equal fields, row by row."""
    if points_per_side < 1:
        raise ValueError(f"a grid needs at least one point per side, got {points_per_side}")
    centres = (np.arange(points_per_side) + 0.5) / points_per_side
    x, y = np.meshgrid(centres, centres)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def layer_grids(points_per_side: int, layers: int, downscale: int) -> tuple[np.ndarray, ...]:
    """Grids of the whole picture and of ``layers`` layers of crops, each with fewer points by ``downscale``."""
    if points_per_side // downscale**layers < 1:
        raise ValueError(
            f"{points_per_side} points per side leave none in layer {layers} when each has {downscale} times fewer; "
            "take more points or fewer layers"
        )
    return tuple(point_grid(points_per_side // downscale**layer) for layer in range(layers + 1))


def crops_of(picture_hw: tuple[int, int], layers: int, overlap_ratio: float) -> list[Crop]:
    """The whole picture, then for each layer n from 1 on its 2^n x 2^n crops, column by column."""
    height, width = picture_hw
    crops = [Crop(0, 0, width, height, layer=0)]
    for layer in range(1, layers + 1):
        per_side = 2**layer
        overlap_px = int(overlap_ratio * min(picture_hw) * (2 / per_side))
        columns = _spans(width, per_side, overlap_px)
        rows = _spans(height, per_side, overlap_px)
        crops += [Crop(x0, y0, x1, y1, layer) for x0, x1 in columns for y0, y1 in rows]
    if any(min(crop.hw) < 1 for crop in crops):
        raise ValueError(f"a picture of {height}x{width} is too small for {layers} layers of crops; take fewer")
    return crops


def _spans(length_px: int, count: int, overlap_px: int) -> list[tuple[int, int]]:
    """``count`` equal spans that overlap, the last one cut at the end."""
    span_px = ceil((overlap_px * (count - 1) + length_px) / count)
    starts = [(span_px - overlap_px) * i for i in range(count)]
    return [(start, min(start + span_px, length_px)) for start in starts]
