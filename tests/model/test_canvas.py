from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from masklet.model import canvas
from masklet.model.arithmetic import EXACT, PLAIN, Arithmetic
from masklet.model.canvas import Brushes, Doubling, paint, painted
from masklet.model.config import HieraConfig, NetworkConfig
from masklet.model.layers import Mlp
from masklet.model.mask_decoder import MaskDecoder
from masklet.model.outputs import ImageFeatures
from masklet.model.sam2 import SegmentationNetwork

BFLOAT16 = Arithmetic(torch.bfloat16, on_processor=True)
WIDTH = 64
SMALL = NetworkConfig(
    name="small",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=96,
    width=WIDTH,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=64,
)


@pytest.fixture(autouse=True)
def _without_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def channels_last(x_bchw: Tensor) -> Tensor:
    return x_bchw.permute(0, 2, 3, 1)


@pytest.mark.parametrize("pictures", [1, 3], ids=["one picture for all", "each its own"])
@pytest.mark.parametrize(("how", "tolerance"), [(EXACT, 1e-5), (BFLOAT16, 0.05)], ids=["float32", "bfloat16"])
def test_a_doubling_is_a_transposed_convolution_onto_a_finer_map(pictures: int, how: Arithmetic, tolerance: float):
    doubling, x_ohwc = Doubling(24, 8), torch.randn(3, 5, 7, 24)
    finer_bchw = torch.randn(pictures, 8, 10, 14)
    expected = doubling(x_ohwc.permute(0, 3, 1, 2)) + finer_bchw
    doubling.compute_by(how)
    for order in (torch.contiguous_format, torch.channels_last):
        found = doubling.onto(x_ohwc, channels_last(finer_bchw.contiguous(memory_format=order)))
        torch.testing.assert_close(found, channels_last(expected), atol=tolerance, rtol=tolerance)


def test_a_doubling_notices_that_its_weights_changed():
    doubling, x, finer = Doubling(4, 2), torch.randn(1, 3, 3, 4), torch.zeros(1, 6, 6, 2)
    doubling.compute_by(EXACT)
    before = doubling.onto(x, finer)
    doubling.weight.mul_(2)
    doubling.bias.mul_(2)
    torch.testing.assert_close(doubling.onto(x, finer), 2 * before)


@pytest.mark.parametrize("numbers", [1, 2000, 1 << 20], ids=["row by row", "some rows", "at once"])
@pytest.mark.parametrize("objects", [1, 3])
def test_strips_of_a_canvas_are_painted_as_the_whole(numbers: int, objects: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(canvas, "STRIP_NUMBERS", numbers)
    doubling, stride8_ohwc, finer_bchw = Doubling(16, 8), torch.randn(objects, 5, 6, 16), torch.randn(1, 8, 10, 12)
    doubling.compute_by(EXACT)
    brushes_okc = torch.randn(objects, 4, 8)
    expected = paint(brushes_okc, F.gelu(doubling(stride8_ohwc.permute(0, 3, 1, 2)) + finer_bchw))
    found = painted(brushes_okc, stride8_ohwc, doubling, channels_last(finer_bchw))
    assert found.shape == (objects, 4, 10, 12)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_all_brushes_at_once_are_those_of_one_after_the_other():
    brushes, tokens_okc = Brushes(Mlp(16, 16, 8, layers=3) for _ in range(4)), torch.randn(3, 4, 16)
    one_by_one = torch.stack([brush(token) for brush, token in zip(brushes, tokens_okc.unbind(1), strict=True)], dim=1)
    torch.testing.assert_close(brushes(tokens_okc), one_by_one)
    with torch.enable_grad():
        torch.testing.assert_close(brushes(tokens_okc), one_by_one)


@pytest.mark.parametrize("objects", [1, 2])
def test_a_decoder_paints_the_same_masks_however_it_computes(objects: int):
    decoder = SegmentationNetwork(SMALL).eval().mask_decoder
    h = w = 6
    c8, c4 = SMALL.mask_channels
    features = ImageFeatures(
        torch.randn(1, WIDTH, h, w), torch.randn(1, c8, 2 * h, 2 * w), torch.randn(1, c4, 4 * h, 4 * w)
    )
    given = (features, features.stride16_bchw.expand(objects, -1, -1, -1), torch.zeros(1, WIDTH, 1, 1))
    tokens, places = torch.randn(objects, 2, WIDTH), torch.randn(1, WIDTH, h, w)

    def logits(how: Arithmetic) -> Tensor:
        for doubling in (decoder.to_stride8, decoder.to_stride4):
            doubling.compute_by(how)
        return decoder(*given, tokens, places).logits_okhw

    assert isinstance(decoder, MaskDecoder)
    torch.testing.assert_close(logits(EXACT), logits(PLAIN), atol=1e-4, rtol=1e-3)
    assert not torch.equal(logits(BFLOAT16), logits(EXACT))
