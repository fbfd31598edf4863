"""Multi-head attention with separate projections, and its rotary form."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from masklet.model.positions import rotate


def attend(query_bhnd: Tensor, key_bhmd: Tensor, value_bhmd: Tensor) -> Tensor:
    """Scaled dot-product attention: (b, h, n, d).

    On a processor gradients come from two plain products: those of torch's fused attention are slower there, several
    times so for the decoder's narrow heads.
    """
    if query_bhnd.is_cuda or not query_bhnd.requires_grad:
        return F.scaled_dot_product_attention(query_bhnd, key_bhmd, value_bhmd)
    scores_bhnm = (query_bhnd * query_bhnd.shape[-1] ** -0.5) @ key_bhmd.transpose(-2, -1)
    return scores_bhnm.softmax(-1) @ value_bhmd


class Attention(nn.Module):
    """Scaled dot-product attention of ``heads`` heads over ``inner`` channels in total."""

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        inner: int | None = None,
        key_width: int | None = None,
        value_width: int | None = None,
    ):
        super().__init__()
        inner = inner or width
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(key_width or width, inner)
        self.value = nn.Linear(value_width or width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, query_bnc: Tensor, key_bmc: Tensor, value_bmc: Tensor) -> Tensor:
        """(b, n, width), (b, m, key_width), (b, m, value_width) -> (b, n, width)."""
        query_bhnd = self._split(self.query(query_bnc))
        key_bhmd = self._split(self.key(key_bmc))
        value_bhmd = self._split(self.value(value_bmc))
        return self._merge(attend(query_bhnd, key_bhmd, value_bhmd))

    def _split(self, x_bnc: Tensor) -> Tensor:
        return rearrange(x_bnc, "b n (h d) -> b h n d", h=self.heads)

    def _merge(self, x_bhnd: Tensor) -> Tensor:
        return self.out(rearrange(x_bhnd, "b h n d -> b n (h d)"))


class RotaryAttention(Attention):
    """Attention on a grid: queries and grid keys are turned by their place, so that scores know the displacement.

    ``angles_nc`` belong to the query grid. Keys are some whole grids of the same size, then ``unplaced`` tokens that
    have no place and are not turned.
    """

    def forward(  # type: ignore[override]
        self, query_bnc: Tensor, key_bmc: Tensor, value_bmc: Tensor, angles_nc: Tensor, unplaced: int = 0
    ) -> Tensor:
        query_bhnd = rotate(self._split(self.query(query_bnc)), angles_nc)
        key_bhmd = self._rotate_keys(self._split(self.key(key_bmc)), angles_nc, unplaced)
        value_bhmd = self._split(self.value(value_bmc))
        return self._merge(attend(query_bhnd, key_bhmd, value_bhmd))

    @staticmethod
    def _rotate_keys(key_bhmd: Tensor, angles_nc: Tensor, unplaced: int) -> Tensor:
        placed = key_bhmd.shape[2] - unplaced
        angles_mc = repeat(angles_nc, "n c -> (grids n) c", grids=placed // angles_nc.shape[0])
        turned = rotate(key_bhmd[:, :, :placed], angles_mc)
        return torch.cat([turned, key_bhmd[:, :, placed:]], dim=2) if unplaced else turned
