"""Small layers that several boxes of the figure share."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masklet.model.arithmetic import Activation, Computes, Kept

HIDDEN_NUMBERS = 1 << 21
"""Numbers between two layers that are held at once where nothing learns: they shall stay in the processor's cache."""


class Drops:
    """A module that can leave out a share of its numbers while training, and make up for it in the others.

    Source: Srivastava et al., "Dropout", JMLR 15, 2014.
    """

    dropout: float = 0.0
    training: bool

    @property
    def dropped(self) -> float:
        """The share that is left out now."""
        return self.dropout if self.training else 0.0

    def drop(self, x: Tensor) -> Tensor:
        """The same shape."""
        return F.dropout(x, self.dropped) if self.dropped else x


class Linear(nn.Linear, Computes):
    """A linear layer that computes as it is told."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.kept = Kept()

    def forward(self, input: Tensor, then: Activation = "none") -> Tensor:  # noqa: A002 (the name is torch's)
        return self.arithmetic.linear(input, self.weight, self.bias, self.kept, then)


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of (b, c, h, w)."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name is torch's)
        if input.is_cuda or not input.is_contiguous():
            return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self._along_planes(input)

    def _along_planes(self, x_bchw: Tensor) -> Tensor:
        """The same where every channel is a plane of its own: no gathering of far-away numbers, one row per pixel."""
        wide_bchw = x_bchw.float()
        centred_bchw = wide_bchw - wide_bchw.mean(1, keepdim=True)
        scale_b1hw = (centred_bchw.square().mean(1, keepdim=True) + self.eps).rsqrt()
        return centred_bchw * scale_b1hw * self.weight[:, None, None] + self.bias[:, None, None]


class Depthwise(nn.Conv2d):
    """One odd, square filter per channel; keeps the size but for its stride.

    Gradients are computed in float32: torch's bfloat16 ones are some ten times slower on processors.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1):
        super().__init__(channels, channels, kernel, stride, padding=kernel // 2, groups=channels)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name is torch's)
        learning = torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)
        if input.is_cuda or not learning:
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float().contiguous(memory_format=torch.channels_last))


class Mlp(nn.Module, Drops):
    """``layers`` linear layers with an activation between them."""

    def __init__(self, width: int, hidden: int, out: int, layers: int, activation: Activation = "relu"):
        super().__init__()
        widths = [width, *[hidden] * (layers - 1), out]
        self.layers = nn.ModuleList(Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation
        self.rows_at_once = max(HIDDEN_NUMBERS // max(hidden, 1), 1)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or x.is_cuda or x.numel() <= self.rows_at_once * x.shape[-1]:
            return self._think(x)
        parts = x.flatten(0, -2).split(self.rows_at_once)
        return torch.cat([self._think(part) for part in parts]).view(*x.shape[:-1], -1)

    def _think(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.drop(layer(x, self.activation))
        return self.layers[-1](x)


class DropPath(nn.Module):
    """While training, leaves out a ``share`` of the samples and makes up for it in the others (arXiv 1603.09382)."""

    share: float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if not self.share or not self.training:
            return x
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.share
        return x * kept.to(x.dtype) / (1 - self.share)


class AbsentMark(nn.Module):
    """Adds a learned vector to the memories of frames in which the object is absent (SAM 2.1)."""

    def __init__(self, channels: int):
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(channels))

    def forward(self, memory_ochw: Tensor, presence_o: Tensor) -> Tensor:
        absent_o111 = (presence_o <= 0).to(memory_ochw.dtype)[:, None, None, None]
        return memory_ochw + absent_o111 * self.vector[:, None, None]


class NoMark(nn.Module):
    """SAM 2: memories look the same whether the object was there or not."""

    def forward(self, memory_ochw: Tensor, presence_o: Tensor) -> Tensor:
        return memory_ochw
