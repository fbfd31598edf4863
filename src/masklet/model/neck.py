"""Feature pyramid: the trunk's maps at one width, coarse context added to stride 16."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Neck(nn.Module):
    """Maps at strides 4, 8, 16, 32 -> maps of ``width`` channels at strides 4, 8, 16."""

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        self.lateral4, self.lateral8, self.lateral16, self.lateral32 = (nn.Conv2d(c, width, 1) for c in channels)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        stride4, stride8, stride16, stride32 = maps
        context_bchw = F.interpolate(self.lateral32(stride32), scale_factor=2.0, mode="nearest")
        return self.lateral4(stride4), self.lateral8(stride8), self.lateral16(stride16) + context_bchw
