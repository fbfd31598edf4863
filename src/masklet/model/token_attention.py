"""Attention between a few tokens and a whole image, for which the image need not be projected.

Scores are bilinear and weights sum to one, so both projections can move over to the tokens' side. For every head,

    (q W_q + b_q) (x W_k + b_k)^T = ((q W_q + b_q) W_k^T) x^T + (something that is the same for all of x),
    softmax(s) (x W_v + b_v) = (softmax(s) x) W_v + b_v,

and the same the other way round. Each head's tokens become rows as wide as the image's. As long as they are fewer than
the channels that the image would be projected to, that is less work and far less to write.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from masklet.model.arithmetic import processor_linear
from masklet.model.attention import Attention

LARGE_IMAGE = 1 << 18
"""Numbers of an image. With smaller ones the products of several objects are faster in one call."""


class TokenAttention(Attention):
    """What both directions share."""

    def rounded(self, x: Tensor) -> Tensor:
        """What several of these look at, in the numbers that they compute in."""
        return x if self.is_plain else x.to(self.arithmetic.dtype)

    def _is_spared(self, tokens_btc: Tensor, image_bnc: Tensor) -> bool:
        """Whether the image is not projected for such tokens."""
        is_less_work = self.heads * tokens_btc.shape[1] <= self.query.out_features
        is_worth_it = len(tokens_btc) == 1 or image_bnc[0].numel() >= LARGE_IMAGE
        return self.arithmetic.by_products and is_less_work and is_worth_it

    def _by_head(self, weight: Tensor) -> Tensor:
        """A projection's weight (h d, c) -> (h, d, c)."""
        return weight.unflatten(0, (self.heads, -1))


class TokensToImage(TokenAttention):
    """Few tokens look at a whole image."""

    def forward(self, query_btc: Tensor, key_bnc: Tensor, value_bnc: Tensor) -> Tensor:
        """(b, t, width) and (b or 1, n, width), twice -> (b, t, width)."""
        if not self._is_spared(query_btc, key_bnc):
            return super().forward(query_btc, key_bnc, value_bnc)
        query_bhtd = self._split(self.query(query_btc)).float()
        wide_bhtc = query_bhtd * query_bhtd.shape[-1] ** -0.5 @ self._by_head(self.key.weight)
        key_bnc, value_bnc = self.rounded(key_bnc), self.rounded(value_bnc)
        weights_brn = compared(self.rounded(wide_bhtc.flatten(1, 2)), key_bnc).softmax(-1)
        mixed_bhtc = mixed(weights_brn, value_bnc).unflatten(1, (self.heads, -1)).float()
        values_bhtd = mixed_bhtc @ self._by_head(self.value.weight).mT
        return self._merge(values_bhtd + self._by_head(self.value.bias)[:, None])


class ImageToTokens(TokenAttention):
    """A whole image looks at few tokens."""

    def forward(self, query_bnc: Tensor, key_btc: Tensor, value_btc: Tensor) -> Tensor:
        """(b or 1, n, width) and (b, t, width), twice -> (b, n, width)."""
        if not self._is_spared(key_btc, query_bnc):
            return super().forward(query_bnc, key_btc, value_btc)
        key_bhtd, value_bhtd = (
            self._split(layer(x_btc)).float() for layer, x_btc in ((self.key, key_btc), (self.value, value_btc))
        )
        key_bhtd = key_bhtd * key_bhtd.shape[-1] ** -0.5
        wide_bhtc = key_bhtd @ self._by_head(self.query.weight)
        shift_bht1 = key_bhtd @ self._by_head(self.query.bias)[..., None]
        scores_brn = compared(self.rounded(wide_bhtc.flatten(1, 2)), self.rounded(query_bnc))
        scores_bhtn = scores_brn.unflatten(1, (self.heads, -1)) + self.rounded(shift_bht1)
        weights_brn = scores_bhtn.softmax(2).flatten(1, 2)
        # Each head's weights sum to one, so each may bring its part of the bias.
        out_hdc = rearrange(self.out.weight, "c (h d) -> h d c", h=self.heads)
        values_bhtc = value_bhtd @ out_hdc + self.out.bias / self.heads
        return spread(weights_brn, self.rounded(values_bhtc.flatten(1, 2)))


def compared(rows_brc: Tensor, image_bnc: Tensor) -> Tensor:
    """The product of every row with every place of an image, (b, r, n). One image may stand for all."""
    if len(image_bnc) == 1:
        return processor_linear(rows_brc.flatten(0, 1), image_bnc[0]).unflatten(0, (len(rows_brc), -1))
    return torch.stack([processor_linear(*pair) for pair in zip(rows_brc, image_bnc, strict=True)])


def mixed(weights_brn: Tensor, image_bnc: Tensor) -> Tensor:
    """An image's places by so much each, (b, r, c). One image may stand for all."""
    if len(image_bnc) == 1:
        return processor_linear(weights_brn.flatten(0, 1), image_bnc[0].T).unflatten(0, (len(weights_brn), -1))
    return torch.stack([processor_linear(w, x.T) for w, x in zip(weights_brn, image_bnc, strict=True)])


def spread(weights_brn: Tensor, rows_brc: Tensor) -> Tensor:
    """Rows by so much each at every place of an image, (b, n, c)."""
    found = [processor_linear(w.T, r.T) for w, r in zip(weights_brn, rows_brc, strict=True)]
    return found[0][None] if len(found) == 1 else torch.stack(found)
