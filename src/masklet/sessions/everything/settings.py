"""What users can set about automatic masks and masklets. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from masklet.sessions.everything.grids import layer_grids, point_grid

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]
OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")


@dataclass(frozen=True, eq=False)
class MaskSettings:
    """Settings of a ``MaskGenerator``. Names and defaults are the published generator's."""

    points_per_side: int | None = 32
    """Points along one side of the picture; the grid has its square. None: ``point_grids`` says them."""
    points_per_batch: int = 64
    """Points that are decoded in one go."""
    pred_iou_thresh: float = 0.8
    """Masks must have a higher predicted IoU. 0: all may stay."""
    stability_score_thresh: float = 0.95
    """Masks must have at least this stability. 0: all may stay."""
    stability_score_offset: float = 1.0
    """Stability compares the masks at logits so much above and below the threshold."""
    mask_threshold: float = 0.0
    """Pixels with higher logits belong to the mask."""
    box_nms_thresh: float = 0.7
    """Of masks whose boxes have a higher IoU, the one of the highest predicted IoU stays."""
    crop_n_layers: int = 0
    """Layer n searches 2^n x 2^n overlapping crops too."""
    crop_nms_thresh: float = 0.7
    """The same for masks of different crops: that of the smallest crop stays."""
    crop_overlap_ratio: float = 512 / 1500
    """Overlap of the crops in layer 1, as a part of the picture's short side; half of it in layer 2, and so on."""
    crop_n_points_downscale_factor: int = 1
    """Layer n has ``points_per_side`` by the n-th power of this."""
    point_grids: tuple[np.ndarray, ...] | None = None
    """Own points in place of ``points_per_side``: for each layer (n, 2) x and y from 0 to 1."""
    min_mask_region_area: int = 0
    """Holes and separate parts of fewer pixels are removed; masks that become duplicates by it go. 0: off."""
    output_mode: OutputMode = "binary_mask"
    """How ``MaskGenerator.records`` gives masks."""
    use_m2m: bool = False
    """Decode each mask once more with itself as a prompt, which smooths it."""
    multimask_output: bool = True
    """Take three masks for each point: an object may be a part, a whole or something between."""

    def __post_init__(self) -> None:
        if (self.points_per_side is None) == (self.point_grids is None):
            raise ValueError("expected either points_per_side or point_grids; set the other one to None")
        _check_least(self, 1, "points_per_batch", "crop_n_points_downscale_factor")
        _check_least(self, 0, "crop_n_layers", "min_mask_region_area", "stability_score_offset")
        _check_share(self, "pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "crop_nms_thresh")
        if not 0 <= self.crop_overlap_ratio < 1:
            raise ValueError(f"crop_overlap_ratio must be at least 0 and below 1, got {self.crop_overlap_ratio}")
        if self.output_mode not in OUTPUT_MODES:
            raise ValueError(f"output_mode must be one of {', '.join(OUTPUT_MODES)}, got {self.output_mode!r}")
        if len(self.grids) <= self.crop_n_layers:
            raise ValueError(f"{self.crop_n_layers} crop layers need as many point grids and one more for the picture")

    @property
    def grids(self) -> tuple[np.ndarray, ...]:
        """The points of the whole picture and of each layer's crops: (n, 2) from 0 to 1."""
        if self.points_per_side is not None:
            return layer_grids(self.points_per_side, self.crop_n_layers, self.crop_n_points_downscale_factor)
        return tuple(_checked_grid(grid) for grid in self.point_grids or ())


def data_engine_grids(points_per_side: int = 32) -> tuple[np.ndarray, ...]:
    """32 x 32 points on the picture, 16 x 16 on 2 x 2 crops, 4 x 4 on 4 x 4 crops (arXiv 2408.00714, data engine).

    With another number of points per side of the picture, all three grids change alike.
    """
    return tuple(point_grid(max(round(points_per_side / divisor), 1)) for divisor in (1, 2, 8))


@dataclass(frozen=True, eq=False)
class MaskletSettings:
    """Settings of a ``MaskletGenerator``.

    They bound the work of a frame: one image for the tracker, at most ``max_objects`` followed objects, and on every
    ``discover_every``-th frame one more image with at most ``max_points`` prompts. The first frame costs what ``first``
    asks for.
    """

    first: MaskSettings = field(
        default_factory=lambda: MaskSettings(
            points_per_side=None, point_grids=data_engine_grids(), crop_n_layers=2, min_mask_region_area=200
        )
    )
    """How objects of the first frame are found; by default as in SAM 2's data engine."""
    discovery: MaskSettings = field(default_factory=lambda: MaskSettings(min_mask_region_area=200))
    """How objects that enter later are found. Of its points for the whole picture, those in no mask are taken."""
    discover_every: int = 8
    """Distance in frames between searches for new objects. 0: never."""
    max_points: int = 256
    """Prompts of one such search."""
    max_objects: int = 64
    """Objects that are followed at the same time."""
    max_covered: float = 0.5
    """A new object may lie to this part of its area under objects that are known."""
    min_region_area: int = 200
    """On every frame, holes and separate parts of fewer pixels are removed."""
    duplicate_iou: float = 0.8
    """Objects that overlap more than this are the same."""
    fragment_share: float = 0.9
    """An object of which more than this lies in one that was found on an earlier frame is a piece of it."""
    merge_after: int = 3
    """So many frames in a row must show it before two objects become one."""
    retire_after: int = 24
    """An object that was not seen for so many frames gives its place to a new one, if there is no other."""

    def __post_init__(self) -> None:
        _check_least(self, 0, "discover_every", "min_region_area", "retire_after")
        _check_least(self, 1, "max_points", "max_objects", "merge_after")
        _check_share(self, "max_covered", "duplicate_iou", "fragment_share")


def _check_least(settings: Any, least: int, *names: str) -> None:
    for name in names:
        if getattr(settings, name) < least:
            raise ValueError(f"{name} must be at least {least}, got {getattr(settings, name)}")


def _check_share(settings: Any, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(settings, name) <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {getattr(settings, name)}")


def _checked_grid(grid: np.ndarray) -> np.ndarray:
    points_unit_xy = np.asarray(grid, dtype=np.float64)
    if points_unit_xy.ndim != 2 or points_unit_xy.shape[1] != 2:
        raise ValueError(f"a point grid must have shape (points, 2), got {points_unit_xy.shape}; pass [[x, y], ...]")
    if points_unit_xy.size and not (points_unit_xy.min() >= 0 and points_unit_xy.max() <= 1):
        raise ValueError("points of a grid must be from 0 to 1, in parts of the crop's width and height")
    return points_unit_xy
