"""Feature pyramid: the trunk's maps at one width, coarse context added to stride 16."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Neck(nn.Module):
    """The trunk's maps at strides 4, 8, 16, 32, all brought to ``width`` channels.

    Strides 4 and 8 are only used through a further 1 x 1 convolution; two of them in a row are one matrix product.
    """

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        self.lateral4, self.lateral8, self.lateral16, self.lateral32 = (nn.Conv2d(c, width, 1) for c in channels)

    def forward(self, maps: Sequence[Tensor], project8: nn.Conv2d, project4: nn.Conv2d) -> tuple[Tensor, ...]:
        """Stride 16 with coarse context added, and strides 8 and 4 as the given convolutions project them."""
        stride4, stride8, stride16, stride32 = maps
        context_bchw = F.interpolate(self.lateral32(stride32), scale_factor=2.0, mode="nearest")
        stride16_bchw = self.lateral16(stride16) + context_bchw
        return stride16_bchw, chain(stride8, self.lateral8, project8), chain(stride4, self.lateral4, project4)


def chain(x_bchw: Tensor, first: nn.Conv2d, then: nn.Conv2d) -> Tensor:
    """``then(first(x))`` of two 1 x 1 convolutions, without the wide map between them."""
    assert first.bias is not None
    assert then.bias is not None
    outer, inner = then.weight.flatten(1), first.weight.flatten(1)
    bias = outer @ first.bias + then.bias
    return F.conv2d(x_bchw, (outer @ inner)[:, :, None, None], bias)
