"""What a prediction is judged by. Masks are compared as logits with targets in 0..1 (soft at edges)."""

from __future__ import annotations

from collections.abc import Mapping
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


def mask_terms(logits_okhw: Tensor, target_o1hw: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """Weighted terms of every candidate mask, (o, k) each."""
    terms = {"dice": weights.dice * dice(logits_okhw, target_o1hw)}
    if weights.focal:
        terms["focal"] = weights.focal * focal(logits_okhw, target_o1hw)
    if weights.hard_pixels:
        terms["hard_pixels"] = weights.hard_pixels * hard_pixels(logits_okhw, target_o1hw, weights.hard_share)
    return terms


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """The sum of all terms."""
    return torch.stack([*terms.values()]).sum(0)


def prediction_terms(
    prediction: MaskPrediction, target_o1hw: Tensor, weights: LossWeights, present_o: Tensor
) -> dict[str, Tensor]:
    """Weighted terms of the loss of every object, (o,) each, for logits at the target's size.

    Of several candidates only the one with the lowest mask loss is trained, but the IoU of all. Where the object is
    absent (``present_o`` is False) only its presence counts. Reduced targets may have no pixel that is mostly inside
    although the object is there: then there is no IoU to be learned.
    """
    logits_okhw = prediction.logits_okhw.float()
    of_masks = mask_terms(logits_okhw, target_o1hw, weights)
    best_o1 = total(of_masks).argmin(dim=1, keepdim=True)
    iou_o = (prediction.iou_ok.float() - true_iou(logits_okhw.detach(), target_o1hw)).abs().mean(1)
    iou_o = iou_o * (target_o1hw > 0.5).flatten(1).any(1)
    present_o = present_o.float()
    presence_o = F.binary_cross_entropy_with_logits(prediction.presence_o.float(), present_o, reduction="none")
    terms = {name: term_ok.gather(1, best_o1)[:, 0] * present_o for name, term_ok in of_masks.items()}
    return {**terms, "iou": weights.iou * iou_o * present_o, "presence": weights.presence * presence_o}
