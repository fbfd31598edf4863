"""Hiera image encoder: windows, three poolings of the queries, a few global blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from masklet.model.arithmetic import Computes, Kept, mark_delicate
from masklet.model.config import HieraConfig
from masklet.model.layers import DropPath, Linear, Mlp

WINDOW_POSITION = 8
HIDDEN_RATIO = 4
"""The feed-forward's hidden width, in those of its block."""
DELICATE_SHARE = 5 / 12
"""Of the blocks, the first ones. Roundings there are felt most, as all that follows takes them up: four fifths of what
the roundings of a tiny trunk do to masks would come from there, for a third of the time that they spare."""
STRIP_NUMBERS = 1 << 22
"""Hidden numbers of a block that are held at once where nothing learns: they shall stay in the processor's cache."""


def pool_2x2(x_bhwc: Tensor) -> Tensor:
    """Largest value of every 2 x 2 cell. Where nothing learns, torch's pooling would be the slower way."""
    if not torch.is_grad_enabled():
        rows = torch.maximum(x_bhwc[:, 0::2], x_bhwc[:, 1::2])
        return torch.maximum(rows[:, :, 0::2], rows[:, :, 1::2])
    return F.max_pool2d(x_bhwc.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def to_windows(x_bhwc: Tensor, side: int, fill_c: Tensor | None = None) -> Tensor:
    """Cut into side x side windows, filled up at the right and bottom: (b * windows, side, side, c)."""
    _, h, w, _ = x_bhwc.shape
    if h % side or w % side:
        filled = F.pad(x_bhwc, (0, 0, 0, -w % side, 0, -h % side))
        if fill_c is not None:
            filled[:, h:] = fill_c
            filled[:, :, w:] = fill_c
        x_bhwc = filled
    return rearrange(x_bhwc, "b (i y) (j x) c -> (b i j) y x c", y=side, x=side)


def from_windows(windows_nyxc: Tensor, h: int, w: int) -> Tensor:
    """Undo ``to_windows`` for a picture of h x w."""
    side = windows_nyxc.shape[1]
    rows, columns = -(-h // side), -(-w // side)
    padded = rearrange(windows_nyxc, "(b i j) y x c -> b (i y) (j x) c", i=rows, j=columns)
    return padded[:, :h, :w]


@dataclass(frozen=True)
class BlockShape:
    """What distinguishes one block from the next."""

    width: int
    out_width: int
    heads: int
    window: int
    """Side of the attention window; 0: the whole picture."""
    pools: bool


def block_shapes(config: HieraConfig) -> Iterator[BlockShape]:
    """Shapes of all blocks in order. At a change of stage the window size lags one block."""
    stage_starts = list(accumulate(config.blocks))[:-1]
    width, heads, stage = config.embed_dim, config.heads, 0
    for index in range(sum(config.blocks)):
        window = 0 if index in config.global_blocks else config.windows[stage]
        pools = index in stage_starts
        if pools:
            stage, heads = stage + 1, heads * 2
        out_width = config.embed_dim * 2**stage
        yield BlockShape(width, out_width, heads, window, pools)
        width = out_width


class WindowAttention(nn.Module, Computes):
    """Self-attention inside windows; where the stage changes the queries are pooled.

    Windows are filled up with zeros, whose query, key and value are the bias alone: no product is made for them.
    """

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.heads = shape.heads
        self.pools = shape.pools
        self.window = shape.window
        self.qkv = Linear(shape.width, 3 * shape.out_width)
        self.out = Linear(shape.out_width, shape.out_width)

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """(b, h, w, c) -> (b, h, w, d), or half as high and wide with pooling."""
        _, h, w, _ = x_bhwc.shape
        if not self.window:
            return self.out(self._mix(self.qkv(x_bhwc)))
        if h % self.window or w % self.window:
            windows_nyxc = to_windows(self.qkv(x_bhwc), self.window, self.qkv.bias)
        else:
            windows_nyxc = self.qkv(to_windows(x_bhwc, self.window))
        return self.out(from_windows(self._mix(windows_nyxc), *((h // 2, w // 2) if self.pools else (h, w))))

    def _mix(self, qkv_bhwc: Tensor) -> Tensor:
        query_bhwc, key_bhwc, value_bhwc = qkv_bhwc.chunk(3, dim=-1)
        if self.pools:
            query_bhwc = pool_2x2(query_bhwc)
        _, h, w, _ = query_bhwc.shape
        heads = (self._split(query_bhwc), self._split(key_bhwc), self._split(value_bhwc))
        mixed_bhnd = (F.scaled_dot_product_attention if self.is_plain else self.arithmetic.attend)(*heads)
        return rearrange(mixed_bhnd, "b heads (h w) d -> b h w (heads d)", h=h, w=w)

    def _split(self, x_bhwc: Tensor) -> Tensor:
        return rearrange(x_bhwc, "b h w (heads d) -> b heads (h w) d", heads=self.heads)


class HieraBlock(nn.Module):
    """Pre-norm attention and feed-forward, both residual."""

    def __init__(self, shape: BlockShape):
        super().__init__()
        self.shape = shape
        self.norm1 = nn.LayerNorm(shape.width, eps=1e-6)
        self.attention = WindowAttention(shape)
        self.norm2 = nn.LayerNorm(shape.out_width, eps=1e-6)
        self.mlp = Mlp(shape.out_width, HIDDEN_RATIO * shape.out_width, shape.out_width, layers=2, activation="gelu")
        self.drop = DropPath()
        self.shortcut = Linear(shape.width, shape.out_width) if shape.width != shape.out_width else nn.Identity()

    def forward(self, x_bhwc: Tensor) -> Tensor:
        """What happens within windows happens in strips of whole windows, one after the other."""
        side = self.shape.window
        if torch.is_grad_enabled() or x_bhwc.is_cuda or not side:
            return self._seen(x_bhwc)
        row_of_windows = x_bhwc[:, :side].numel() * HIDDEN_RATIO
        strips = x_bhwc.split(side * max(STRIP_NUMBERS // row_of_windows, 1), dim=1)
        return torch.cat([self._seen(strip) for strip in strips], dim=1)

    def _seen(self, x_bhwc: Tensor) -> Tensor:
        normed = self.norm1(x_bhwc)
        residual = pool_2x2(self.shortcut(normed)).to(x_bhwc.dtype) if self.shape.pools else x_bhwc
        x = residual + self.drop(self.attention(normed))
        return x + self.drop(self.mlp(self.norm2(x)))


class Hiera(nn.Module):
    """Pictures (b, 3, h, w) -> maps at strides 4, 8, 16, 32."""

    def __init__(self, config: HieraConfig):
        super().__init__()
        c = config.embed_dim
        self.patches = nn.Conv2d(3, c, kernel_size=7, stride=4, padding=3)
        self.background_position = nn.Parameter(torch.zeros(1, c, *config.background_grid))
        self.window_position = nn.Parameter(torch.zeros(1, c, WINDOW_POSITION, WINDOW_POSITION))
        self.blocks = nn.ModuleList(HieraBlock(shape) for shape in block_shapes(config))
        self.stage_ends = {end - 1 for end in accumulate(config.blocks)}
        for block in self.blocks[: math.ceil(DELICATE_SHARE * len(self.blocks))]:
            mark_delicate(block)
        self._kept_position = Kept()

    def forward(self, images_bchw: Tensor) -> list[Tensor]:
        x_bchw = self.patches(images_bchw.contiguous(memory_format=torch.channels_last))
        x_bhwc = x_bchw.permute(0, 2, 3, 1).contiguous()
        x_bhwc = x_bhwc + self._position(*x_bhwc.shape[1:3])
        maps = []
        for index, block in enumerate(self.blocks):
            x_bhwc = block(x_bhwc)
            if index in self.stage_ends:
                maps.append(x_bhwc.permute(0, 3, 1, 2))
        return maps

    def _position(self, h: int, w: int) -> Tensor:
        """Where the cells of an h x w grid are: (1, h, w, c). Kept while nothing learns and no weight changes."""
        if torch.is_grad_enabled():
            return self._made_position(h, w)
        parts = (self.background_position, self.window_position)
        return self._kept_position.get((h, w), parts, lambda: self._made_position(h, w).contiguous())

    def _made_position(self, h: int, w: int) -> Tensor:
        background = F.interpolate(self.background_position, size=(h, w), mode="bicubic")
        tiles = self.window_position.tile(1, 1, -(-h // WINDOW_POSITION), -(-w // WINDOW_POSITION))
        return (background + tiles[:, :, :h, :w]).permute(0, 2, 3, 1)
