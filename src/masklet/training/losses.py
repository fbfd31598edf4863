"""What a prediction is judged by. Masks are compared as logits with targets in 0..1 (soft at edges)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms. ``hardest`` is the share of pixels that the pixel loss looks at."""

    pixels: float = 1.0
    dice: float = 1.0
    iou: float = 0.2
    presence: float = 0.2
    hardest: float = 0.25


def focal(logits_okhw: Tensor, target_o1hw: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss, mean over pixels: (o, k). Source: Lin et al., arXiv 1708.02002, equation 5."""
    target = target_o1hw.expand_as(logits_okhw)
    entropy = F.binary_cross_entropy_with_logits(logits_okhw, target, reduction="none")
    probability = logits_okhw.sigmoid()
    miss = probability * (1 - target) + (1 - probability) * target
    share = alpha * target + (1 - alpha) * (1 - target)
    return (share * miss**gamma * entropy).flatten(2).mean(2)


def dice(logits_okhw: Tensor, target_o1hw: Tensor) -> Tensor:
    """1 - (2 |A B| + 1) / (|A| + |B| + 1) on probabilities: (o, k). Source: Milletari et al., arXiv 1606.04797."""
    probability = logits_okhw.sigmoid().flatten(2)
    target = target_o1hw.flatten(2)
    overlap = (probability * target).sum(2)
    return 1 - (2 * overlap + 1) / (probability.sum(2) + target.sum(2) + 1)


def hard_pixels(logits_okhw: Tensor, target_o1hw: Tensor, share: float) -> Tensor:
    """Cross-entropy, mean over the worst ``share`` of the pixels: (o, k)."""
    entropy = F.binary_cross_entropy_with_logits(logits_okhw, target_o1hw.expand_as(logits_okhw), reduction="none")
    pixels = entropy.flatten(2)
    return pixels.topk(max(1, int(share * pixels.shape[2])), dim=2, sorted=False).values.mean(2)


def true_iou(logits_okhw: Tensor, target_o1hw: Tensor) -> Tensor:
    """IoU of the thresholded masks: (o, k). 1 where both are empty."""
    predicted, target = logits_okhw > 0, target_o1hw > 0.5
    overlap = (predicted & target).flatten(2).sum(2).float()
    union = (predicted | target).flatten(2).sum(2).float()
    return torch.where(union > 0, overlap / union.clamp(min=1), 1.0)


def mask_losses(logits_okhw: Tensor, target_o1hw: Tensor, weights: LossWeights) -> Tensor:
    """Weighted pixel and dice loss of every candidate: (o, k)."""
    pixels = hard_pixels(logits_okhw, target_o1hw, weights.hardest)
    return weights.pixels * pixels + weights.dice * dice(logits_okhw, target_o1hw)


def prediction_loss(
    logits_okhw: Tensor, iou_ok: Tensor, presence_o: Tensor, target_o1hw: Tensor, weights: LossWeights
) -> Tensor:
    """Loss of four masks, mean over objects.

    The single mask (first) is always trained, of the three candidates only the best one; the IoU of all four.
    Where the object is absent only the presence counts.
    """
    present_o = (target_o1hw > 0.5).flatten(1).any(1).float()
    per_mask_ok = mask_losses(logits_okhw, target_o1hw, weights)
    mask_o = per_mask_ok[:, 0] + per_mask_ok[:, 1:].min(dim=1).values
    iou_o = (iou_ok - true_iou(logits_okhw.detach(), target_o1hw)).abs().mean(1)
    presence = F.binary_cross_entropy_with_logits(presence_o, present_o)
    shown = present_o.sum().clamp(min=1)
    return ((mask_o + weights.iou * iou_o) * present_o).sum() / shown + weights.presence * presence
