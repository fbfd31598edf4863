from __future__ import annotations

import pytest
import torch
from torch import Tensor

from masklet.model import token_attention
from masklet.model.arithmetic import EXACT, PLAIN, Arithmetic, Computes
from masklet.model.token_attention import ImageToTokens, TokenAttention, TokensToImage

BFLOAT16 = Arithmetic(torch.bfloat16, on_processor=True)
WIDTH, HEADS, PLACES = 32, 4, 96
FEW, MANY = 4, 5
"""Tokens: as many rows as the image would have channels, and more."""


@pytest.fixture(autouse=True)
def _without_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def made(kind: type[TokenAttention]) -> TokenAttention:
    return kind(WIDTH, HEADS, inner=WIDTH // 2)


def told(attention: TokenAttention, arithmetic: Arithmetic) -> TokenAttention:
    for part in attention.modules():
        if isinstance(part, Computes):
            part.arithmetic = arithmetic
    return attention


def looked(attention: TokenAttention, tokens_btc: Tensor, image_bnc: Tensor, place_1nc: Tensor) -> Tensor:
    """From the tokens at the image, or the other way round."""
    seen_bnc = attention.rounded(image_bnc) + attention.rounded(place_1nc)
    if isinstance(attention, TokensToImage):
        return attention(tokens_btc, seen_bnc, attention.rounded(image_bnc))
    return attention(seen_bnc, tokens_btc, tokens_btc.flip(1))


@pytest.mark.parametrize("kind", [TokensToImage, ImageToTokens])
@pytest.mark.parametrize("arithmetic", [EXACT, BFLOAT16])
@pytest.mark.parametrize(("objects", "images"), [(1, 1), (3, 1), (3, 3)])
@pytest.mark.parametrize("tokens", [FEW, MANY])
def test_an_image_that_is_not_projected_gives_what_a_projected_one_gives(
    kind: type[TokenAttention], arithmetic: Arithmetic, objects: int, images: int, tokens: int, monkeypatch
):
    monkeypatch.setattr(token_attention, "LARGE_IMAGE", 1)
    attention = made(kind)
    tokens_btc, image_bnc = torch.randn(objects, tokens, WIDTH), torch.randn(images, PLACES, WIDTH)
    place_1nc = torch.randn(1, PLACES, WIDTH)
    expected = looked(attention, tokens_btc, image_bnc, place_1nc)
    found = looked(told(attention, arithmetic), tokens_btc, image_bnc, place_1nc)
    assert found.shape == expected.shape
    assert float((found.float() - expected).std() / expected.std()) < (1e-5 if arithmetic == EXACT else 3e-2)


@pytest.mark.parametrize("kind", [TokensToImage, ImageToTokens])
@pytest.mark.parametrize(
    ("tokens", "objects", "arithmetic", "is_projected"),
    [(FEW, 1, EXACT, False), (MANY, 1, EXACT, True), (FEW, 2, EXACT, True), (FEW, 1, PLAIN, True)],
)
def test_an_image_is_projected_where_that_is_less_work(
    kind: type[TokenAttention], tokens: int, objects: int, arithmetic: Arithmetic, is_projected: bool
):
    attention = told(made(kind), arithmetic)
    projects = attention.key if kind is TokensToImage else attention.query
    seen = []
    projects.register_forward_hook(lambda *called: seen.append(called))
    looked(attention, torch.randn(objects, tokens, WIDTH), torch.randn(objects, PLACES, WIDTH), torch.zeros(1))
    assert bool(seen) == is_projected


def test_gradients_are_those_of_a_projected_image():
    attention = told(made(TokensToImage), EXACT)
    with torch.enable_grad():
        looked(attention, torch.randn(1, FEW, WIDTH), torch.randn(1, PLACES, WIDTH), torch.zeros(1)).sum().backward()
    assert attention.key.weight.grad is not None
    assert attention.rounded(torch.zeros(1)).dtype == torch.float32
