from __future__ import annotations

import math

import pytest
import torch

from masklet.training.losses import LossWeights, dice, focal, hard_pixels, prediction_loss, true_iou

HALF = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])


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


def four(*candidates: torch.Tensor) -> torch.Tensor:
    return torch.cat(candidates, dim=1).requires_grad_()


def test_only_the_single_mask_and_the_best_candidate_are_trained():
    good, bad = logits(2, -2, -2, -2), logits(-2, 2, 2, 2)
    predicted = four(bad, bad, good, bad)
    prediction_loss(predicted, torch.full((1, 4), 0.5), torch.ones(1), HALF, LossWeights()).backward()
    assert predicted.grad is not None
    trained = predicted.grad[0].abs().sum((1, 2)) > 0
    assert trained.tolist() == [True, False, True, False]


def test_where_the_object_is_absent_only_its_presence_counts():
    predicted = four(*[logits(2, -2, -2, -2)] * 4)
    loss = prediction_loss(
        predicted, torch.full((1, 4), 0.5), torch.zeros(1), torch.zeros_like(HALF), LossWeights(presence=1)
    )
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert predicted.grad is not None
    assert not predicted.grad.any()
