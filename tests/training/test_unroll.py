from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from masklet.checkpoints import from_published
from masklet.model.config import MODELS
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import POSITIVE
from masklet.training.batches import collate
from masklet.training.loop import with_image_size
from masklet.training.losses import LossWeights
from masklet.training.simulation import Plan
from masklet.training.unroll import Outcome, Unroll

from ..parity.weights import state_dict
from .conftest import SIZE, TINY, moving_square, start

FULL = LossWeights()


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    made = SegmentationNetwork(TINY)
    start(made)
    return made


def run(
    network: SegmentationNetwork, plan: Plan, seeds: tuple[int, ...] = (1, 2), weights: LossWeights = FULL
) -> Outcome:
    batch = collate([moving_square(seed) for seed in seeds], seeds)
    return Unroll(network, batch, plan, batch.generators(), weights).run()


def test_every_frame_and_every_click_is_judged(network: SegmentationNetwork):
    outcome = run(network, Plan(3, {0: "click"}, corrected=frozenset({0, 2}), clicks=4))
    assert len(outcome.losses) == 3 + 2 * 4
    assert all(loss_o.shape == (2,) for loss_o in outcome.losses)
    assert len(outcome.track_iou) == 2
    assert len(outcome.prompt_iou) == 1 + 2 * 4


def test_wide_clips_are_learned_from_and_their_clicks_told_in_parts_of_each_side(network: SegmentationNetwork):
    square = moving_square(1)
    wide = replace(
        square,
        frames_fhwc=np.pad(square.frames_fhwc, ((0, 0), (0, 0), (0, SIZE), (0, 0))),
        masks_ofhw=np.pad(square.masks_ofhw, ((0, 0), (0, 0), (0, 0), (0, SIZE))),
    )
    batch = collate([wide], (1,))
    unroll = Unroll(network, batch, Plan(3, {0: "box"}, corrected=frozenset({0}), clicks=1), batch.generators(), FULL)
    outcome = unroll.run()
    assert outcome.answers[0].shape == (1, 1, SIZE // 4, SIZE // 2)
    outcome.loss(1).backward()
    told = unroll._points(0, [(np.array([[SIZE, SIZE / 2]]), np.array([POSITIVE]))])
    assert told.points_unit_op2 is not None
    assert told.points_unit_op2.tolist() == [[[0.5, 0.5]]]


def test_masks_that_were_shown_are_not_judged(network: SegmentationNetwork):
    assert len(run(network, Plan(3, {0: "mask"})).losses) == 2


def test_all_parts_of_the_network_learn_from_tracking_after_a_click(network: SegmentationNetwork):
    network.zero_grad()
    outcome = run(network, Plan(3, {0: "box"}, corrected=frozenset({0}), clicks=1))
    outcome.loss(2).backward()
    unused = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is None}
    assert unused <= {"mask_as_prompt", "mark_absent", "prompt_encoder", "mask_decoder"}
    for part in (network.trunk, network.memory_encoder, network.memory_attention, network.mask_decoder.brushes):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_clicks_are_remembered_for_the_pictures(network: SegmentationNetwork):
    outcome = run(network, Plan(3, {0: "click"}, corrected=frozenset({0}), clicks=2))
    assert len(outcome.shown[0]) == 2 * 3
    points, labels = outcome.shown[0][0]
    truth = moving_square(1).masks_ofhw[0, 0]
    assert labels.tolist() == [POSITIVE]
    assert truth[int(points[0, 1]), int(points[0, 0])]


def test_an_object_is_clicked_the_same_whatever_is_beside_it(network: SegmentationNetwork):
    plan = Plan(3, {0: "click"}, corrected=frozenset({0}), clicks=1)
    alone = run(network, plan, (2,)).shown[0]
    beside = run(network, plan, (1, 2)).shown[0][1::2]
    for (points, labels), (same_points, same_labels) in zip(alone, beside, strict=True):
        assert np.array_equal(points, same_points)
        assert np.array_equal(labels, same_labels)


def test_an_object_that_has_left_counts_by_its_presence_alone(network: SegmentationNetwork):
    clip = moving_square(1)
    clip.masks_ofhw[:, 1:] = False
    batch = collate([clip], [1])
    outcome = Unroll(network, batch, Plan(3, {0: "mask"}), batch.generators(), LossWeights(presence=0)).run()
    assert outcome.loss(1) == 0


def test_a_thin_line_is_not_taken_for_absent_where_masks_are_reduced(network: SegmentationNetwork):
    """At a presence of 0 nothing but the mask's own loss tells a line from nothing."""
    line, nothing = moving_square(1), moving_square(1)
    line.masks_ofhw[:, 1:] = False
    line.masks_ofhw[:, 1:, 10, 5:40] = True
    nothing.masks_ofhw[:, 1:] = False
    weights = LossWeights(reduction=2, presence=0)
    learned, left = (
        Unroll(network, batch, Plan(3, {0: "mask"}), batch.generators(), weights).run().loss(1)
        for batch in (collate([clip], [1]) for clip in (line, nothing))
    )
    assert left == 0
    assert learned > 0


def test_masks_of_what_the_network_calls_absent_are_judged_as_empty_where_asked_for():
    """Empty masks have the dice loss 1 - 1 / (area + 1), and teach the network nothing."""
    made = SegmentationNetwork(TINY)
    last = made.mask_decoder.presence_head.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.constant_(last.bias, -50)
    batch = collate([moving_square(1)], [1])
    for as_answered in (True, False):
        made.zero_grad()
        weights = LossWeights(focal=0, iou=0, presence=0, as_answered=as_answered)
        outcome = Unroll(made, batch, Plan(3, {0: "click"}), batch.generators(), weights).run()
        empty = [1 - 1 / (20 * 20 + 1)] * 3
        assert ([loss.item() for loss in outcome.losses] == pytest.approx(empty, rel=1e-6)) == as_answered
        outcome.loss(1).backward()
        assert any(p.grad is not None and p.grad.any() for p in made.parameters()) == (not as_answered)


def by_definition(logits_khw: torch.Tensor, target_hw: torch.Tensor, ious: list[float], presence: float) -> float:
    """The published loss of an object that is there, written down pixel by pixel."""
    t, masks, misses = target_hw.numpy() == 1, [], []
    for logits_hw, iou in zip(logits_khw.double(), ious, strict=True):
        p, seen = logits_hw.sigmoid().numpy(), logits_hw.numpy() > 0
        chosen = np.where(t, p, 1 - p)
        focal = np.mean(np.where(t, 0.25, 0.75) * (1 - chosen) ** 2 * -np.log(chosen))
        masks.append(20 * focal + 1 - (2 * p[t].sum() + 1) / (p.sum() + t.sum() + 1))
        misses.append(abs(iou - (seen & t).sum() / (seen | t).sum()))
    return min(masks) + float(np.mean(misses)) + np.log1p(np.exp(-presence))


def seeded(name: str) -> SegmentationNetwork:
    """A published configuration with its seeded weights, for the small pictures of these tests."""
    network = SegmentationNetwork(with_image_size(MODELS[name], SIZE))
    published = state_dict(name.replace("-hiera-", "_hiera_"))
    network.load_state_dict(from_published({key: torch.from_numpy(array) for key, array in published.items()}))
    return network.eval()


def test_a_step_of_a_published_network_has_the_losses_of_the_published_definitions():
    """SAM 2.1 tiny: a click and two corrections, then tracking, judged at the picture's full size."""
    network = seeded("sam2.1-hiera-tiny")
    batch = collate([moving_square(3)], [3])
    plan = Plan(3, {0: "click"}, corrected=frozenset({0}), clicks=2)
    unroll = Unroll(network, batch, plan, batch.generators(), FULL)
    predictions = []
    decode = network.decode

    def recorded(*arguments, **options):
        predictions.append(decode(*arguments, **options))
        return predictions[-1]

    network.decode = recorded  # type: ignore[method-assign]
    outcome = unroll.run()
    assert [prediction.logits_okhw.shape[1] for prediction in predictions] == [3, 1, 1, 3, 3]
    expected = []
    for frame, prediction in zip([0, 0, 0, 1, 2], predictions, strict=True):
        logits_khw = F.interpolate(prediction.logits_okhw.detach(), size=(SIZE, SIZE), mode="bilinear")[0]
        ious, presence = prediction.iou_ok[0].tolist(), prediction.presence_o.item()
        expected.append(by_definition(logits_khw, batch.masks_ofhw[0, frame].float(), ious, presence))
    assert [loss.item() for loss in outcome.losses] == pytest.approx(expected, rel=1e-4)
    assert outcome.loss(1).item() == pytest.approx(sum(expected), rel=1e-4)
