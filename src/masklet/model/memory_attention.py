"""A frame's features look at the memories of other frames."""

from __future__ import annotations

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn

from masklet.model.attention import RotaryAttention
from masklet.model.config import NetworkConfig
from masklet.model.layers import Mlp
from masklet.model.positions import rotary_angles, sine_grid


@dataclass(frozen=True)
class MemoryTokens:
    """All that a frame attends to: whole grids first, then ``unplaced`` tokens without a place in the picture."""

    keys_omc: Tensor
    values_omc: Tensor
    unplaced: int


class MemoryAttentionLayer(nn.Module):
    """Look around, look back, think; each pre-norm and residual."""

    def __init__(self, width: int, heads: int, feedforward: int, key_width: int, value_width: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.self_attention = RotaryAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.cross_attention = RotaryAttention(width, heads, key_width=key_width, value_width=value_width)
        self.norm3 = nn.LayerNorm(width)
        self.mlp = Mlp(width, feedforward, width, layers=2)

    def forward(self, frame_onc: Tensor, memory: MemoryTokens, angles_nc: Tensor) -> Tensor:
        x = self.norm1(frame_onc)
        frame_onc = frame_onc + self.self_attention(x, x, x, angles_nc)
        x = self.norm2(frame_onc)
        frame_onc = frame_onc + self.cross_attention(x, memory.keys_omc, memory.values_omc, angles_nc, memory.unplaced)
        return frame_onc + self.mlp(self.norm3(frame_onc))


class MemoryAttention(nn.Module):
    """(o, width, h, w) and memory tokens -> (o, width, h, w)."""

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
        angles_nc = rotary_angles(self.head_width, h, w, stride16_ochw.device)
        placed_ochw = stride16_ochw + self.position_weight * sine_grid(c, h, w, stride16_ochw.device)
        frame_onc = rearrange(placed_ochw, "o c h w -> o (h w) c")
        for layer in self.layers:
            frame_onc = layer(frame_onc, memory, angles_nc)
        return rearrange(self.norm(frame_onc), "o (h w) c -> o c h w", h=h, w=w)


def grid_tokens(x_ochw: Tensor) -> Tensor:
    """(o, c, h, w) -> (o, h * w, c)."""
    return rearrange(x_ochw, "o c h w -> o (h w) c")
