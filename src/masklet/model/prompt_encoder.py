"""Clicks, boxes and mask prompts -> tokens and a dense map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from masklet.model.layers import LayerNorm2d
from masklet.model.outputs import _Tensors
from masklet.model.positions import FourierPositions

NEGATIVE, POSITIVE, BOX_MIN, BOX_MAX = 0, 1, 2, 3
NO_POINT = -1


@dataclass(frozen=True)
class PromptBatch(_Tensors):
    """Prompts of o objects. A box is two points with labels 2 and 3, placed first; label -1 fills up."""

    points_unit_op2: Tensor | None = None
    """x to the right and y down, in parts of the picture."""
    labels_op: Tensor | None = None
    mask_logits_o1hw: Tensor | None = None
    """Logits at the size of the low-res masks."""

    @staticmethod
    def nothing(objects: int, device: torch.device | str | None = None) -> PromptBatch:
        """No prompt at all, as while tracking."""
        points = torch.zeros(objects, 1, 2, device=device)
        return PromptBatch(points, torch.full((objects, 1), NO_POINT, device=device))


class PromptEncoder(nn.Module):
    """As in SAM; boxes come as corner points."""

    def __init__(self, width: int, image_size: int):
        super().__init__()
        self.half_pixel = 0.5 / image_size
        self.grid = image_size // 16
        self.positions = FourierPositions(width)
        self.labels = nn.Embedding(4, width)
        self.no_point = nn.Embedding(1, width)
        self.no_mask = nn.Embedding(1, width)
        self.mask = nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2), LayerNorm2d(4), nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2), LayerNorm2d(16), nn.GELU(),
            nn.Conv2d(16, width, 1),
        )  # fmt: skip

    def forward(self, prompts: PromptBatch) -> tuple[Tensor, Tensor]:
        """Tokens (o, p + 1, width), or (o, 0, width) without points, and a dense map (o, width, grid, grid)."""
        return self._tokens(prompts), self._dense(prompts)

    def _tokens(self, prompts: PromptBatch) -> Tensor:
        if prompts.points_unit_op2 is None or prompts.labels_op is None:
            assert prompts.mask_logits_o1hw is not None, "a prompt holds points or a mask"
            return self.no_mask.weight.new_zeros(len(prompts.mask_logits_o1hw), 0, self.no_mask.embedding_dim)
        points_op2, labels_op = with_padding_point(prompts.points_unit_op2, prompts.labels_op)
        is_point_op1 = (labels_op != NO_POINT)[..., None]
        placed = self.positions(points_op2 + self.half_pixel) + self.labels(labels_op.clamp(min=0))
        return torch.where(is_point_op1, placed, self.no_point.weight)

    def _dense(self, prompts: PromptBatch) -> Tensor:
        if prompts.mask_logits_o1hw is not None:
            return self.mask(prompts.mask_logits_o1hw)
        assert prompts.labels_op is not None, "a prompt holds points or a mask"
        return self.no_mask.weight[:, :, None, None].expand(len(prompts.labels_op), -1, self.grid, self.grid)


def with_padding_point(points_op2: Tensor, labels_op: Tensor) -> tuple[Tensor, Tensor]:
    """The published network always saw one filling point behind the prompts."""
    o = len(points_op2)
    points = torch.cat([points_op2, points_op2.new_zeros(o, 1, 2)], dim=1)
    return points, torch.cat([labels_op, labels_op.new_full((o, 1), NO_POINT)], dim=1)
