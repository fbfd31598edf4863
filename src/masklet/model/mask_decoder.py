"""Prompt tokens and image attend to each other; then every mask token paints one mask."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from masklet.model.arithmetic import Kept
from masklet.model.attention import Attention
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
    """Two layers and a last look of the tokens at the image."""

    def __init__(self, width: int, heads: int, feedforward: int):
        super().__init__()
        kinds = [FirstTwoWayLayer, *[TwoWayLayer] * (DEPTH - 1)]
        self.layers = nn.ModuleList(kind(width, heads, feedforward) for kind in kinds)
        self.last_look = TokensToImage(width, heads, inner=width // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens_otc: Tensor, image_onc: Tensor, image_position_1nc: Tensor) -> tuple[Tensor, Tensor]:
        position_otc, image_position_1nc = tokens_otc, self.last_look.rounded(image_position_1nc)
        for layer in self.layers:
            tokens_otc, image_onc = layer(tokens_otc, image_onc, position_otc, image_position_1nc)
        seen_onc = self.last_look.rounded(image_onc)
        looked_otc = self.last_look(tokens_otc + position_otc, seen_onc + image_position_1nc, seen_onc)
        return self.norm(tokens_otc + looked_otc), image_onc


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
        layers = self.kept.get(None, self.parameters(), self._stacked)
        for index, (weight_kcd, bias_k1d) in enumerate(layers):
            x_koc = torch.baddbmm(bias_k1d, x_koc.relu() if index else x_koc, weight_kcd)
        return x_koc.transpose(0, 1)

    def _stacked(self) -> list[tuple[Tensor, Tensor]]:
        together = zip(*(brush.layers for brush in self), strict=True)
        return [
            (torch.stack([one.weight.T for one in layer]), torch.stack([one.bias[None] for one in layer]))
            for layer in together
        ]


class MaskDecoder(nn.Module):
    """All four masks of every object, with their predicted IoU, and whether the object is there."""

    def __init__(self, config: NetworkConfig):
        super().__init__()
        c, (c8, c4) = config.width, config.mask_channels
        self.presence_token = nn.Embedding(1, c)
        self.iou_token = nn.Embedding(1, c)
        self.mask_tokens = nn.Embedding(MASK_TOKENS, c)
        self.transformer = TwoWayTransformer(c, config.decoder_heads, config.decoder_feedforward)
        self.to_stride8 = nn.ConvTranspose2d(c, c8, 2, stride=2)
        self.norm8 = LayerNorm2d(c8)
        self.to_stride4 = nn.ConvTranspose2d(c8, c4, 2, stride=2)
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
        tokens_otc = torch.cat([self._own_tokens(len(prompt_tokens_opc)), prompt_tokens_opc], dim=1)
        tokens_otc, image_onc = self.transformer(tokens_otc, image_onc, position_1nc)

        presence_oc, iou_oc, mask_tokens_okc = tokens_otc[:, 0], tokens_otc[:, 1], tokens_otc[:, 2 : 2 + MASK_TOKENS]
        canvas_ochw = self._upscale(rearrange(image_onc, "o (h w) c -> o c h w", h=h, w=w), features)
        return MaskPrediction(
            logits_okhw=paint(self.brushes(mask_tokens_okc), canvas_ochw),
            iou_ok=self.iou_head(iou_oc).sigmoid(),
            tokens_okc=mask_tokens_okc,
            presence_o=self.presence_head(presence_oc)[:, 0],
        )

    def _own_tokens(self, objects: int) -> Tensor:
        own = torch.cat([self.presence_token.weight, self.iou_token.weight, self.mask_tokens.weight])
        return own.expand(objects, -1, -1)

    def _upscale(self, image_ochw: Tensor, features: ImageFeatures) -> Tensor:
        stride8_ochw = F.gelu(self.norm8(self.to_stride8(image_ochw) + features.stride8_bchw))
        return F.gelu(self.to_stride4(stride8_ochw) + features.stride4_bchw)


def once(x_ochw: Tensor) -> Tensor:
    """One row of what was expanded to several."""
    return x_ochw[:1] if x_ochw.stride(0) == 0 else x_ochw


def paint(brushes_okc: Tensor, canvas_ochw: Tensor) -> Tensor:
    """Every pixel's channels times every brush: (o, k, h, w).

    The canvas comes with its channels side by side, as the transformer left them; so does its gradient.
    """
    pixels_onc = rearrange(canvas_ochw, "o c h w -> o (h w) c")
    logits_onk = pixels_onc @ brushes_okc.transpose(1, 2)
    return rearrange(logits_onk, "o (h w) k -> o k h w", h=canvas_ochw.shape[2]).contiguous()
