from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from masklet.memory import MemoryBank
from masklet.model import arithmetic, hiera, sam2
from masklet.model.arithmetic import EXACT, PLAIN, Arithmetic, Computes, Kept, choose_arithmetic
from masklet.model.attention import Placed, RotaryAttention
from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig
from masklet.model.hiera import BlockShape, HieraBlock
from masklet.model.layers import Depthwise, Mlp
from masklet.model.mobile import Convolution
from masklet.model.outputs import FrameMemory
from masklet.model.positions import Rotation, quarter_turn, rotary_angles, rotate
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import SegmentationNetwork

BFLOAT16 = Arithmetic(torch.bfloat16, on_processor=True)
WAYS = {"float32": (EXACT, 1e-5), "bfloat16": (BFLOAT16, 3e-2)}
SMALL = NetworkConfig(
    name="small",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=192,
    width=128,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=64,
    memory=MemoryConfig(channels=32, slots=4, pointers=4, layers=2, feedforward=64),
)


@pytest.fixture(autouse=True)
def _without_gradients():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture(params=WAYS)
def way(request) -> tuple[Arithmetic, float]:
    """An arithmetic and how far its results may be off, in standard deviations."""
    return WAYS[request.param]


def assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    assert found.shape == expected.shape
    assert float((found.float() - expected).std() / expected.std()) < tolerance


def told(module: torch.nn.Module, how: Arithmetic) -> torch.nn.Module:
    for part in module.modules():
        if isinstance(part, Computes):
            part.arithmetic = how
    return module


def both(module: torch.nn.Module, how: Arithmetic, *inputs) -> tuple[Tensor, Tensor]:
    return told(module, how)(*inputs), told(module, PLAIN)(*inputs)


@pytest.mark.parametrize("rows", [3, 200])
def test_linear_layers_give_what_torch_gives(way, rows: int):
    x, weight, bias = torch.randn(2, rows, 48), torch.randn(32, 48), torch.randn(32)
    assert_close(way[0].linear(x, weight, bias), F.linear(x, weight, bias), way[1])
    assert_close(way[0].linear(x, weight, None), F.linear(x, weight), way[1])


@pytest.mark.parametrize(("then", "activation"), [("relu", F.relu), ("gelu", F.gelu)])
@pytest.mark.parametrize("rows", [3, 200])
def test_linear_layers_end_with_their_activation(way, rows: int, then, activation):
    x, weight, bias = torch.randn(2, rows, 48), torch.randn(32, 48), torch.randn(32)
    expected = activation(F.linear(x, weight, bias))
    for how, tolerance in (way, (PLAIN, 1e-6)):
        assert_close(how.linear(x, weight, bias, then=then), expected, tolerance)


def test_processors_whose_onednn_knows_no_bfloat16_compute_in_it_by_torch(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    for name in ("_linear_pointwise", "_convolution_pointwise"):
        monkeypatch.setattr(torch.ops.mkldnn, name, lambda *given: pytest.fail("oneDNN was asked"))
    x, weight = torch.randn(200, 48), torch.randn(32, 48)
    assert_close(BFLOAT16.linear(x, weight, None), F.linear(x, weight), 3e-2)
    assert_close(*both(Convolution(torch.nn.Conv2d(8, 16, 1)), BFLOAT16, torch.randn(1, 8, 12, 12)), 3e-2)


def test_few_rows_are_not_rounded():
    x, weight = torch.randn(8, 48), torch.randn(32, 48)
    assert torch.equal(BFLOAT16.linear(x, weight, None), F.linear(x, weight))


@pytest.mark.parametrize(("objects", "keys", "is_rounded"), [(1, 64, False), (2, 64, True), (1, 65, True)])
def test_attention_among_few_is_not_rounded(objects: int, keys: int, is_rounded: bool):
    query, key = torch.randn(objects, 2, 8, 16), torch.randn(objects, 2, keys, 16)
    found = BFLOAT16.attend(query, key, key)
    assert (found.dtype == torch.bfloat16) == is_rounded
    assert torch.equal(found, F.scaled_dot_product_attention(query, key, key)) != is_rounded


@pytest.mark.parametrize("scores_bytes", [1 << 20, 4096, 1024], ids=["at once", "some heads", "some queries"])
def test_attention_by_products_gives_what_the_fused_one_gives(way, scores_bytes: int, monkeypatch):
    monkeypatch.setattr(arithmetic, "SCORES_BYTES", scores_bytes)
    query, key, value = torch.randn(2, 3, 20, 16), torch.randn(2, 3, 30, 16), torch.randn(2, 3, 30, 16)
    assert_close(way[0].attend(query, key, value), F.scaled_dot_product_attention(query, key, value), way[1])


@pytest.mark.parametrize(("queries", "keys"), [(200, 8), (8, 200)])
@pytest.mark.parametrize("objects", [1, 2])
@pytest.mark.parametrize("is_biased", [True, False])
def test_few_keys_or_queries_give_what_the_fused_one_gives(way, queries, keys, objects, is_biased):
    query, key, value = torch.randn(2, 3, queries, 16), torch.randn(objects, 3, keys, 16), torch.randn(2, 3, keys, 16)
    bias = torch.randn(keys) if is_biased else None
    expected = F.scaled_dot_product_attention(
        query, key.expand(2, -1, -1, -1), value, attn_mask=None if bias is None else bias[None, None, None]
    )
    assert_close(way[0].attend(query, key, value, bias), expected, way[1])


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "SCORES_BYTES", 1024)
    monkeypatch.setattr(arithmetic, "BLOCK_QUERIES", 16)
    monkeypatch.setattr(arithmetic, "BLOCK_KEYS", 24)


@pytest.mark.parametrize("is_biased", [True, False])
@pytest.mark.usefixtures("small_blocks")
def test_attention_block_by_block_gives_what_the_fused_one_gives(is_biased: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(arithmetic, "_by_rows", lambda *given: pytest.fail("whole rows of scores were made"))
    query, key, value = torch.randn(1, 2, 40, 16), torch.randn(1, 2, 90, 16), torch.randn(1, 2, 90, 8)
    bias = torch.randn(90) if is_biased else None
    mask = None if bias is None else bias[None, None, None]
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert_close(BFLOAT16.attend(query, key, value, bias), expected, 3e-2)


@pytest.mark.parametrize("offset", [300.0, -300.0], ids=["beyond the largest number", "below the smallest"])
@pytest.mark.usefixtures("small_blocks")
def test_scores_whose_exponentials_are_no_numbers_are_mixed_row_by_row(offset: float):
    query, key, value = torch.randn(1, 2, 40, 16), torch.randn(1, 2, 90, 16), torch.randn(1, 2, 90, 8)
    query[..., 0], key[..., 0] = 4.0, offset
    scores = (query.bfloat16() * 16**-0.5) @ key.bfloat16().mT
    assert_close(BFLOAT16.attend(query, key, value), scores.float().softmax(-1) @ value, 3e-2)


def test_processors_round_nothing_in_delicate_parts():
    network = SegmentationNetwork(SMALL)
    layers = {name: part for name, part in network.named_modules() if isinstance(part, Computes)}
    chosen = {}
    for how in (BFLOAT16, Arithmetic(torch.bfloat16)):
        for layer in layers.values():
            layer.compute_by(how)
        chosen[how.on_processor] = {name for name, layer in layers.items() if layer.arithmetic != how}
    assert not chosen[False]
    assert {name for name in chosen[True] if name.startswith("trunk")} == {
        name for name in layers if name.startswith(("trunk.blocks.0.", "trunk.blocks.1.", "trunk.blocks.2."))
    }
    assert "mask_decoder.transformer.layers.0.mlp.layers.1" in chosen[True]
    assert "mask_decoder.transformer.last_look.query" not in chosen[True]


@pytest.mark.parametrize("scores_bytes", [1 << 20, 1024])
def test_one_query_or_value_stands_for_all(way, scores_bytes: int, monkeypatch):
    monkeypatch.setattr(arithmetic, "SCORES_BYTES", scores_bytes)
    query, key, value = torch.randn(1, 3, 20, 16), torch.randn(2, 3, 30, 16), torch.randn(2, 1, 30, 16)
    expected = F.scaled_dot_product_attention(query.expand(2, -1, -1, -1), key, value.expand(-1, 3, -1, -1))
    assert_close(way[0].attend(query, key, value), expected, way[1])


def test_turning_by_a_quarter_and_by_waves_is_rotating():
    x, angles = torch.randn(2, 2, 12, 16), rotary_angles(16, 3, 4)
    quarter = quarter_turn(x.movedim(-1, 0)).movedim(0, -1)
    torch.testing.assert_close(quarter, rotate(x, torch.full_like(angles, math.pi / 2)), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(Rotation(angles).turn(x, quarter), rotate(x, angles))


@pytest.mark.parametrize("has_tiles", [True, False])
def test_many_queries_get_the_same_with_tiles_and_without(has_tiles: bool, monkeypatch):
    monkeypatch.setattr(arithmetic, "processor_has_tiles", lambda: has_tiles)
    query, key, value = (torch.randn(1, 2, 300, 16) for _ in range(3))
    assert_close(BFLOAT16.attend(query, key, value), F.scaled_dot_product_attention(query, key, value), 3e-2)


@pytest.mark.parametrize("has_avx512", [True, False])
@pytest.mark.parametrize("width", [16, 8])
def test_many_queries_in_float32_get_the_same_with_avx_512_and_without(has_avx512: bool, width: int, monkeypatch):
    monkeypatch.setattr(arithmetic, "processor_has_avx512", lambda: has_avx512)
    query, key, value = torch.randn(1, 2, 300, 16), torch.randn(1, 2, 300, 16), torch.randn(1, 2, 300, width)
    expected = F.scaled_dot_product_attention(query, key, value)
    made_of_products = []
    large_heads = arithmetic._large_heads
    monkeypatch.setattr(arithmetic, "_large_heads", lambda *given: made_of_products.append(1) or large_heads(*given))
    assert_close(EXACT.attend(query, key, value), expected, 1e-5)
    assert bool(made_of_products) == (has_avx512 or width < 16)


@pytest.mark.parametrize(
    ("allowed", "has_tiles"), [(None, True), ("avx512_core_amx", True), ("ALL", True), ("AVX512_CORE_BF16", False)]
)
def test_tiles_that_onednn_may_not_use_are_not_there(allowed: str | None, has_tiles: bool, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    if allowed:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", allowed)
    assert arithmetic.processor_has_tiles() is has_tiles


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("scores_bytes", [1 << 20, 512])
def test_values_may_be_mixed_before_they_are_projected(way, heads: int, scores_bytes: int, monkeypatch):
    monkeypatch.setattr(arithmetic, "SCORES_BYTES", scores_bytes)
    attention = RotaryAttention(64, heads, key_width=16, value_width=16)
    frame, keys, values = torch.randn(1, 12, 64), torch.randn(3, 29, 16), torch.randn(3, 29, 16)
    rotation = Rotation(rotary_angles(64 // heads, 3, 4))
    found, plain = both(attention, way[0], frame, keys, values, rotation, Placed(rotation, unplaced=5))
    assert_close(found, plain, way[1])


def published_windows(block: HieraBlock, x_bhwc: Tensor) -> Tensor:
    """Zeros are added before the projection, as the published network does."""
    _, h, w, _ = x_bhwc.shape
    side = block.shape.window
    padded = F.pad(block.norm1(x_bhwc), (0, 0, 0, -w % side, 0, -h % side))
    out = torch.zeros(*padded.shape[:3], block.shape.out_width)
    for y in range(0, padded.shape[1], side):
        for x in range(0, padded.shape[2], side):
            tokens = padded[:, y : y + side, x : x + side].flatten(1, 2)
            q, k, v = (
                part.unflatten(-1, (block.shape.heads, -1)).transpose(1, 2)
                for part in F.linear(tokens, block.attention.qkv.weight, block.attention.qkv.bias).chunk(3, -1)
            )
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            out[:, y : y + side, x : x + side] = block.attention.out(mixed).unflatten(1, (side, side))
    x_bhwc = x_bhwc + out[:, :h, :w]
    return x_bhwc + block.mlp(block.norm2(x_bhwc))


@pytest.mark.parametrize("strip_numbers", [1, 1 << 20])
@pytest.mark.parametrize("hw", [(8, 12), (10, 9)])
def test_windows_are_filled_up_as_published(way, hw: tuple[int, int], strip_numbers: int, monkeypatch):
    monkeypatch.setattr(hiera, "STRIP_NUMBERS", strip_numbers)
    block = HieraBlock(BlockShape(width=32, out_width=32, heads=2, window=4, pools=False))
    x = torch.randn(1, *hw, 32)
    expected = published_windows(block, x)
    assert_close(block(x), expected, 1e-5)
    assert_close(told(block, way[0])(x), expected, way[1])


@pytest.mark.parametrize("limit", [None, 0.5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("layer", [nn.Conv2d(8, 12, 1), Depthwise(8, 5)], ids=["pixelwise", "depthwise"])
def test_convolutions_give_what_torch_gives(way, layer: nn.Conv2d, stride: int, limit: float | None):
    layer.stride = (stride, stride)
    kept = Kept()
    for size in (9, 9, 12):
        x = torch.randn(2, 8, size, size).contiguous(memory_format=torch.channels_last)
        expected = layer(x) if limit is None else layer(x).clamp(0, limit)
        assert_close(way[0].convolve(x, layer, kept, limit), expected, way[1])


def test_kept_weights_follow_the_parameters():
    layer, x, kept = nn.Conv2d(8, 12, 1), torch.randn(2, 8, 9, 9), Kept()
    EXACT.convolve(x, layer, kept)
    layer.weight.mul_(2)
    assert_close(EXACT.convolve(x, layer, kept), layer(x), 1e-5)
    layer.load_state_dict({name: torch.randn_like(part) for name, part in layer.state_dict().items()}, assign=True)
    assert_close(EXACT.convolve(x, layer, kept), layer(x), 1e-5)


def test_what_was_kept_is_neither_copied_nor_saved():
    layer, x = Convolution(nn.Conv2d(8, 12, 1)), torch.randn(2, 8, 9, 9)
    told(layer, EXACT)(x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301 (our own bytes)
        copied.conv.weight.mul_(-1)
        assert_close(copied(x), F.relu6(copied.conv(x)), 1e-5)


def test_what_is_thought_in_parts_is_the_same():
    mlp, x = Mlp(8, 16, 8, layers=2, activation="gelu"), torch.randn(2, 5, 8)
    whole = mlp(x)
    mlp.rows_at_once = 3
    torch.testing.assert_close(mlp(x), whole)


def followed(network: SegmentationNetwork, objects: int = 2) -> dict[str, Tensor]:
    """What all verbs of the network give for clicks on one frame, and for the next one."""
    torch.manual_seed(1)
    first, second = (network.encode_image(torch.randn(1, 3, 192, 192)) for _ in range(2))
    clicks = PromptBatch(torch.rand(objects, 1, 2), torch.ones(objects, 1, dtype=torch.int))
    alone = network.without_memory(first).expand(objects, -1, -1, -1)
    prediction = network.decode(first, alone, clicks, candidates=True)
    memory: FrameMemory = network.remember(first, network.choose(prediction), prompted=True)
    conditioned = network.recall(second, MemoryBank(network.config.memory, {0: memory}).select(1))
    seen = network.decode(second, conditioned, PromptBatch.nothing(objects), candidates=True)
    return {
        "features": first.stride16_bchw,
        "clicked": prediction.logits_okhw,
        "iou": prediction.iou_ok,
        "memory": memory.features_ochw,
        "conditioned": conditioned,
        "seen": seen.logits_okhw,
    }


@pytest.fixture(scope="module")
def network() -> SegmentationNetwork:
    torch.manual_seed(0)
    network = SegmentationNetwork(SMALL).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(parameter.numel() / len(parameter)) ** -0.5)
    return network


@pytest.mark.parametrize("objects_at_once", [1, 2])
@pytest.mark.parametrize(("has_bfloat16", "tolerance"), [(False, 1e-4), (True, 0.1)], ids=["float32", "bfloat16"])
def test_a_network_gives_the_same_in_every_precision(network, has_bfloat16, tolerance, objects_at_once, monkeypatch):
    monkeypatch.setattr(sam2, "KEY_NUMBERS", objects_at_once * 160 * 128)
    monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: has_bfloat16)
    plain = followed(network.set_precision("plain"))
    fast = followed(network.set_precision("auto"))
    for name, expected in plain.items():
        assert fast[name].dtype == torch.float32
        assert_close(fast[name], expected, tolerance)


def test_many_clicks_at_once_give_float32_in_every_precision(network, monkeypatch):
    """So many rows of tokens that even those are rounded."""
    monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: True)
    clicks = PromptBatch(torch.rand(64, 1, 2), torch.ones(64, 1, dtype=torch.int))
    found = {}
    for precision in ("plain", "auto"):
        features = network.set_precision(precision).encode_image(torch.ones(1, 3, 192, 192))
        alone = network.without_memory(features).expand(64, -1, -1, -1)
        found[precision] = network.decode(features, alone, clicks, candidates=True)
    assert found["auto"].logits_okhw.dtype == found["auto"].iou_ok.dtype == torch.float32
    assert_close(found["auto"].iou_ok, found["plain"].iou_ok, 0.1)


def test_a_network_learns_the_same_whatever_its_precision(network):
    def gradient() -> Tensor:
        network.zero_grad()
        with torch.enable_grad():
            network.encode_image(torch.ones(1, 3, 192, 192)).stride16_bchw.square().sum().backward()
        return network.trunk.patches.weight.grad.clone()

    plain = gradient()
    network.set_precision("auto")
    assert torch.equal(gradient(), plain)


@pytest.fixture
def pretend(monkeypatch) -> Callable[[bool], None]:
    def make(has_bfloat16: bool) -> None:
        monkeypatch.setattr(arithmetic, "processor_has_bfloat16", lambda: has_bfloat16)
        monkeypatch.setattr(arithmetic, "gpu_has_bfloat16", lambda device: has_bfloat16)

    return make


def test_bfloat16_is_chosen_where_the_hardware_has_it(pretend):
    cpu, gpu, apple = (torch.device(name) for name in ("cpu", "cuda", "mps"))
    pretend(True)
    assert choose_arithmetic("auto", cpu) == BFLOAT16
    assert choose_arithmetic("auto", gpu) == Arithmetic(torch.bfloat16)
    assert choose_arithmetic("exact", cpu) == EXACT
    assert {choose_arithmetic(name, apple) for name in ("auto", "exact", "plain")} == {PLAIN}
    pretend(False)
    assert choose_arithmetic("auto", cpu) == EXACT
    assert choose_arithmetic("auto", gpu) == choose_arithmetic("plain", cpu) == PLAIN


def test_an_unknown_precision_is_refused(network):
    with pytest.raises(ValueError, match="auto, exact, plain"):
        network.set_precision("half")
