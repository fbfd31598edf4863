from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from masklet import masks
from masklet.model.outputs import MaskPrediction
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import SegmentationNetwork
from masklet.sessions.everything import MaskGenerator, MaskSettings
from masklet.sessions.inputs import picture_tensor

from .conftest import BLUE, GREEN, PICTURE_HW, RED, ColourNetwork, iou, painted, rectangle

THREE = painted((RED, 10, 10, 40, 40), (GREEN, 60, 20, 110, 50), (BLUE, 30, 60, 70, 90))
PLACES = (rectangle(10, 10, 40, 40), rectangle(60, 20, 110, 50), rectangle(30, 60, 70, 90))


def test_every_object_is_found_once_and_nothing_else(seer: SegmentationNetwork):
    found = MaskGenerator(seer, points_per_side=8).generate(THREE)
    assert len(found) == 3
    for place in PLACES:
        assert max(iou(place, one.mask) for one in found) > 0.9


def test_a_mask_comes_with_its_box_area_point_and_scores(seer: SegmentationNetwork):
    (one,) = MaskGenerator(seer, points_per_side=8).generate(painted((RED, 16, 24, 64, 72)))
    assert one.area == one.mask.sum() == pytest.approx(48 * 48, rel=0.08)
    assert np.abs(np.subtract(one.box_px_xyxy, (16, 24, 63, 71))).max() <= 1
    assert one.point_px_xy == (24.0, 30.0)  # the first point of the grid that lies on it
    assert one.predicted_iou == pytest.approx(0.95)
    assert 0.95 <= one.stability <= 1
    assert one.crop.xyxy == (0, 0, PICTURE_HW[1], PICTURE_HW[0])


def test_masks_of_a_low_predicted_iou_are_left_out(seer: SegmentationNetwork):
    assert MaskGenerator(seer, points_per_side=4, pred_iou_thresh=0.96).generate(THREE) == []


def test_unstable_masks_are_left_out(seer: SegmentationNetwork):
    assert len(MaskGenerator(seer, points_per_side=8, stability_score_offset=36.0).generate(THREE)) < 3


def test_own_points_say_where_to_look(seer: SegmentationNetwork):
    grids = (np.array([[0.2, 0.2], [0.5, 0.9]]),)
    found = MaskGenerator(seer, points_per_side=None, point_grids=grids).generate(THREE)
    places = sorted(one.point_px_xy for one in found)
    assert np.array(places) == pytest.approx(np.array([[25.6, 19.2], [64, 86.4]]))


def test_objects_that_a_crop_cuts_are_found_in_the_picture_only(seer: SegmentationNetwork):
    picture = painted((RED, 20, 30, 90, 60))
    settings = MaskSettings(points_per_side=8, crop_n_layers=1)
    (one,) = MaskGenerator(seer, settings).generate(picture)
    assert one.crop.layer == 0
    assert iou(one.mask, rectangle(20, 30, 90, 60)) > 0.9


def test_of_a_mask_in_the_picture_and_in_a_crop_that_of_the_crop_stays(seer: SegmentationNetwork):
    picture = painted((RED, 4, 4, 20, 16))
    (one,) = MaskGenerator(seer, points_per_side=16, crop_n_layers=1).generate(picture)
    assert one.crop.layer == 1
    assert iou(one.mask, rectangle(4, 4, 20, 16)) > 0.9


def test_small_regions_are_removed_and_holes_filled(seer: SegmentationNetwork):
    picture = painted((RED, 10, 10, 60, 60), (GREEN, 30, 30, 35, 35), (RED, 90, 80, 96, 86))
    generator = MaskGenerator(seer, points_per_side=None, point_grids=(np.array([[0.15, 0.2]]),))
    (raw,) = generator.generate(picture)
    assert not raw.mask[32, 32]
    assert raw.mask[83, 93]
    (clean,) = MaskGenerator(seer, generator.settings, min_mask_region_area=60).generate(picture)
    assert clean.mask[32, 32]
    assert not clean.mask[83, 93]
    assert clean.area == clean.mask.sum()
    assert clean.box_px_xyxy[2] < 62


def test_masks_that_become_alike_when_cleaned_are_one_and_the_untouched_one_stays(seer: SegmentationNetwork):
    speck = painted((RED, 10, 10, 60, 60), (GREEN, 80, 10, 120, 40))
    generator = MaskGenerator(seer, points_per_side=None, point_grids=(np.array([[0.2, 0.3]]),))
    search = generator.search(speck)
    list(search)
    (found,) = search.found()
    wide = found.mask.copy()
    wide[80:84, 100:104] = True
    touched = replace(found, rle=masks.encode_rle(wide), box_px_xyxy=(10, 10, 103, 83), predicted_iou=0.99)
    search = MaskGenerator(seer, generator.settings, min_mask_region_area=60).search(speck)
    search._found[found.crop] = [touched, found]
    assert search.found() == [found]


def test_the_three_output_modes_hold_the_same_mask(seer: SegmentationNetwork):
    by_mode = {
        mode: MaskGenerator(seer, points_per_side=8, output_mode=mode).records(THREE)
        for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
    }
    for binary, listed, coco in zip(*by_mode.values(), strict=True):
        mask = binary["segmentation"]
        assert mask.dtype == bool
        assert isinstance(listed["segmentation"]["counts"], list)
        assert np.array_equal(masks.decode_rle(listed["segmentation"]), mask)
        assert np.array_equal(masks.decode_rle(coco["segmentation"]), mask)
        x, y, w, h = binary["bbox"]
        assert mask[int(y) : int(y + h) + 1, int(x) : int(x + w) + 1].sum() == mask.sum() == binary["area"]
        assert binary["crop_box"] == [0, 0, 128, 96]


def test_a_search_can_be_stopped_and_keeps_what_it_found(seer: SegmentationNetwork, colour_network: ColourNetwork):
    search = MaskGenerator(seer, points_per_side=8, points_per_batch=8).search(THREE)
    steps = []
    for done in search:
        steps.append(done)
        if done == 24:
            break
    assert steps == [8, 16, 24]
    assert colour_network.asked == 24
    assert search.points == 64
    assert len(search.found()) == 2


def test_points_are_decoded_in_batches(seer: SegmentationNetwork, monkeypatch: pytest.MonkeyPatch):
    sizes = []
    decode = ColourNetwork.decode

    def noted(self: ColourNetwork, features: Any, conditioned: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        sizes.append(len(conditioned))
        return decode(self, features, conditioned, *args, **kwargs)

    monkeypatch.setattr(ColourNetwork, "decode", noted)
    MaskGenerator(seer, points_per_side=5, points_per_batch=10).generate(THREE)
    assert sizes == [10, 10, 5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points_per_side": None}, "either points_per_side or point_grids"),
        ({"point_grids": (np.zeros((1, 2)),)}, "either points_per_side or point_grids"),
        ({"points_per_batch": 0}, "points_per_batch must be at least 1"),
        ({"pred_iou_thresh": 1.2}, "pred_iou_thresh must be from 0 to 1"),
        ({"crop_overlap_ratio": 1.0}, "crop_overlap_ratio must be at least 0 and below 1"),
        ({"output_mode": "png"}, "output_mode must be one of binary_mask"),
        ({"points_per_side": None, "point_grids": (np.zeros((1, 2)),), "crop_n_layers": 1}, "as many point grids"),
        ({"points_per_side": None, "point_grids": (np.zeros((1, 3)),)}, r"shape \(points, 2\)"),
        ({"points_per_side": None, "point_grids": (np.full((1, 2), 2.0),)}, "must be from 0 to 1"),
    ],
)
def test_settings_without_a_meaning_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        MaskSettings(**options)


PLAIN = {"pred_iou_thresh": 0.05, "stability_score_thresh": 0.1, "box_nms_thresh": 1.0, "points_per_side": 3}


@pytest.mark.parametrize(
    "options",
    [
        PLAIN,
        {**PLAIN, "use_m2m": True, "points_per_batch": 4},
        {**PLAIN, "multimask_output": False, "mask_threshold": 0.5, "stability_score_offset": 0.2},
    ],
)
def test_masks_are_those_of_a_plain_search(
    network: SegmentationNetwork, clip: list[np.ndarray], options: dict[str, Any]
):
    settings = MaskSettings(**options)
    expected = plain_search(network, clip[0], settings)
    found = MaskGenerator(network, settings).generate(clip[0])
    assert len(found) == len(expected) > 1
    for one, (mask, score, stability) in zip(found, expected, strict=True):
        assert one.predicted_iou == pytest.approx(score, abs=1e-5)
        assert one.stability == pytest.approx(stability, abs=1e-3)
        assert iou(one.mask, mask) > 0.999


@torch.inference_mode()
def plain_search(
    network: SegmentationNetwork, picture: np.ndarray, settings: MaskSettings
) -> list[tuple[np.ndarray, float, float]]:
    """(mask, predicted IoU, stability), one point at a time, every mask enlarged in full."""
    features = network.encode_image(picture_tensor(picture, network.config))
    conditioned = network.without_memory(features)

    def ask(x: float, y: float, draft: torch.Tensor | None, candidates: bool) -> MaskPrediction:
        prompts = PromptBatch(torch.tensor([[[x, y]]]), torch.ones(1, 1, dtype=torch.int32), draft)
        return network.decode(features, conditioned, prompts, candidates=candidates)

    passed = []
    for y, x in np.ndindex(3, 3):
        place = ((x + 0.5) / 3, (y + 0.5) / 3)
        answer = ask(*place, None, settings.multimask_output)
        for logits, score in zip(answer.logits_okhw[0], answer.iou_ok[0], strict=True):
            if settings.use_m2m:
                again = ask(*place, logits[None, None].clamp(-32, 32), False)
                logits, score = again.logits_okhw[0, 0], again.iou_ok[0, 0]
            passed += judged(masks.resize_logits(logits, (48, 80)).numpy(), float(score), settings)
    return best_first(passed, settings.box_nms_thresh)


def judged(logits: np.ndarray, score: float, settings: MaskSettings) -> list[tuple[np.ndarray, float, float]]:
    at, offset = settings.mask_threshold, settings.stability_score_offset
    inner, outer = (logits > at + offset).sum(), (logits > at - offset).sum()
    mask = logits > at
    if score <= settings.pred_iou_thresh or inner < settings.stability_score_thresh * outer or not mask.any():
        return []
    return [(mask, score, inner / outer)]


def best_first(
    passed: Sequence[tuple[np.ndarray, float, float]], max_iou: float
) -> list[tuple[np.ndarray, float, float]]:
    kept: list[tuple[np.ndarray, float, float]] = []
    for one in sorted(passed, key=lambda one: -one[1]):
        if all(box_iou(one[0], other[0]) <= max_iou for other in kept):
            kept.append(one)
    return kept


def box_iou(a: np.ndarray, b: np.ndarray) -> float:
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = (edges(mask) for mask in (a, b))
    shared = max(min(ax1, bx1) - max(ax0, bx0), 0) * max(min(ay1, by1) - max(ay0, by0), 0)
    return shared / ((ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - shared)


def edges(mask: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row."""
    ys, xs = np.nonzero(mask)
    return xs.min(), ys.min(), xs.max(), ys.max()
