"""Clicks, boxes and mask prompts -> tokens and a dense map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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

    @property
    def objects(self) -> int:
        """How many objects the prompts are for."""
        given = self.mask_logits_o1hw if self.labels_op is None else self.labels_op
        assert given is not None, "a prompt holds points or a mask"
        return len(given)


class PromptEncoder(nn.Module):
    """As in SAM; boxes come as corner points."""

    def __init__(self, width: int, image_size: int, *, sketched: bool = False):
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
        self.sketch = Sketch(width, self.grid) if sketched else None

    def forward(self, prompts: PromptBatch) -> tuple[Tensor, Tensor]:
        """Tokens (o, p + 1, width), or (o, 0, width) without points, and a dense map (o, width, grid, grid)."""
        return self._tokens(prompts), self._dense(prompts)

    def _tokens(self, prompts: PromptBatch) -> Tensor:
        if prompts.points_unit_op2 is None or prompts.labels_op is None:
            return self.no_mask.weight.new_zeros(prompts.objects, 0, self.no_mask.embedding_dim)
        points_op2, labels_op = with_padding_point(prompts.points_unit_op2, prompts.labels_op)
        is_point_op1 = (labels_op != NO_POINT)[..., None]
        placed = self.positions(points_op2 + self.half_pixel) + self.labels(labels_op.clamp(min=0))
        return torch.where(is_point_op1, placed, self.no_point.weight)

    def _dense(self, prompts: PromptBatch) -> Tensor:
        dense_ochw = self._mask_or_none(prompts)
        if self.sketch is None or prompts.points_unit_op2 is None or prompts.labels_op is None:
            return dense_ochw
        return dense_ochw + self.sketch(prompts.points_unit_op2, prompts.labels_op)

    def _mask_or_none(self, prompts: PromptBatch) -> Tensor:
        if prompts.mask_logits_o1hw is not None:
            return self.mask(prompts.mask_logits_o1hw)
        return self.no_mask.weight[:, :, None, None].expand(prompts.objects, -1, self.grid, self.grid)


class Sketch(nn.Module):
    """Draws clicks and boxes onto the dense map, as interactive segmentation did before SAM.

    A network that sees few pictures in training learns sooner what a prompt means where it finds it drawn on the spot
    (compare RITM, arXiv 2102.06583) than by comparing encoded coordinates alone. Adds nothing before training.
    """

    REACHES = (1 / 32, 1 / 8, 1 / 2)
    """How far a click is drawn, as standard deviations in parts of the picture."""

    def __init__(self, width: int, grid: int):
        super().__init__()
        self.grid = grid
        self.look = nn.Conv2d(2 * len(self.REACHES) + 2, width, 1)
        self.paint = nn.Conv2d(width, width, 1, bias=False)
        nn.init.zeros_(self.paint.weight)

    def forward(self, points_unit_op2: Tensor, labels_op: Tensor) -> Tensor:
        """What is added to the dense map: (o, width, grid, grid)."""
        return self.paint(F.gelu(self.look(self.drawn(points_unit_op2.float(), labels_op))))

    def drawn(self, points_unit_op2: Tensor, labels_op: Tensor) -> Tensor:
        """(o, 8, grid, grid) in 0..1: positive clicks at every reach, negative ones; a box's inside and its middle."""
        cells_g = (torch.arange(self.grid, device=labels_op.device) + 0.5) / self.grid
        return torch.cat([self._clicks(points_unit_op2, labels_op, cells_g), self._box(points_unit_op2, labels_op)], 1)

    def _clicks(self, points_op2: Tensor, labels_op: Tensor, cells_g: Tensor) -> Tensor:
        x_opg, y_opg = ((cells_g - points_op2[..., axis, None]) ** 2 for axis in (0, 1))
        distance_ophw = y_opg[..., :, None] + x_opg[..., None, :]
        drawn = []
        for label in (POSITIVE, NEGATIVE):
            given_op11 = (labels_op == label)[..., None, None]
            drawn += [((-distance_ophw / (2 * reach**2)).exp() * given_op11).amax(1) for reach in self.REACHES]
        return torch.stack(drawn, dim=1)

    def _box(self, points_op2: Tensor, labels_op: Tensor) -> Tensor:
        low_o21, high_o21 = (
            (points_op2 * (labels_op == corner)[..., None]).sum(1)[..., None] for corner in (BOX_MIN, BOX_MAX)
        )
        starts_g = torch.arange(self.grid, device=labels_op.device) / self.grid
        covered_o2g = (high_o21.minimum(starts_g + 1 / self.grid) - low_o21.maximum(starts_g)).clamp(min=0) * self.grid
        reach_o21 = (high_o21 - low_o21).clamp(min=1 / self.grid) / 2
        middle_o2g = (-2 * ((starts_g + 0.5 / self.grid - (low_o21 + high_o21) / 2) / reach_o21) ** 2).exp()
        inside_ohw, middle_ohw = (both[:, 1, :, None] * both[:, 0, None, :] for both in (covered_o2g, middle_o2g))
        given_o11 = (labels_op == BOX_MIN).any(1)[:, None, None]
        return torch.stack([inside_ohw, middle_ohw], dim=1) * given_o11[:, None]


def with_padding_point(points_op2: Tensor, labels_op: Tensor) -> tuple[Tensor, Tensor]:
    """The published network always saw one filling point behind the prompts."""
    o = len(points_op2)
    points = torch.cat([points_op2, points_op2.new_zeros(o, 1, 2)], dim=1)
    return points, torch.cat([labels_op, labels_op.new_full((o, 1), NO_POINT)], dim=1)
