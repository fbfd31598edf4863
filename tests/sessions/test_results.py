from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from masklet.masks import bounding_box, encode_rle
from masklet.model.sam2 import SegmentationNetwork
from masklet.sessions.everything import MaskGenerator, MaskletGenerator, MaskletSettings, MaskSettings
from masklet.sessions.results import FrameResult, ImageResult, to_supervision


def frame_result(objects: tuple[int, ...]) -> FrameResult:
    """Object 4 covers the left half, all others are absent."""
    low_res = torch.full((len(objects), 4, 4), -5.0)
    low_res[[o for o, obj in enumerate(objects) if obj == 4], :, :2] = 5
    iou, presence = np.linspace(0.5, 0.9, len(objects)), np.ones(len(objects))
    return FrameResult(0, objects, (8, 8), low_res, iou, presence, np.zeros(len(objects), bool))


def test_objects_that_are_seen_become_detections_with_their_numbers():
    detections = to_supervision(frame_result((2, 4, 7)))
    assert detections.tracker_id is not None
    assert detections.tracker_id.tolist() == [4]
    assert detections.xyxy.tolist() == [[0, 0, 4, 8]]
    assert detections.confidence is not None
    assert detections.confidence.tolist() == pytest.approx([0.7])
    assert detections.mask is not None
    assert np.asarray(detections.mask)[0].sum() == 32


def test_a_frame_without_objects_becomes_no_detections():
    assert len(to_supervision(frame_result(()))) == 0
    assert len(to_supervision(frame_result((1,)))) == 0


def test_the_best_candidate_of_a_picture_becomes_a_detection():
    masks = np.zeros((2, 8, 8), dtype=bool)
    masks[1, 2:5, 1:4] = True
    logits = np.where(masks, 1.0, -1.0).astype(np.float32)
    result = ImageResult((8, 8), torch.from_numpy(logits), logits, np.array([0.2, 0.8]), np.array(1.0))
    detections = to_supervision(result)
    assert detections.xyxy.tolist() == [[1, 2, 4, 5]]
    assert detections.tracker_id is None


@pytest.mark.parametrize("logits_first", [True, False])
def test_masks_are_the_logits_above_the_threshold_at_the_size_of_the_picture(logits_first: bool):
    cleaned = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    result = ImageResult((12, 20), cleaned, cleaned.numpy(), np.eye(3)[:2], np.ones(2), mask_threshold=0.3)
    if logits_first:
        assert result.logits.shape == (2, 3, 12, 20)
    assert np.array_equal(result.masks, result.logits > 0.3)
    assert np.array_equal(result.best, result.masks[[0, 1], [0, 1]])
    assert np.array_equal(result.best_low_res, result.low_res[[0, 1], [0, 1]])


def test_masks_of_a_frame_are_its_logits_above_zero():
    low_res = torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(0))
    frame = FrameResult(0, (1, 2), (12, 20), low_res, np.ones(2), np.ones(2), np.zeros(2, dtype=bool))
    masks_ohw = frame.masks_ohw
    assert np.array_equal(masks_ohw, frame.logits_ohw > 0)
    assert np.array_equal(frame[2].mask, masks_ohw[1])


def test_masklets_that_are_seen_become_detections_with_their_numbers(network: SegmentationNetwork, clip: list):
    search = MaskSettings(points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0)
    settings = MaskletSettings(search, discover_every=0, max_objects=2, min_region_area=0)
    with MaskletGenerator(network, clip, settings) as generator:
        frame = next(generator.follow())
    nothing = encode_rle(np.zeros(frame.video_hw, dtype=bool))
    hidden = replace(frame, rles={9: nothing, **frame.rles}, predicted_iou={9: 0.5, **frame.predicted_iou})
    detections = to_supervision(hidden)
    assert detections.tracker_id is not None
    assert detections.tracker_id.tolist() == list(frame.objects) == [1, 2]
    assert np.array_equal(np.asarray(detections.mask), [frame.mask(obj) for obj in frame.objects])
    assert detections.xyxy.tolist() == [list(bounding_box(frame.mask(obj)) or ()) for obj in frame.objects]
    assert detections.confidence is not None
    assert detections.confidence.tolist() == pytest.approx([frame.predicted_iou[obj] for obj in frame.objects])
    assert len(to_supervision(replace(frame, rles={}))) == 0


def test_automatic_masks_of_a_picture_become_detections_in_their_order(network: SegmentationNetwork, clip: list):
    options = {"points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "box_nms_thresh": 1.0}
    found = MaskGenerator(network, **options).generate(clip[0])
    detections = to_supervision(found)
    assert len(detections) == len(found) > 0
    assert np.array_equal(np.asarray(detections.mask), [one.mask for one in found])
    assert detections.confidence is not None
    assert detections.confidence.tolist() == pytest.approx([one.predicted_iou for one in found])
    first_last = np.array([one.box_px_xyxy for one in found])
    assert detections.xyxy.tolist() == np.add(first_last, (0, 0, 1, 1)).tolist()
    assert detections.tracker_id is None
    assert len(to_supervision([])) == 0


def test_without_supervision_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ValueError, match="pip install supervision"):
        to_supervision(frame_result((4,)))


def test_one_object_alone_is_what_it_is_among_all():
    result = frame_result((2, 4, 7))
    alone, among = result.only(4), frame_result((2, 4, 7))[4]
    assert "logits_ohw" not in vars(result)
    assert np.array_equal(alone.logits, among.logits)
    assert (alone.obj, alone.iou, alone.presence) == (4, among.iou, among.presence)
    with pytest.raises(KeyError, match="no object 3"):
        result.only(3)
