"""A frame's features look at the memories of other frames."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from masklet.model.arithmetic import Kept
from masklet.model.attention import Placed, RotaryAttention, Shifts
from masklet.model.config import NetworkConfig
from masklet.model.detail import Places
from masklet.model.layers import Drops, Mlp
from masklet.model.positions import Rotation, rotary_angles, sine_grid


@dataclass(frozen=True)
class KnownKeys:
    """Keys that were projected and turned when their frames were seen; only how old they are by now is to be added."""

    keys_olhmd: Tensor
    """Of all remembered frames, by layer and head. One row stands for all objects."""
    shifts: Shifts
    """What age adds to the tokens of each frame."""

    def turned(self, attention: RotaryAttention, layer: int, placed: Placed, places: Places | None) -> Tensor:
        """(o or 1, h, m, d) for one layer."""
        shifts_ohmd = attention.turned_shifts(self.shifts, placed)
        return self.keys_olhmd[:, layer] + (shifts_ohmd if places is None else places.of_all(shifts_ohmd))


@dataclass(frozen=True)
class MemoryTokens:
    """All that a frame attends to: whole grids first, then ``unplaced`` tokens without a place in the picture."""

    keys: Tensor | KnownKeys
    """(o, m, c), or those that need not be projected any more."""
    values_omc: Tensor
    unplaced: int
    pooled: int = 1
    """So many cells of the frame's grid, along each side, lie under one of the memory's."""
    places: Places | None = None
    """Where values, and keys that are known, were taken from; keys to be projected are of whole grids still."""

    def turned_keys(self, attention: RotaryAttention, layer: int, placed: Placed) -> Tensor:
        """(o or 1, h, m, d) as one layer compares them."""
        if isinstance(self.keys, KnownKeys):
            return self.keys.turned(attention, layer, placed, self.places)
        keys_ohmd = attention.turned_keys(self.keys, placed)
        if self.places is None:
            return keys_ohmd
        end = keys_ohmd.shape[2] - self.unplaced
        return torch.cat([self.places.of_cells(keys_ohmd[:, :, :end]), keys_ohmd[:, :, end:]], dim=2)

    def placed(self, rotation: Rotation, h: int, w: int) -> Placed:
        """Where the keys lie on a frame of h x w cells that are turned so.

        A pooled key stands for several cells, so it counts as much as all of them (arXiv 2411.18933).
        """
        if self.pooled == 1:
            counts_m = None if self.places is None else F.pad(self.places.counts(), (0, self.unplaced))
            return Placed(rotation, self.unplaced, counts_m)
        bias_m = torch.zeros(self.values_omc.shape[1], device=rotation.angles_nc.device)
        bias_m[: len(bias_m) - self.unplaced] = 2 * math.log(self.pooled)
        return Placed(pooled_rotation(rotation, h, w, self.pooled), self.unplaced, bias_m)


class MemoryAttentionLayer(nn.Module, Drops):
    """Look around, look back, think; each pre-norm and residual. One frame may stand for the memories of o objects."""

    def __init__(self, width: int, heads: int, feedforward: int, key_width: int, value_width: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = RotaryAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = RotaryAttention(width, heads, key_width=key_width, value_width=value_width)
        self.norm3 = nn.LayerNorm(width)
        self.mlp = Mlp(width, feedforward, width, layers=2)

    def look_around(self, frame_onc: Tensor, rotation: Rotation) -> Tensor:
        """The part that memories have no say in."""
        x = self.norm1(frame_onc)
        return frame_onc + self.drop(self.self_attention(x, x, x, rotation))

    def look_back(
        self, frame_onc: Tensor, key_ohmd: Tensor, value_omc: Tensor, rotation: Rotation, placed: Placed
    ) -> Tensor:
        """The part that needs memories, and what follows from it."""
        x = self.norm2(frame_onc)
        seen_onc = self.cross_attention.look(x, key_ohmd, value_omc, rotation, placed.bias_m)
        frame_onc = frame_onc + self.drop(seen_onc)
        return frame_onc + self.drop(self.mlp(self.norm3(frame_onc)))


class MemoryAttention(nn.Module):
    """(o or 1, width, h, w) and memory tokens of o objects -> (o, width, h, w).

    Of one frame for all objects, the first look around is taken once: only what memory says tells objects apart.
    """

    def __init__(self, config: NetworkConfig):
        super().__init__()
        memory = config.memory
        key_width = config.width if memory.keys_from_image else memory.channels
        self.position_weight = memory.position_weight
        self.head_width = config.width // memory.heads
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(config.width, memory.heads, memory.feedforward, key_width, memory.channels)
            for _ in range(memory.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.kept_rotation = Kept()

    def forward(self, stride16_ochw: Tensor, memory: MemoryTokens) -> Tensor:
        return self.in_parts(stride16_ochw, [memory])

    def look_around(self, stride16_ochw: Tensor) -> Tensor:
        """The first step, in which memories have no say: (o, n, width)."""
        _, c, h, w = stride16_ochw.shape
        placed_ochw = stride16_ochw + self.position_weight * sine_grid(c, h, w, stride16_ochw.device)
        frame_onc = rearrange(placed_ochw, "o c h w -> o (h w) c").contiguous()
        return self._layers()[0].look_around(frame_onc, self._rotation(h, w, stride16_ochw.device))

    def in_parts(
        self, stride16_ochw: Tensor, memories: Iterable[MemoryTokens], around_onc: Tensor | None = None
    ) -> Tensor:
        """As ``forward``, from the memories of some objects after those of others, which are asked for one by one.

        ``around_onc`` is what ``look_around`` gave.
        """
        h, w = stride16_ochw.shape[-2:]
        rotation = self._rotation(h, w, stride16_ochw.device)
        around_onc = self.look_around(stride16_ochw) if around_onc is None else around_onc
        found: list[Tensor] = []
        for memory in memories:
            start = sum(map(len, found))
            some_onc = around_onc if len(around_onc) == 1 else around_onc[start : start + len(memory.values_omc)]
            found.append(self._look(some_onc, memory, rotation, memory.placed(rotation, h, w)))
        return rearrange(torch.cat(found), "o (h w) c -> o c h w", h=h, w=w)

    def project_keys(self, tokens_bnc: Tensor, h: int, w: int, pooled: int = 1) -> Tensor:
        """What all layers will compare a frame of h x w cells with: (b, layers, heads, n, d)."""
        rotation = self._rotation(h, w, tokens_bnc.device)
        placed = Placed(rotation if pooled == 1 else pooled_rotation(rotation, h, w, pooled))
        return torch.stack([layer.cross_attention.turned_keys(tokens_bnc, placed) for layer in self._layers()], dim=1)

    def _look(self, frame_onc: Tensor, memory: MemoryTokens, rotation: Rotation, placed: Placed) -> Tensor:
        """All layers, but that the first one has looked around already."""
        for index, layer in enumerate(self._layers()):
            if index:
                frame_onc = layer.look_around(frame_onc, rotation)
            key_ohmd = memory.turned_keys(layer.cross_attention, index, placed)
            frame_onc = layer.look_back(frame_onc, key_ohmd, memory.values_omc, rotation, placed)
        return self.norm(frame_onc)

    def _rotation(self, h: int, w: int, device: torch.device) -> Rotation:
        return self.kept_rotation.get(
            (h, w, device), [], lambda: Rotation(rotary_angles(self.head_width, h, w, device))
        )

    def _layers(self) -> list[MemoryAttentionLayer]:
        return [layer for layer in self.layers if isinstance(layer, MemoryAttentionLayer)]


def pooled_rotation(rotation: Rotation, h: int, w: int, pooled: int) -> Rotation:
    """How the middles of so many of h x w cells along each side are turned."""
    angles_1chw = rearrange(rotation.angles_nc, "(h w) c -> 1 c h w", h=h, w=w)
    return Rotation(rearrange(F.avg_pool2d(angles_1chw, pooled), "1 c h w -> (h w) c"))


def grid_tokens(x_ochw: Tensor, pooled: int = 1) -> Tensor:
    """(o, c, h, w) -> (o, h * w, c), averaged over ``pooled`` cells along each side."""
    return rearrange(F.avg_pool2d(x_ochw, pooled) if pooled > 1 else x_ochw, "o c h w -> o (h w) c")
