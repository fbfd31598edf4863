"""The fine map that masks are painted on, and what they are painted with.

Each doubling turns every cell into 2 x 2 of them, by a transposed convolution whose filters do not overlap: one linear
layer with four outputs a cell. On a processor where nothing learns it is computed so, and what follows strip by strip:
a canvas is larger than the cache, and to write and read it anew for every step takes longer than the steps.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor, nn

from masklet.model.arithmetic import Computes, Kept, processor_linear
from masklet.model.layers import Linear, Mlp
from masklet.model.token_attention import compared

STRIP_NUMBERS = 1 << 20
"""Numbers of all objects' canvases that are made at once on a processor."""


class Doubling(nn.ConvTranspose2d, Computes):
    """A map of twice the height and width, to which a finer one is added."""

    bias: nn.Parameter

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, kernel_size=2, stride=2)
        self.kept = Kept()

    def onto(self, x_ohwc: Tensor, finer_ohwc: Tensor) -> Tensor:
        """(o, h, w, inputs) and (o or 1, 2h, 2w, outputs) -> (o, 2h, 2w, outputs), without gradients."""
        dtype = self.arithmetic.dtype
        weight, bias = self.kept.get(
            dtype, (self.weight, self.bias), lambda: [part.to(dtype) for part in self._as_linear()]
        )
        o, h, w, _ = x_ohwc.shape
        # Of the four cells that become of one, two lie side by side: pairs, of all of which i is the upper one or not.
        pairs_oiyxc = rearrange(processor_linear(x_ohwc.to(dtype), weight, bias), "o y x (i pair) -> o y i x pair", i=2)
        finer_oiyxc = rearrange(finer_ohwc, "o (y i) (x j) c -> o y i x (j c)", i=2, j=2)
        doubled_oiyxc = torch.add(pairs_oiyxc, finer_oiyxc, out=finer_ohwc.new_empty(pairs_oiyxc.shape))
        return doubled_oiyxc.view(o, 2 * h, 2 * w, self.out_channels)

    def _as_linear(self) -> tuple[Tensor, Tensor]:
        return rearrange(self.weight, "c d i j -> (i j d) c").contiguous(), self.bias.repeat(4)


class Brushes(nn.ModuleList):
    """What each mask token paints with. While nothing learns, all of them are made at once."""

    def __init__(self, brushes: Iterable[Mlp]):
        super().__init__(brushes)
        self.kept = Kept()

    def forward(self, tokens_okc: Tensor) -> Tensor:
        """(o, k, width) -> (o, k, channels of the canvas)."""
        if torch.is_grad_enabled():
            pairs = zip(self, tokens_okc.unbind(1), strict=True)
            return torch.stack([brush(token_oc) for brush, token_oc in pairs], dim=1)
        x_koc = tokens_okc.transpose(0, 1)
        layers = self.kept.get(None, self._parts(), self._stacked)
        for index, (weight_kcd, bias_k1d) in enumerate(layers):
            x_koc = torch.baddbmm(bias_k1d, x_koc.relu() if index else x_koc, weight_kcd)
        return x_koc.transpose(0, 1)

    def _parts(self) -> list[Tensor]:
        """``parameters()``, found in a tenth of its time."""
        brushes = (brush for brush in self if isinstance(brush, Mlp))
        layers = (layer for brush in brushes for layer in brush.layers if isinstance(layer, Linear))
        return [part for layer in layers for part in (layer.weight, layer.bias)]

    def _stacked(self) -> list[tuple[Tensor, Tensor]]:
        together = zip(*(brush.layers for brush in self), strict=True)
        return [
            (torch.stack([one.weight.T for one in layer]), torch.stack([one.bias[None] for one in layer]))
            for layer in together
        ]


def painted(brushes_okc: Tensor, stride8_ohwc: Tensor, to_stride4: Doubling, finer_bhwc: Tensor) -> Tensor:
    """``paint`` on a canvas that is made of a map of half its size: (o, k, h, w), without gradients."""
    height = max(STRIP_NUMBERS // (4 * len(stride8_ohwc) * stride8_ohwc.shape[2] * finer_bhwc.shape[3]), 1)
    strips = []
    for above_ohwc, finer_hwc in zip(stride8_ohwc.split(height, 1), finer_bhwc.split(2 * height, 1), strict=True):
        canvas_ohwc = torch.ops.aten.gelu_(to_stride4.onto(above_ohwc, finer_hwc))
        logits_okn = compared(brushes_okc, canvas_ohwc.flatten(1, 2))
        strips.append(logits_okn.unflatten(2, canvas_ohwc.shape[1:3]))
    return torch.cat(strips, dim=2)


def paint(brushes_okc: Tensor, canvas_ochw: Tensor) -> Tensor:
    """Every pixel's channels times every brush: (o, k, h, w).

    The canvas comes with its channels side by side, as the transformer left them; so does its gradient.
    """
    pixels_onc = rearrange(canvas_ochw, "o c h w -> o (h w) c")
    logits_onk = pixels_onc @ brushes_okc.transpose(1, 2)
    return rearrange(logits_onk, "o (h w) k -> o k h w", h=canvas_ochw.shape[2]).contiguous()
