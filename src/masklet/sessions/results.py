"""What sessions answer: masks with their scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from masklet import masks
from masklet.masks import Rle

if TYPE_CHECKING:
    from supervision import Detections

    from masklet.sessions.everything import FoundMask, MaskletFrame


@dataclass(frozen=True, eq=False)
class ImageResult:
    """Masks of one picture. With k candidates: arrays (k, ...); for several objects (o, k, ...).

    Masks are made at the picture's size when asked for.
    """

    image_hw: tuple[int, int]
    cleaned: Tensor
    """(..., k, low-res h, w) float32 logits, of which the masks are made."""
    low_res: np.ndarray
    """(..., k, low-res h, w) float32 within +-32; one of them can be fed back as the ``mask`` of a later prediction."""
    iou: np.ndarray
    """(..., k) predicted IoU, 0 to 1."""
    presence: np.ndarray
    """(...) probability that there is an object."""
    mask_threshold: float = 0.0
    """Pixels with higher logits belong to the mask."""

    @cached_property
    def masks(self) -> np.ndarray:
        """(..., k, h, w) bool at the picture's size."""
        return masks.enlarged_masks(self.cleaned, self.image_hw, self.mask_threshold)

    @cached_property
    def logits(self) -> np.ndarray:
        """(..., k, h, w) float32 at the picture's size; higher is more certainly inside."""
        return masks.resize_logits(self.cleaned, self.image_hw).cpu().numpy()

    @cached_property
    def best(self) -> np.ndarray:
        """(..., h, w) bool: the candidate of the highest predicted IoU."""
        index = torch.from_numpy(self._best).to(self.cleaned.device)[..., None, None, None]
        best = self.cleaned.take_along_dim(index, dim=-3).squeeze(-3)
        return masks.enlarged_masks(best, self.image_hw, self.mask_threshold)

    @property
    def best_low_res(self) -> np.ndarray:
        """(..., low-res h, w) float32: the low-res logits of the best candidate."""
        return np.take_along_axis(self.low_res, self._best[..., None, None, None], axis=-3).squeeze(-3)

    def rle(self) -> list[Rle]:
        """COCO run lengths of all masks, in order of the leading axes."""
        return [masks.encode_rle(mask) for mask in self.masks.reshape(-1, *self.masks.shape[-2:])]

    @property
    def _best(self) -> np.ndarray:
        return np.asarray(self.iou.argmax(axis=-1))


@dataclass(frozen=True, eq=False)
class ObjectResult:
    """One object on one frame."""

    obj: int
    mask: np.ndarray
    """(h, w) bool at the video's size."""
    logits: np.ndarray
    """(h, w) float32 at the video's size."""
    iou: float
    """Predicted IoU, 0 to 1."""
    presence: float
    """Probability that the object is visible; the mask is empty up to 0.5."""
    prompted: bool

    def rle(self) -> Rle:
        """COCO run lengths of the mask."""
        return masks.encode_rle(self.mask)


@dataclass(frozen=True, eq=False)
class FrameResult:
    """All objects on one frame; ``result[obj]`` is one of them. Masks are made at the video's size when asked for."""

    frame: int
    objects: tuple[int, ...]
    """Object numbers, in the order of all arrays here."""
    video_hw: tuple[int, int]
    low_res_ohw: Tensor
    """(o, low-res h, w) logits."""
    iou_o: np.ndarray
    """(o,) predicted IoU, 0 to 1."""
    presence_o: np.ndarray
    """(o,) probability that the object is visible."""
    prompted_o: np.ndarray
    """(o,) bool: whether the user prompted the object on this frame."""
    non_overlap: bool = False

    @cached_property
    def logits_ohw(self) -> np.ndarray:
        """(o, h, w) float32 at the video's size."""
        if not self.objects:
            return np.zeros((0, *self.video_hw), dtype=np.float32)
        logits_ohw = masks.resize_logits(self.low_res_ohw.float(), self.video_hw)
        if self.non_overlap:
            logits_ohw = masks.without_overlap(logits_ohw)
        return logits_ohw.cpu().numpy()

    @cached_property
    def masks_ohw(self) -> np.ndarray:
        """(o, h, w) bool at the video's size."""
        if self.non_overlap or "logits_ohw" in vars(self):
            return self.logits_ohw > 0
        return masks.enlarged_masks(self.low_res_ohw.float(), self.video_hw)

    def __getitem__(self, obj: int) -> ObjectResult:
        if obj not in self.objects:
            raise KeyError(f"there is no object {obj} on frame {self.frame}; the objects are {list(self.objects)}")
        o = self.objects.index(obj)
        logits_hw = self.logits_ohw[o]
        return ObjectResult(
            obj,
            self.masks_ohw[o],
            logits_hw,
            float(self.iou_o[o]),
            float(self.presence_o[o]),
            bool(self.prompted_o[o]),
        )

    def only(self, obj: int) -> ObjectResult:
        """The same as ``result[obj]``, without making the masks of the others unless overlaps are to be resolved."""
        if self.non_overlap or obj not in self.objects or "logits_ohw" in vars(self):
            return self[obj]
        o = [self.objects.index(obj)]
        alone = replace(
            self,
            objects=(obj,),
            low_res_ohw=self.low_res_ohw[o],
            iou_o=self.iou_o[o],
            presence_o=self.presence_o[o],
            prompted_o=self.prompted_o[o],
        )
        return alone[obj]

    def __iter__(self) -> Iterator[ObjectResult]:
        return (self[obj] for obj in self.objects)

    def __len__(self) -> int:
        return len(self.objects)


def probabilities(presence: Sequence[Tensor]) -> np.ndarray:
    """Presence logits (1,) of o objects -> (o,) float32 probabilities."""
    return torch.cat(list(presence)).float().sigmoid().cpu().numpy() if presence else np.zeros(0, dtype=np.float32)


def to_supervision(result: FrameResult | ImageResult | MaskletFrame | Sequence[FoundMask]) -> Detections:
    """The objects that are seen, as detections of the package supervision: masks, boxes and predicted IoU.

    Takes what sessions answer, and what is found without prompts: a frame of a `MaskletGenerator`, or all masks of a
    `MaskGenerator`. Objects of a video carry their numbers as tracker ids; of a picture's candidates the best ones are
    taken. Raises ValueError if supervision is not installed.
    """
    try:
        from supervision import Detections
    except ImportError as error:
        raise ValueError("detections need supervision; install it with: pip install supervision") from error
    masks_ohw, iou_o, numbers = _seen_and_unseen(result)
    seen_o = masks_ohw.any(axis=(1, 2))
    boxes = [masks.bounding_box(mask) for mask in masks_ohw[seen_o]]
    return Detections(
        xyxy=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        mask=masks_ohw[seen_o],
        confidence=np.asarray(iou_o, dtype=np.float32)[seen_o],
        tracker_id=None if numbers is None else np.array(numbers, dtype=int)[seen_o],
    )


def _seen_and_unseen(
    result: FrameResult | ImageResult | MaskletFrame | Sequence[FoundMask],
) -> tuple[np.ndarray, Any, Sequence[int] | None]:
    """(o, h, w) masks, (o,) predicted IoU, and the objects' numbers where they have any."""
    if isinstance(result, FrameResult):
        return result.masks_ohw, result.iou_o, result.objects
    if isinstance(result, ImageResult):
        return result.best.reshape(-1, *result.best.shape[-2:]), result.iou.max(axis=-1).reshape(-1), None
    if isinstance(result, Sequence):
        hw = result[0].rle["size"] if result else (0, 0)
        return _stacked([one.mask for one in result], hw), [one.predicted_iou for one in result], None
    masks_ohw = _stacked([result.mask(obj) for obj in result.objects], result.video_hw)
    return masks_ohw, [result.predicted_iou[obj] for obj in result.objects], result.objects


def _stacked(of_objects: Sequence[np.ndarray], hw: Sequence[int]) -> np.ndarray:
    return np.array(of_objects, dtype=bool).reshape(len(of_objects), *hw)
