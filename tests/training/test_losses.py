from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from masklet.model.outputs import MaskPrediction
from masklet.training.losses import LossWeights, dice, focal, hard_pixels, prediction_terms, total, true_iou

HERE, AWAY = torch.tensor([True]), torch.tensor([False])
HALF = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])


def prediction_loss(*given: Any) -> torch.Tensor:
    return total(prediction_terms(*given))


def logits(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 2, 2)


def test_focal_loss_of_undecided_pixels_is_the_hand_computed_one():
    expected = (0.25 * 0.25 * math.log(2) + 3 * 0.75 * 0.25 * math.log(2)) / 4
    assert focal(logits(0, 0, 0, 0), HALF).item() == pytest.approx(expected)


def test_focal_loss_nearly_ignores_pixels_that_are_right():
    assert focal(logits(6, -6, -6, -6), HALF) < 1e-6 < focal(logits(-6, -6, -6, -6), HALF)


def test_dice_loss_is_the_hand_computed_one():
    assert dice(logits(0, 0, 0, 0), HALF).item() == pytest.approx(1 - (2 * 0.5 + 1) / (2 + 1 + 1))


def test_dice_loss_of_a_perfect_mask_vanishes():
    assert dice(logits(50, -50, -50, -50), HALF).item() == pytest.approx(0, abs=1e-6)


def test_hard_pixels_looks_at_the_worst_share_only():
    wrong = math.log1p(math.exp(3))
    assert hard_pixels(logits(-3, -9, -9, -9), HALF, share=0.25).item() == pytest.approx(wrong)


def test_true_iou_counts_pixels_and_calls_two_empty_masks_equal():
    assert true_iou(logits(1, 1, -1, -1), HALF).item() == pytest.approx(0.5)
    assert true_iou(logits(-1, -1, -1, -1), torch.zeros_like(HALF)).item() == 1


def predicted(logits_1khw: torch.Tensor, iou: float = 0.5, presence: float = 0.0) -> MaskPrediction:
    k = logits_1khw.shape[1]
    return MaskPrediction(logits_1khw, torch.full((1, k), iou), torch.zeros(1, k, 4), torch.full((1,), presence))


def test_only_the_best_candidate_is_trained():
    good, bad = logits(2, -2, -2, -2), logits(-2, 2, 2, 2)
    candidates = torch.cat([bad, good, bad], dim=1).requires_grad_()
    prediction_loss(predicted(candidates), HALF, LossWeights(), HERE).sum().backward()
    assert candidates.grad is not None
    assert (candidates.grad[0].abs().sum((1, 2)) > 0).tolist() == [False, True, False]


def test_the_loss_is_the_weighted_sum_of_its_terms():
    one = logits(1, 0, 0, -1)
    weights = LossWeights(focal=20, dice=3, iou=2, presence=5, hard_pixels=7)
    expected = (
        20 * focal(one, HALF)[0, 0]
        + 3 * dice(one, HALF)[0, 0]
        + 7 * hard_pixels(one, HALF, 0.25)[0, 0]
        + 2 * abs(0.25 - 1.0)
        + 5 * math.log1p(math.exp(-1.5))
    )
    prediction = predicted(one, iou=0.25, presence=1.5)
    loss_o = prediction_loss(prediction, HALF, weights, HERE)
    assert {*prediction_terms(prediction, HALF, weights, HERE)} == {"focal", "dice", "hard_pixels", "iou", "presence"}
    assert loss_o.shape == (1,)
    assert loss_o.item() == pytest.approx(expected.item())


def test_where_the_object_is_absent_only_its_presence_counts():
    candidates = torch.cat([logits(2, -2, -2, -2)] * 3, dim=1).requires_grad_()
    loss_o = prediction_loss(predicted(candidates), torch.zeros_like(HALF), LossWeights(presence=1), AWAY)
    loss_o.sum().backward()
    assert loss_o.item() == pytest.approx(math.log(2))
    assert candidates.grad is not None
    assert not candidates.grad.any()


def test_a_line_that_is_too_thin_for_reduced_targets_is_there_all_the_same():
    """Every reduced pixel is half inside, so the mask and its presence are learned, but no IoU."""
    target_o1hw = torch.tensor([[[[0.5, 0.0], [0.5, 0.0]]]])
    one = logits(2, -2, 2, -2)
    expected = 20 * focal(one, target_o1hw)[0, 0] + dice(one, target_o1hw)[0, 0] + math.log1p(math.exp(-1.5))
    loss_o = prediction_loss(predicted(one, iou=0.9, presence=1.5), target_o1hw, LossWeights(), HERE)
    assert loss_o.item() == pytest.approx(expected.item())
