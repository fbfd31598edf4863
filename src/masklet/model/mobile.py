"""Convolutional image encoder for machines without a GPU.

EfficientNet-Lite0 with its batch normalisations folded into the convolutions: ImageNet training leaves constants
there, and small batches of clips would only disturb them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from masklet.model.arithmetic import Computes, Kept
from masklet.model.config import MobileConfig, MobileStage
from masklet.model.layers import Depthwise

RELU6 = 6.0


class Convolution(nn.Module, Computes):
    """Convolution, then perhaps ReLU6."""

    def __init__(self, conv: nn.Conv2d, relu: bool = True):
        super().__init__()
        self.conv = conv
        self.limit = RELU6 if relu else None
        self._kept = Kept()

    def forward(self, x_bchw: Tensor) -> Tensor:
        return self.arithmetic.convolve(x_bchw, self.conv, self._kept, self.limit)


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow (arXiv 1801.04381)."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int):
        super().__init__()
        hidden = inputs * expansion
        self.expand = Convolution(nn.Conv2d(inputs, hidden, 1)) if expansion > 1 else nn.Identity()
        self.filter = Convolution(Depthwise(hidden, kernel, stride))
        self.project = Convolution(nn.Conv2d(hidden, outputs, 1), relu=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x_bchw: Tensor) -> Tensor:
        y_bchw = self.project(self.filter(self.expand(x_bchw)))
        return x_bchw + y_bchw if self.residual else y_bchw


def mobile_stage(inputs: int, stage: MobileStage) -> nn.Sequential:
    """The blocks of one stage."""
    first = InvertedResidual(inputs, stage.channels, stage.expansion, stage.kernel, stage.stride)
    rest = (
        InvertedResidual(stage.channels, stage.channels, stage.expansion, stage.kernel, 1)
        for _ in range(stage.blocks - 1)
    )
    return nn.Sequential(first, *rest)


class Mobile(nn.Module):
    """Pictures (b, 3, h, w) with h and w multiples of 32 -> maps at strides 4, 8, 16, 32."""

    def __init__(self, config: MobileConfig):
        super().__init__()
        self.outputs = set(config.outputs)
        self.stem = Convolution(nn.Conv2d(3, config.stem, 3, stride=2, padding=1))
        widths = [config.stem, *(stage.channels for stage in config.stages)]
        self.stages = nn.ModuleList(mobile_stage(c, stage) for c, stage in zip(widths, config.stages, strict=False))

    def forward(self, images_bchw: Tensor) -> list[Tensor]:
        x_bchw = self.stem(images_bchw.contiguous(memory_format=torch.channels_last))  # much faster on processors
        maps = []
        for index, stage in enumerate(self.stages):
            x_bchw = stage(x_bchw)
            if index in self.outputs:
                maps.append(x_bchw.float())
        return maps
