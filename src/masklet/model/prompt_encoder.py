"""Clicks, boxes and mask prompts -> tokens and a dense map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masklet.model.arithmetic import Kept
from masklet.model.layers import LayerNorm2d
from masklet.model.outputs import _Tensors
from masklet.model.positions import FourierPositions, middles

NEGATIVE, POSITIVE, BOX_MIN, BOX_MAX = 0, 1, 2, 3
NO_POINT = -1
CELL = 16
"""Height and width of a cell of the dense map, in pixels."""


@dataclass(frozen=True)
class PromptBatch(_Tensors):
    """Prompts of o objects. A box is two points with labels 2 and 3, placed first; label -1 fills up."""

    points_unit_op2: Tensor | None = None
    """x to the right and y down, in parts of the picture."""
    labels_op: Tensor | None = None
    mask_logits_o1hw: Tensor | None = None
    """Logits at the size of the low-res masks."""
    has_no_points: bool = False
    """Known without a look at the labels, which all fill up."""

    @staticmethod
    def nothing(objects: int, device: torch.device | str | None = None) -> PromptBatch:
        """No prompt at all, as while tracking."""
        points = torch.zeros(objects, 1, 2, device=device)
        labels = torch.full((objects, 1), NO_POINT, device=device)
        return PromptBatch(points, labels, has_no_points=True)

    @property
    def is_nothing(self) -> bool:
        """Whether all such batches of one size are alike."""
        return self.has_no_points and self.mask_logits_o1hw is None

    @property
    def objects(self) -> int:
        """How many objects the prompts are for."""
        given = self.mask_logits_o1hw if self.labels_op is None else self.labels_op
        assert given is not None, "a prompt holds points or a mask"
        return len(given)


class PromptEncoder(nn.Module):
    """As in SAM; boxes come as corner points."""

    def __init__(self, width: int, *, sketched: bool = False):
        super().__init__()
        self.positions = FourierPositions(width)
        self.labels = nn.Embedding(4, width)
        self.no_point = nn.Embedding(1, width)
        self.no_mask = nn.Embedding(1, width)
        self.mask = nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2), LayerNorm2d(4), nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2), LayerNorm2d(16), nn.GELU(),
            nn.Conv2d(16, width, 1),
        )  # fmt: skip
        self.sketch = Sketch(width) if sketched else None
        self.kept_nothing = Kept()

    def forward(self, prompts: PromptBatch, h: int, w: int) -> tuple[Tensor, Tensor]:
        """Tokens (o, p + 1, width), or (o, 0, width) without points, and a dense map (o, width, h, w)."""
        if torch.is_grad_enabled() or not prompts.is_nothing:
            return self._encoded(prompts, h, w)
        one = prompts.rows(slice(0, 1))
        tokens_1pc, dense_1chw = self.kept_nothing.get((h, w), self.parameters(), lambda: self._encoded(one, h, w))
        return tokens_1pc.expand(prompts.objects, -1, -1), dense_1chw.expand(prompts.objects, -1, -1, -1)

    def _encoded(self, prompts: PromptBatch, h: int, w: int) -> tuple[Tensor, Tensor]:
        return self._tokens(prompts, h, w), self._dense(prompts, h, w)

    def _tokens(self, prompts: PromptBatch, h: int, w: int) -> Tensor:
        if prompts.points_unit_op2 is None or prompts.labels_op is None:
            return self.no_mask.weight.new_zeros(prompts.objects, 0, self.no_mask.embedding_dim)
        points_op2, labels_op = with_padding_point(prompts.points_unit_op2, prompts.labels_op)
        half_pixel_2 = torch.cat([points_op2.new_full((1,), 0.5 / (CELL * cells)) for cells in (w, h)])
        is_point_op1 = (labels_op != NO_POINT)[..., None]
        placed = self.positions(points_op2 + half_pixel_2) + self.labels(labels_op.clamp(min=0))
        return torch.where(is_point_op1, placed, self.no_point.weight)

    def _dense(self, prompts: PromptBatch, h: int, w: int) -> Tensor:
        dense_ochw = self._mask_or_none(prompts, h, w)
        if self.sketch is None or prompts.points_unit_op2 is None or prompts.labels_op is None:
            return dense_ochw
        return dense_ochw + self.sketch(prompts.points_unit_op2, prompts.labels_op, h, w)

    def _mask_or_none(self, prompts: PromptBatch, h: int, w: int) -> Tensor:
        if prompts.mask_logits_o1hw is not None:
            return self.mask(prompts.mask_logits_o1hw)
        return self.no_mask.weight[:, :, None, None].expand(prompts.objects, -1, h, w)


class Sketch(nn.Module):
    """Draws clicks and boxes onto the dense map, as interactive segmentation did before SAM.

    A network that sees few pictures in training learns sooner what a prompt means where it finds it drawn on the spot
    (compare RITM, arXiv 2102.06583) than by comparing encoded coordinates alone. Adds nothing before training.
    """

    REACHES = (1 / 32, 1 / 8, 1 / 2)
    """How far a click is drawn, as standard deviations in parts of the side of a square with the picture's area."""

    def __init__(self, width: int):
        super().__init__()
        self.look = nn.Conv2d(2 * len(self.REACHES) + 2, width, 1)
        self.paint = nn.Conv2d(width, width, 1, bias=False)
        nn.init.zeros_(self.paint.weight)

    def forward(self, points_unit_op2: Tensor, labels_op: Tensor, h: int, w: int) -> Tensor:
        """What is added to the dense map: (o, width, h, w)."""
        return self.paint(F.gelu(self.look(self.drawn(points_unit_op2.float(), labels_op, h, w))))

    def drawn(self, points_unit_op2: Tensor, labels_op: Tensor, h: int, w: int) -> Tensor:
        """(o, 8, h, w) in 0..1: positive clicks at every reach, negative ones; a box's inside and its middle."""
        return torch.cat(
            [self._clicks(points_unit_op2, labels_op, h, w), self._box(points_unit_op2, labels_op, h, w)], 1
        )

    def _clicks(self, points_op2: Tensor, labels_op: Tensor, h: int, w: int) -> Tensor:
        cells_per_side = math.sqrt(h * w)
        x_opw, y_oph = (
            ((middles(cells, labels_op.device) - points_op2[..., axis, None]) * (cells / cells_per_side)) ** 2
            for axis, cells in enumerate((w, h))
        )
        distance_ophw = y_oph[..., :, None] + x_opw[..., None, :]
        drawn = []
        for label in (POSITIVE, NEGATIVE):
            given_op11 = (labels_op == label)[..., None, None]
            drawn += [((-distance_ophw / (2 * reach**2)).exp() * given_op11).amax(1) for reach in self.REACHES]
        return torch.stack(drawn, dim=1)

    def _box(self, points_op2: Tensor, labels_op: Tensor, h: int, w: int) -> Tensor:
        low_o2, high_o2 = ((points_op2 * (labels_op == corner)[..., None]).sum(1) for corner in (BOX_MIN, BOX_MAX))
        (inside_ow, middle_ow), (inside_oh, middle_oh) = (
            _interval(low_o2[:, axis, None], high_o2[:, axis, None], cells) for axis, cells in enumerate((w, h))
        )
        inside_ohw, middle_ohw = inside_oh[..., None] * inside_ow[:, None], middle_oh[..., None] * middle_ow[:, None]
        given_o11 = (labels_op == BOX_MIN).any(1)[:, None, None]
        return torch.stack([inside_ohw, middle_ohw], dim=1) * given_o11[:, None]


def _interval(low_o1: Tensor, high_o1: Tensor, cells: int) -> tuple[Tensor, Tensor]:
    """Along one axis of so many cells: the share of each inside, and how near its middle is to the interval's."""
    middles_g, half = middles(cells, low_o1.device), 0.5 / cells
    inside_og = (high_o1.minimum(middles_g + half) - low_o1.maximum(middles_g - half)).clamp(min=0) * cells
    reach_o1 = (high_o1 - low_o1).clamp(min=2 * half) / 2
    middle_og = (-2 * ((middles_g - (low_o1 + high_o1) / 2) / reach_o1) ** 2).exp()
    return inside_og, middle_og


def with_padding_point(points_op2: Tensor, labels_op: Tensor) -> tuple[Tensor, Tensor]:
    """The published network always saw one filling point behind the prompts."""
    o = len(points_op2)
    points = torch.cat([points_op2, points_op2.new_zeros(o, 1, 2)], dim=1)
    return points, torch.cat([labels_op, labels_op.new_full((o, 1), NO_POINT)], dim=1)
