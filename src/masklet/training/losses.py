"""What a prediction is judged by. Masks are compared as logits with targets in 0..1 (soft at edges)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from masklet.model.outputs import MaskPrediction


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; those of SAM 2 (arXiv 2408.00714, appendix D.2.1) by default."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0
    hard_pixels: float = 0.0
    hard_share: float = 0.25
    """Share of the pixels that ``hard_pixels`` looks at."""
    reduction: int = 1
    """Masks are compared at the picture's side divided by this."""
    as_answered: bool = False
    """Where the network says that the object is absent, its masks are judged as the empty ones that it answers with, as
    published; otherwise what they would have been."""


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
    """Weighted loss of every candidate mask: (o, k)."""
    terms = weights.dice * dice(logits_okhw, target_o1hw)
    if weights.focal:
        terms = terms + weights.focal * focal(logits_okhw, target_o1hw)
    if weights.hard_pixels:
        terms = terms + weights.hard_pixels * hard_pixels(logits_okhw, target_o1hw, weights.hard_share)
    return terms


def prediction_loss(prediction: MaskPrediction, target_o1hw: Tensor, weights: LossWeights, present_o: Tensor) -> Tensor:
    """Loss of every object, (o,), for logits at the target's size.

    Of several candidates only the one with the lowest mask loss is trained, but the IoU of all. Where the object is
    absent (``present_o`` is False) only its presence counts. Reduced targets may have no pixel that is mostly inside
    although the object is there: then there is no IoU to be learned.
    """
    logits_okhw = prediction.logits_okhw.float()
    mask_o = mask_losses(logits_okhw, target_o1hw, weights).min(dim=1).values
    iou_o = (prediction.iou_ok.float() - true_iou(logits_okhw.detach(), target_o1hw)).abs().mean(1)
    iou_o = iou_o * (target_o1hw > 0.5).flatten(1).any(1)
    present_o = present_o.float()
    presence_o = F.binary_cross_entropy_with_logits(prediction.presence_o.float(), present_o, reduction="none")
    return (mask_o + weights.iou * iou_o) * present_o + weights.presence * presence_o
