"""A frame's features look at the memories of other frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import repeat

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from masklet.model.attention import Placed, RotaryAttention
from masklet.model.config import NetworkConfig
from masklet.model.layers import Mlp
from masklet.model.positions import Rotation, rotary_angles, sine_grid

KEY_NUMBERS = 1 << 23
"""On a processor, so many numbers of keys are projected at once; more objects follow one after the other."""


@dataclass(frozen=True)
class MemoryTokens:
    """All that a frame attends to: whole grids first, then ``unplaced`` tokens without a place in the picture."""

    keys_omc: Tensor
    values_omc: Tensor
    unplaced: int
    pooled: int = 1
    """So many cells of the frame's grid, along each side, lie under one of the memory's."""

    def placed(self, rotation: Rotation, h: int, w: int) -> Placed:
        """Where the keys lie on a frame of h x w cells that are turned so.

        A pooled key stands for several cells, so it counts as much as all of them (arXiv 2411.18933).
        """
        if self.pooled == 1:
            return Placed(rotation, self.unplaced)
        angles_1chw = rearrange(rotation.angles_nc, "(h w) c -> 1 c h w", h=h, w=w)
        middles_nc = rearrange(F.avg_pool2d(angles_1chw, self.pooled), "1 c h w -> (h w) c")
        bias_m = torch.zeros(self.keys_omc.shape[1], device=middles_nc.device)
        bias_m[: len(bias_m) - self.unplaced] = 2 * math.log(self.pooled)
        return Placed(Rotation(middles_nc), self.unplaced, bias_m)


class MemoryAttentionLayer(nn.Module):
    """Look around, look back, think; each pre-norm and residual. One frame may stand for the memories of o objects."""

    def __init__(self, width: int, heads: int, feedforward: int, key_width: int, value_width: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = RotaryAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = RotaryAttention(width, heads, key_width=key_width, value_width=value_width)
        self.norm3 = nn.LayerNorm(width)
        self.mlp = Mlp(width, feedforward, width, layers=2)

    def forward(self, frame_onc: Tensor, memory: MemoryTokens, rotation: Rotation, placed: Placed) -> Tensor:
        return self.look_back(self.look_around(frame_onc, rotation), memory, rotation, placed)

    def look_around(self, frame_onc: Tensor, rotation: Rotation) -> Tensor:
        """The part that memories have no say in."""
        x = self.norm1(frame_onc)
        return frame_onc + self.self_attention(x, x, x, rotation)

    def look_back(self, frame_onc: Tensor, memory: MemoryTokens, rotation: Rotation, placed: Placed) -> Tensor:
        """The part that needs memories, and what follows from it."""
        x = self.norm2(frame_onc)
        frame_onc = frame_onc + self.cross_attention(x, memory.keys_omc, memory.values_omc, rotation, placed)
        return frame_onc + self.mlp(self.norm3(frame_onc))


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

    def forward(self, stride16_ochw: Tensor, memory: MemoryTokens) -> Tensor:
        _, c, h, w = stride16_ochw.shape
        rotation = Rotation(rotary_angles(self.head_width, h, w, stride16_ochw.device))
        placed_ochw = stride16_ochw + self.position_weight * sine_grid(c, h, w, stride16_ochw.device)
        frame_onc = rearrange(placed_ochw, "o c h w -> o (h w) c").contiguous()
        first, others = self.layers[0], self.layers[1:]
        assert isinstance(first, MemoryAttentionLayer)
        around_onc = first.look_around(frame_onc, rotation)
        placed, found = memory.placed(rotation, h, w), []
        for some_onc, remembered in _groups(around_onc, memory):
            seen_onc = first.look_back(some_onc, remembered, rotation, placed)
            for layer in others:
                seen_onc = layer(seen_onc, remembered, rotation, placed)
            found.append(self.norm(seen_onc))
        return rearrange(torch.cat(found), "o (h w) c -> o c h w", h=h, w=w)


def _groups(frame_onc: Tensor, memory: MemoryTokens) -> Iterator[tuple[Tensor, MemoryTokens]]:
    """Frames and memories of as many objects as go together: all where something learns and on a GPU."""
    objects, tokens, _ = memory.keys_omc.shape
    is_whole = torch.is_grad_enabled() or frame_onc.is_cuda
    size = objects if is_whole else max(KEY_NUMBERS // (tokens * frame_onc.shape[-1]), 1)
    frames = frame_onc.split(size) if len(frame_onc) > 1 else repeat(frame_onc)
    parts = zip(memory.keys_omc.split(size), memory.values_omc.split(size), strict=True)
    for frame, (keys_omc, values_omc) in zip(frames, parts, strict=False):
        yield frame, replace(memory, keys_omc=keys_omc, values_omc=values_omc)


def grid_tokens(x_ochw: Tensor, pooled: int = 1) -> Tensor:
    """(o, c, h, w) -> (o, h * w, c), averaged over ``pooled`` cells along each side."""
    return rearrange(F.avg_pool2d(x_ochw, pooled) if pooled > 1 else x_ochw, "o c h w -> o (h w) c")
