"""Prompt tokens and image attend to each other; then every mask token paints one mask."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from masklet.model.arithmetic import mark_delicate
from masklet.model.attention import Attention
from masklet.model.canvas import Brushes, Doubling, paint, painted
from masklet.model.config import NetworkConfig
from masklet.model.layers import LayerNorm2d, Mlp
from masklet.model.outputs import ImageFeatures, MaskPrediction
from masklet.model.token_attention import ImageToTokens, TokensToImage

MASK_TOKENS = 4
DEPTH = 2


class TwoWayLayer(nn.Module):
    """Tokens attend to themselves, to the image, think; then the image attends to the tokens.

    Where all objects see the same image, it comes as one row and leaves as one for each object.
    """

    def __init__(self, width: int, heads: int, feedforward: int):
        super().__init__()
        self.self_attention = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.token_to_image = TokensToImage(width, heads, inner=width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, feedforward, width, layers=2)
        mark_delicate(self.mlp)
        self.norm3 = nn.LayerNorm(width)
        self.image_to_token = ImageToTokens(width, heads, inner=width // 2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, tokens_otc: Tensor, image_onc: Tensor, token_position_otc: Tensor, image_position_1nc: Tensor
    ) -> tuple[Tensor, Tensor]:
        tokens_otc = self.norm1(self._mix_tokens(tokens_otc, token_position_otc))
        seen_onc = self.token_to_image.rounded(image_onc)
        query, key = tokens_otc + token_position_otc, seen_onc + image_position_1nc
        tokens_otc = self.norm2(tokens_otc + self.token_to_image(query, key, seen_onc))
        tokens_otc = self.norm3(tokens_otc + self.mlp(tokens_otc))
        query = tokens_otc + token_position_otc
        image_onc = self.norm4(image_onc + self.image_to_token(key, query, tokens_otc))
        return tokens_otc, image_onc

    def _mix_tokens(self, tokens_otc: Tensor, position_otc: Tensor) -> Tensor:
        query = tokens_otc + position_otc
        return tokens_otc + self.self_attention(query, query, tokens_otc)


class FirstTwoWayLayer(TwoWayLayer):
    """The tokens are their own position here: no position is added and nothing is kept of the input."""

    def _mix_tokens(self, tokens_otc: Tensor, position_otc: Tensor) -> Tensor:
        return self.self_attention(tokens_otc, tokens_otc, tokens_otc).to(tokens_otc.dtype)


class TwoWayTransformer(nn.Module):
    """Two layers and a last look at the image, of the first ``lookers`` tokens: of those that answer."""

    def __init__(self, width: int, heads: int, feedforward: int):
        super().__init__()
        kinds = [FirstTwoWayLayer, *[TwoWayLayer] * (DEPTH - 1)]
        self.layers = nn.ModuleList(kind(width, heads, feedforward) for kind in kinds)
        self.last_look = TokensToImage(width, heads, inner=width // 2)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens_otc: Tensor, image_onc: Tensor, image_position_1nc: Tensor, lookers: int
    ) -> tuple[Tensor, Tensor]:
        position_otc, image_position_1nc = tokens_otc, self.last_look.rounded(image_position_1nc)
        for layer in self.layers:
            tokens_otc, image_onc = layer(tokens_otc, image_onc, position_otc, image_position_1nc)
        seen_onc, tokens_otc = self.last_look.rounded(image_onc), tokens_otc[:, :lookers]
        query_otc = tokens_otc + position_otc[:, :lookers]
        looked_otc = self.last_look(query_otc, seen_onc + image_position_1nc, seen_onc)
        return self.norm(tokens_otc + looked_otc), image_onc


class MaskDecoder(nn.Module):
    """All four masks of every object, with their predicted IoU, and whether the object is there."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        c, (c8, c4) = config.width, config.mask_channels
        self.presence_token = nn.Embedding(1, c)
        self.iou_token = nn.Embedding(1, c)
        self.mask_tokens = nn.Embedding(MASK_TOKENS, c)
        self.transformer = TwoWayTransformer(c, config.decoder_heads, config.decoder_feedforward)
        self.to_stride8 = Doubling(c, c8)
        self.norm8 = LayerNorm2d(c8)
        self.to_stride4 = Doubling(c8, c4)
        mark_delicate(self.to_stride4)
        self.project8 = nn.Conv2d(c, c8, 1)
        self.project4 = nn.Conv2d(c, c4, 1)
        self.brushes = Brushes(Mlp(c, c, c4, layers=3) for _ in range(MASK_TOKENS))
        self.iou_head = Mlp(c, c, MASK_TOKENS, layers=3)
        self.presence_head = Mlp(c, c, 1, layers=3)

    def forward(
        self,
        features: ImageFeatures,
        conditioned_ochw: Tensor,
        dense_ochw: Tensor,
        prompt_tokens_opc: Tensor,
        position_1chw: Tensor,
    ) -> MaskPrediction:
        h, w = conditioned_ochw.shape[-2:]
        image_onc = rearrange(once(conditioned_ochw) + once(dense_ochw), "o c h w -> o (h w) c").contiguous()
        position_1nc = rearrange(position_1chw, "o c h w -> o (h w) c").contiguous()
        own_otc = self._own_tokens(len(prompt_tokens_opc))
        tokens_otc = torch.cat([own_otc, prompt_tokens_opc], dim=1)
        tokens_otc, image_onc = self.transformer(tokens_otc, image_onc, position_1nc, lookers=own_otc.shape[1])
        presence_oc, iou_oc, mask_tokens_okc = tokens_otc[:, 0], tokens_otc[:, 1], tokens_otc[:, 2:]
        return MaskPrediction(
            logits_okhw=self._paint(self.brushes(mask_tokens_okc), image_onc.unflatten(1, (h, w)), features),
            iou_ok=self.iou_head(iou_oc).sigmoid(),
            tokens_okc=mask_tokens_okc,
            presence_o=self.presence_head(presence_oc)[:, 0],
        )

    def _own_tokens(self, objects: int) -> Tensor:
        own = torch.cat([self.presence_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        return own.expand(objects, -1, -1)

    def _paint(self, brushes_okc: Tensor, image_ohwc: Tensor, features: ImageFeatures) -> Tensor:
        finer8, finer4 = features.stride8_bchw, features.stride4_bchw
        if not self.to_stride8.arithmetic.by_products or torch.compiler.is_compiling():
            stride8_ochw = F.gelu(self.norm8(self.to_stride8(image_ohwc.permute(0, 3, 1, 2)) + finer8))
            return paint(brushes_okc, F.gelu(self.to_stride4(stride8_ochw) + finer4))
        stride8_ohwc = self.to_stride8.onto(image_ohwc, finer8.permute(0, 2, 3, 1))
        stride8_ohwc = torch.ops.aten.gelu_(self.norm8(stride8_ohwc.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return painted(brushes_okc, stride8_ohwc, self.to_stride4, finer4.permute(0, 2, 3, 1))


def once(x_ochw: Tensor) -> Tensor:
    """One row of what was expanded to several."""
    return x_ochw[:1] if x_ochw.stride(0) == 0 else x_ochw
