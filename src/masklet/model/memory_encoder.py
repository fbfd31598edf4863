"""A frame and its mask -> a small map that later frames attend to."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from masklet.model.layers import Depthwise, LayerNorm2d, Linear


class ConvNeXtBlock(nn.Module):
    """Depthwise 7 x 7, then a feed-forward per pixel, scaled and residual (arXiv 2201.03545)."""

    def __init__(self, width: int):
        super().__init__()
        self.filter = Depthwise(width, 7)
        self.norm = LayerNorm2d(width)
        self.widen = Linear(width, 4 * width)
        self.narrow = Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 1e-6))

    def forward(self, x_bchw: Tensor) -> Tensor:
        y_bhwc = self.norm(self.filter(x_bchw)).permute(0, 2, 3, 1)
        y_bhwc = self.scale * self.narrow(self.widen(y_bhwc, "gelu"))
        return x_bchw + y_bhwc.permute(0, 3, 1, 2)


class MaskPyramid(nn.Sequential):
    """Mask at the picture's size -> (width) channels at stride 16, in four halvings."""

    def __init__(self, width: int):
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([1, 4, 16, 64, width]):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), LayerNorm2d(outputs), nn.GELU()]
        super().__init__(*layers, nn.Conv2d(width, width, 1))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name is torch's)
        first, few, *rest = self
        x_bchw = few(first(input))
        if not torch.is_grad_enabled():  # many channels of a pixel side by side are normalised in one pass
            x_bchw = x_bchw.contiguous(memory_format=torch.channels_last)
        for layer in rest:
            x_bchw = layer(x_bchw)
        return x_bchw


class MemoryEncoder(nn.Module):
    """Image features before memory conditioning, plus the mask, fused and narrowed."""

    def __init__(self, width: int, out: int):
        super().__init__()
        self.mask = MaskPyramid(width)
        self.image = nn.Conv2d(width, width, 1)
        self.fuse = nn.Sequential(ConvNeXtBlock(width), ConvNeXtBlock(width))
        self.out = nn.Conv2d(width, out, 1)

    def forward(self, stride16_ochw: Tensor, mask_o1hw: Tensor) -> Tensor:
        """(o, width, h, w), (o, 1, 16 h, 16 w) -> (o, out, h, w)."""
        return self.out(self.fuse(self.image(stride16_ochw) + self.mask(mask_o1hw)))
