"""Automatic masks of a picture: ask the network at the points of a grid, keep what is certain, once.

    masks = MaskGenerator(network, points_per_side=16).generate("photo.jpg")

The steps and their order are those of the published generator (facebookresearch/sam2, ``SAM2AutomaticMaskGenerator``);
work that cannot change the outcome is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from masklet import masks
from masklet.masks import Rle
from masklet.model.config import LOGIT_LIMIT
from masklet.model.outputs import ImageFeatures, MaskPrediction, stacked
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import SegmentationNetwork
from masklet.sessions.everything.enlarge import Enlarger, trimmed
from masklet.sessions.everything.grids import Crop, crops_of
from masklet.sessions.everything.settings import MaskSettings, OutputMode
from masklet.sessions.inputs import picture_tensor
from masklet.video.read import open_frames


@dataclass(frozen=True)
class FoundMask:
    """An automatic mask. Coordinates are pixels of the whole picture."""

    rle: Rle
    area: int
    """Pixels of the mask."""
    box_px_xyxy: tuple[int, int, int, int]
    """The first and the last column and row of the mask, both included."""
    predicted_iou: float
    stability: float
    """Area at a higher threshold by area at a lower one, 0 to 1."""
    point_px_xy: tuple[float, float]
    """The point that the network was asked at."""
    crop: Crop
    """Where it was looked for."""

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool."""
        return masks.decode_rle(self.rle, max_pixels=self.rle["size"][0] * self.rle["size"][1])

    def record(self, mode: OutputMode) -> dict[str, Any]:
        """The published generator's dictionary; boxes are [x, y, width, height]."""
        return {
            "segmentation": self._segmentation(mode),
            "area": self.area,
            "bbox": _xywh(self.box_px_xyxy),
            "predicted_iou": self.predicted_iou,
            "point_coords": [list(self.point_px_xy)],
            "stability_score": self.stability,
            "crop_box": _xywh(self.crop.xyxy),
        }

    def _segmentation(self, mode: OutputMode) -> np.ndarray | dict[str, Any]:
        if mode == "binary_mask":
            return self.mask
        return {**self.rle, "counts": masks.run_lengths(self.rle)} if mode == "uncompressed_rle" else {**self.rle}


class MaskGenerator:
    """Finds the objects of pictures."""

    def __init__(self, network: SegmentationNetwork, settings: MaskSettings | None = None, **options: Any):
        """``options`` are single settings by name, as in ``MaskGenerator(network, points_per_side=16)``."""
        self.network = network.eval()
        self.settings = replace(settings or MaskSettings(), **options)

    def generate(self, picture: Any) -> list[FoundMask]:
        """All masks of a picture: an RGB uint8 array (h, w, 3), a PIL picture or a path."""
        search = self.search(picture)
        for _ in search:
            pass
        return search.found()

    def records(self, picture: Any) -> list[dict[str, Any]]:
        """The same as the published generator's dictionaries, masks as ``output_mode`` says."""
        return [found.record(self.settings.output_mode) for found in self.generate(picture)]

    def search(self, picture: Any) -> Search:
        """The search itself, which can be watched and stopped."""
        with open_frames(picture, strict=True) as frames:
            return Search(self.network, self.settings, frames[0])


class Search:
    """A picture that is being searched. Each step of an iteration decodes one batch of points.

    search = generator.search("photo.jpg")
    for points_done in search:
        print(points_done, search.points)
    masks = search.found()
    """

    def __init__(self, network: SegmentationNetwork, settings: MaskSettings, picture: np.ndarray):
        self._network = network
        self._settings = settings
        self._picture = picture
        height, width = picture.shape[:2]
        self._picture_hw = (height, width)
        grids = settings.grids
        crops = crops_of(self._picture_hw, settings.crop_n_layers, settings.crop_overlap_ratio)
        self._plan = [(crop, grids[crop.layer]) for crop in crops]
        self._found: dict[Crop, list[FoundMask]] = {crop: [] for crop in crops}

    @property
    def points(self) -> int:
        """How many points there are to ask at."""
        return sum(len(grid) for _, grid in self._plan)

    def __iter__(self) -> Iterator[int]:
        """The number of points that are done, after each batch."""
        done, size = 0, self._settings.points_per_batch
        for crop, grid in self._plan:
            if not len(grid):
                continue
            points_px_xy = (grid * crop.hw[::-1]).astype(np.float32)
            sight = _Sight(self._network, self._settings, self._picture, crop)
            for start in range(0, len(grid), size):
                some_px_xy = points_px_xy[start : start + size]
                self._found[crop] += sight.look(some_px_xy)
                done += len(some_px_xy)
                yield done

    def found(self) -> list[FoundMask]:
        """Masks of what was searched so far, without duplicates."""
        settings = self._settings
        each = [_distinct(found, _ious(found), settings.box_nms_thresh) for found in self._found.values()]
        found = list(chain.from_iterable(each))
        if len(self._plan) > 1:
            by_crop = np.array([1 / one.crop.area for one in found], dtype=np.float32)
            found = _distinct(found, by_crop, settings.crop_nms_thresh)
        return self._without_small_regions(found) if settings.min_mask_region_area else found

    def _without_small_regions(self, found: Sequence[FoundMask]) -> list[FoundMask]:
        """Cleaned masks; where two have become alike, one that was not changed stays."""
        cleaned = [self._cleaned(one) for one in found]
        untouched = np.array([float(new is old) for new, old in zip(cleaned, found, strict=True)])
        return _distinct(cleaned, untouched, max(self._settings.box_nms_thresh, self._settings.crop_nms_thresh))

    def _cleaned(self, found: FoundMask) -> FoundMask:
        patch = trimmed(found.mask)
        assert patch is not None, "empty masks are not kept"
        cleaned = patch.cleaned(self._settings.min_mask_region_area, self._picture_hw)
        rle = cleaned.rle(self._picture_hw)
        if rle == found.rle:
            return found
        return replace(found, rle=rle, area=cleaned.area, box_px_xyxy=cleaned.box_px_xyxy)


class _Sight:
    """The network looking at one crop."""

    def __init__(self, network: SegmentationNetwork, settings: MaskSettings, picture: np.ndarray, crop: Crop):
        self._network = network
        self._settings = settings
        self._crop = crop
        self._picture_hw = (picture.shape[0], picture.shape[1])
        self._features, self._conditioned_1chw = self._encode(picture[crop.y0 : crop.y1, crop.x0 : crop.x1])
        self._enlarger = Enlarger(self._features.low_res_hw, crop.hw)

    def look(self, points_px_xy: np.ndarray) -> list[FoundMask]:
        """Masks at points (p, 2) of the crop that are certain enough and not cut off."""
        logits_nhw, iou_n, of_point_n = self._candidates(points_px_xy)
        if self._settings.pred_iou_thresh > 0:
            is_certain_n = iou_n > self._settings.pred_iou_thresh
            logits_nhw, iou_n, of_point_n = logits_nhw[is_certain_n], iou_n[is_certain_n], of_point_n[is_certain_n]
        triples = zip(logits_nhw.cpu().numpy(), iou_n.tolist(), points_px_xy[of_point_n.cpu().numpy()], strict=True)
        found = (self._judge(logits_hw, iou, point_px_xy) for logits_hw, iou, point_px_xy in triples)
        return [one for one in found if one is not None]

    def _judge(self, logits_hw: np.ndarray, iou: float, point_px_xy: np.ndarray) -> FoundMask | None:
        """The mask, if it is stable, not empty and not cut off by the crop."""
        at, offset = self._settings.mask_threshold, self._settings.stability_score_offset
        enlarged = self._enlarger.enlarge(logits_hw)
        outer = enlarged.area(at - offset)
        stability = np.float32(enlarged.area(at + offset)) / np.float32(max(outer, 1))
        if stability < np.float32(self._settings.stability_score_thresh):
            return None
        patch = enlarged.patch(at)
        if patch is None:
            return None
        crop = self._crop
        patch = patch.moved(crop.x0, crop.y0)
        if crop.cuts(patch.box_px_xyxy, self._picture_hw):
            return None
        x, y = (point_px_xy + np.array((crop.x0, crop.y0), dtype=np.float32)).tolist()
        return FoundMask(
            patch.rle(self._picture_hw), patch.area, patch.box_px_xyxy, iou, float(stability), (x, y), crop
        )

    @torch.inference_mode()
    def _encode(self, pixels: np.ndarray) -> tuple[ImageFeatures, Tensor]:
        network = self._network
        features = network.encode_image(picture_tensor(pixels, network.config, network.device))
        return features, network.without_memory(features)

    @torch.inference_mode()
    def _candidates(self, points_px_xy: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """(n, h, w) low-res logits, (n,) predicted IoU, and (n,) which point each belongs to."""
        height, width = self._crop.hw
        points_unit_p2 = torch.from_numpy(points_px_xy / np.array((width, height), dtype=np.float32)).to(
            self._network.device
        )
        prediction = self._decode(points_unit_p2, None, candidates=self._settings.multimask_output)
        points, k = prediction.iou_ok.shape
        of_point_n = torch.arange(points, device=points_unit_p2.device).repeat_interleave(k)
        if self._settings.use_m2m:
            prediction = self._refine(prediction, points_unit_p2[of_point_n])
        return prediction.logits_okhw.flatten(0, 1).float(), prediction.iou_ok.flatten().float(), of_point_n

    def _refine(self, prediction: MaskPrediction, points_unit_n2: Tensor) -> MaskPrediction:
        """Every candidate again as a single mask, from its point and itself."""
        drafts_n1hw = prediction.logits_okhw.flatten(0, 1)[:, None].float().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        size = self._settings.points_per_batch
        parts = zip(points_unit_n2.split(size), drafts_n1hw.split(size), strict=True)
        return stacked([self._decode(points, drafts, candidates=False) for points, drafts in parts])

    def _decode(self, points_unit_n2: Tensor, drafts_n1hw: Tensor | None, *, candidates: bool) -> MaskPrediction:
        """One positive click each."""
        count = len(points_unit_n2)
        labels_n1 = torch.ones(count, 1, dtype=torch.int32, device=points_unit_n2.device)
        prompts = PromptBatch(points_unit_n2[:, None], labels_n1, drafts_n1hw)
        conditioned_nchw = self._conditioned_1chw.expand(count, -1, -1, -1)
        return self._network.decode(self._features, conditioned_nchw, prompts, candidates=candidates)


def _ious(found: Sequence[FoundMask]) -> np.ndarray:
    return np.array([one.predicted_iou for one in found], dtype=np.float32)


def _distinct(found: Sequence[FoundMask], scores: np.ndarray, max_iou: float) -> list[FoundMask]:
    boxes = np.array([one.box_px_xyxy for one in found]).reshape(-1, 4)
    return [found[i] for i in masks.suppress_boxes(boxes, scores, max_iou)]


def _xywh(xyxy: tuple[int, int, int, int]) -> list[float]:
    x0, y0, x1, y1 = xyxy
    return [float(x0), float(y0), float(x1 - x0), float(y1 - y0)]
