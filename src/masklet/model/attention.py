"""Multi-head attention with separate projections, and its rotary form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from masklet.model.arithmetic import Computes, Kept, attend
from masklet.model.detail import with_squares
from masklet.model.layers import Drops, Linear
from masklet.model.positions import Rotation, quarter_turn, rotate

TURNED_NUMBERS = 1 << 20
"""So many numbers are turned at once: they shall stay in the processor's cache."""


class TurnableLinear(Linear):
    """Keeps its weights together with those that give the same tokens turned by a quarter, while nothing learns."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.kept_twice = Kept()

    def twice(self, x_bnc: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens, and the same tokens turned by a quarter, (b, n, outputs) each, out of one product."""
        weight, bias = self.kept_twice.get(self.arithmetic.dtype, self.parameters(), self._doubled)
        tokens_bnc, quarters_bnc = self.arithmetic.linear(x_bnc, weight, bias).chunk(2, dim=-1)
        return tokens_bnc, quarters_bnc

    def _doubled(self) -> tuple[Tensor, Tensor]:
        weight, bias = (torch.cat([part, quarter_turn(part)]) for part in (self.weight, self.bias))
        return weight.to(self.arithmetic.dtype), bias.to(self.arithmetic.dtype)


class Attention(nn.Module, Computes, Drops):
    """Scaled dot-product attention of ``heads`` heads over ``inner`` channels in total."""

    projection: type[Linear] = Linear
    """Makes queries and keys."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        inner: int | None = None,
        key_width: int | None = None,
        value_width: int | None = None,
    ):
        super().__init__()
        inner = inner or width
        self.heads = heads
        self.query = self.projection(width, inner)
        self.key = self.projection(key_width or width, inner)
        self.value = Linear(value_width or width, inner)
        self.out = Linear(inner, width)

    def forward(self, query_bnc: Tensor, key_bmc: Tensor, value_bmc: Tensor) -> Tensor:
        """(b or 1, n, width), (b or 1, m, key_width) and (b or 1, m, value_width) -> (b, n, width)."""
        query_bhnd = self._split(self.query(query_bnc))
        key_bhmd = self._split(self.key(key_bmc))
        value_bhmd = self._split(self.value(value_bmc))
        b = max(len(query_bnc), len(key_bmc))
        query_bhnd, key_bhmd, value_bhmd = (x.expand(b, -1, -1, -1) for x in (query_bhnd, key_bhmd, value_bhmd))
        return self._merge(self._attend(query_bhnd, key_bhmd, value_bhmd))

    def _attend(self, query_bhnd: Tensor, key_bhmd: Tensor, value_bhmd: Tensor, bias_m: Tensor | None = None) -> Tensor:
        if self.dropped:
            return attend(query_bhnd, key_bhmd, value_bhmd, bias_m, self.dropped)
        return (attend if self.is_plain else self.arithmetic.attend)(query_bhnd, key_bhmd, value_bhmd, bias_m)

    def _split(self, x_bnc: Tensor) -> Tensor:
        return rearrange(x_bnc, "b n (h d) -> b h n d", h=self.heads)

    def _merge(self, x_bhnd: Tensor) -> Tensor:
        return self.out(rearrange(x_bhnd, "b h n d -> b n (h d)"))


@dataclass(frozen=True)
class Placed:
    """Keys of which some lie on a grid: whole grids first, all alike, then tokens without a place."""

    rotation: Rotation
    """Of one grid's cells."""
    unplaced: int = 0
    bias_m: Tensor | None = None
    """Added to every key's scores."""


@dataclass(frozen=True)
class Shifts:
    """What is to be added to the tokens of each grid, the same to all of its cells."""

    shift_gc: Tensor
    table_sc: Tensor
    """Whose rows they are."""
    rows: tuple[int, ...]
    squares_hw: tuple[int, int] | None = None
    """Of each grid's cells, if the means over its squares follow them (``detail.with_squares``)."""


class RotaryAttention(Attention):
    """Attention on a grid: queries and grid keys are turned by their place, so that scores know the displacement.

    ``rotation`` is that of the queries, ``placed`` says where the keys lie. One query may stand for all rows of keys.

    Values narrower than a head are mixed before they are projected, where that is faster: weights sum to one, so
    softmax(s) (v W + b) = (softmax(s) v) W + b.
    """

    projection = TurnableLinear
    query: TurnableLinear
    key: TurnableLinear

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.kept_shifts = Kept()

    def forward(  # type: ignore[override]
        self, query_bnc: Tensor, key_bmc: Tensor, value_bmc: Tensor, rotation: Rotation, placed: Placed | None = None
    ) -> Tensor:
        placed = placed or Placed(rotation)
        return self.look(query_bnc, self.turned_keys(key_bmc, placed), value_bmc, rotation, placed.bias_m)

    def look(
        self,
        query_bnc: Tensor,
        key_bhmd: Tensor,
        value_bmc: Tensor,
        rotation: Rotation,
        bias_m: Tensor | None = None,
    ) -> Tensor:
        """As ``forward``, with keys that are projected and turned already. One row of them may stand for all."""
        b = len(value_bmc)
        query_bhnd = self._turned(self.query, query_bnc, Placed(rotation)).expand(b, -1, -1, -1)
        key_bhmd = key_bhmd.expand(b, -1, -1, -1)
        if self._mixes_first:
            return self._merge(self._project(self._attend(query_bhnd, key_bhmd, value_bmc[:, None], bias_m)))
        value_bhmd = self._split(self.value(value_bmc))
        return self._merge(self._attend(query_bhnd, key_bhmd, value_bhmd, bias_m))

    def turned_keys(self, key_bmc: Tensor, placed: Placed) -> Tensor:
        """What ``look`` compares with: (b, h, m, d)."""
        return self._turned(self.key, key_bmc, placed)

    def turned_shifts(self, shifts: Shifts, placed: Placed) -> Tensor:
        """What ``turned_keys`` change by where the grids' tokens are shifted: (1, h, m, d).

        Projecting and turning are linear. While nothing learns, what was made last is kept.
        """
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._made_shifts(shifts, placed.rotation)
        kind = (self.arithmetic.dtype, shifts.rows, placed.rotation, shifts.squares_hw)
        parts = [shifts.table_sc, self.key.weight]
        return self.kept_shifts.get(kind, parts, lambda: self._made_shifts(shifts, placed.rotation))

    def _made_shifts(self, shifts: Shifts, rotation: Rotation) -> Tensor:
        shift_hg1d = rearrange(F.linear(shifts.shift_gc, self.key.weight), "g (h d) -> h g 1 d", h=self.heads)
        cells = len(rotation.angles_nc)
        turned_hgnd = rotate(shift_hg1d.expand(-1, -1, cells, -1), rotation.angles_nc)
        if shifts.squares_hw:
            turned_hgnd = with_squares(turned_hgnd, *shifts.squares_hw)
        return turned_hgnd.flatten(1, 2)[None].to(self.arithmetic.dtype)

    @property
    def _mixes_first(self) -> bool:
        is_narrow = self.value.in_features < self.value.out_features // self.heads
        return is_narrow and self.arithmetic.by_products and not self.arithmetic.has_tiles

    def _project(self, mixed_bhnc: Tensor) -> Tensor:
        """Every head's mixed values, projected: (b, h, n, d)."""
        weights, biases = self.value.weight.chunk(self.heads), self.value.bias.chunk(self.heads)
        heads = zip(mixed_bhnc.unbind(1), weights, biases, strict=True)
        return torch.stack([self.arithmetic.linear(*head) for head in heads], dim=1)

    def _turned(self, layer: TurnableLinear, x_bmc: Tensor, placed: Placed) -> Tensor:
        """(b, m, c) -> (b, h, m, d), projected and turned as the tokens lie.

        Tokens that are turned by a quarter come out of the same product as they themselves, by weights that are
        turned: what remains is two passes instead of many.
        """
        end = x_bmc.shape[1] - placed.unplaced
        cells = len(placed.rotation.angles_nc)
        if not self.arithmetic.by_products:
            projected_bhmd = self._split(layer(x_bmc))
            grids_bhgnd = projected_bhmd[:, :, :end].unflatten(2, (-1, cells))
            turned_bhmd = rotate(grids_bhgnd, placed.rotation.angles_nc).flatten(2, 3)
            return torch.cat([turned_bhmd, projected_bhmd[:, :, end:]], dim=2) if placed.unplaced else turned_bhmd
        at_once = max(TURNED_NUMBERS // (cells * layer.out_features), 1)
        parts = []
        for grids_bnc in x_bmc[:, :end].split(at_once * cells, dim=1):
            pair = (self._split(half).unflatten(2, (-1, cells)) for half in layer.twice(grids_bnc))
            parts.append(placed.rotation.turn(*pair).flatten(2, 3))
        if placed.unplaced:
            parts.append(self._split(layer(x_bmc[:, end:])))
        dtype = parts[0].dtype
        return torch.cat([part.to(dtype) for part in parts], dim=2) if len(parts) > 1 else parts[0]
