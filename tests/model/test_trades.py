from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from masklet.memory import MemoryBank
from masklet.model.arithmetic import EXACT
from masklet.model.config import MODELS, PICO, TRUNK_STRIDE, HieraConfig, MemoryConfig, NetworkConfig, Trades
from masklet.model.device import shapes_only
from masklet.model.memory_attention import MemoryTokens
from masklet.model.outputs import FrameMemory, ImageFeatures
from masklet.model.positions import Rotation
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import SegmentationNetwork
from masklet.model.trades import traded

HIERA = NetworkConfig(
    name="small",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=128,
    width=128,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=64,
    memory=MemoryConfig(channels=32, slots=6, pointers=4, layers=1, feedforward=64),
)
KEYED = replace(HIERA, memory=replace(HIERA.memory, pointers=0, keys_from_image=True), dates_pointers=False)
DETAILED = replace(KEYED, memory=replace(KEYED.memory, detailed=0.25))


@pytest.fixture(
    scope="module", params=[HIERA, KEYED, DETAILED], ids=["keys from memory", "keys from image", "in part in detail"]
)
def network(request) -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(request.param).eval()


def remembered(network: SegmentationNetwork) -> tuple[ImageFeatures, MemoryBank]:
    """A frame and seven memories."""
    side = network.config.image_size
    torch.manual_seed(1)
    features = network.encode_image(torch.randn(1, 3, side, side))
    prediction = network.decode(features, network.without_memory(features), PromptBatch.nothing(1), candidates=True)
    memories: list[FrameMemory] = [network.remember(features, network.choose(prediction), prompted=False)] * 7
    return features, MemoryBank(network.config.memory, {0: memories[0]}, dict(enumerate(memories[1:], 1)))


def test_every_trade_is_off_unless_it_is_asked_for(network):
    same = traded(network, Trades())
    assert same.config == network.config
    with torch.no_grad():
        features, bank = remembered(network)
        assert torch.equal(same.recall(features, bank.select(7)), network.recall(features, bank.select(7)))


def test_a_traded_network_shares_its_weights_and_leaves_the_first_as_it_was(network):
    before = network.config
    small = traded(network, Trades(image_size=64, memories=3, pooled_memory=2)).set_precision("exact")
    assert network.config == before
    assert network.memory_tokens.pooled == 1
    shared = {
        name
        for name, tensor in small.state_dict().items()
        if tensor.data_ptr() == network.state_dict()[name].data_ptr()
    }
    assert set(network.state_dict()) - shared == {"memory_tokens.age"}
    assert not any(getattr(module, "arithmetic", None) == EXACT for module in network.modules())


def test_a_smaller_picture_gives_smaller_masks(network):
    small = traded(network, Trades(image_size=64))
    with torch.no_grad():
        features, bank = remembered(small)
        assert small.recall(features, bank.select(7)).shape == (1, 128, 4, 4)
        click = PromptBatch(torch.full((1, 1, 2), 0.5), torch.ones(1, 1, dtype=torch.int))
        found = small.decode(features, small.without_memory(features), click, candidates=False)
    assert found.logits_okhw.shape[-2:] == small.config.low_res_hw((30, 50)) == (16, 16)


def test_fewer_memories_are_the_newest_ones_and_the_prompted_frame(network):
    small = traded(network, Trades(memories=3))
    with torch.no_grad():
        features, bank = remembered(small)
        chosen = bank.select(7)
        assert [slot for slot, _ in chosen.maps] == [2, 1, 0]
        assert small.recall(features, chosen).shape == (1, 128, 8, 8)
    assert torch.equal(small.memory_tokens.age, network.memory_tokens.age[[0, 1, 5]])


def test_pooled_memories_are_fewer_keys(network):
    small = traded(network, Trades(pooled_memory=2))
    with torch.no_grad():
        features, bank = remembered(small)
        tokens: MemoryTokens = small.memory_tokens(bank.select(7))
        assert tokens.values_omc.shape[1] - tokens.unplaced == 6 * 16
        plain = small.recall(features, bank.select(7))
        fast = small.set_precision("exact").recall(features, bank.select(7))
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)


def test_memories_that_are_detailed_in_part_are_fewer_keys(network):
    small = traded(network, Trades(detailed_memory=0.25))
    with torch.no_grad():
        features, bank = remembered(small)
        tokens: MemoryTokens = small.memory_tokens(bank.select(7))
        assert tokens.values_omc.shape[1] - tokens.unplaced == 6 * (4 * 4 + 12)
        plain = small.recall(features, bank.select(7))
        fast = small.set_precision("exact").recall(features, bank.select(7))
    torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)
    assert small.config.memory.detailed == 0.25


def test_a_pooled_key_weighs_as_much_as_the_cells_under_it():
    tokens = MemoryTokens(torch.zeros(1, 4 + 1, 8), torch.zeros(1, 4 + 1, 8), unplaced=1, pooled=2)
    angles = torch.arange(16.0)[:, None].expand(16, 2)
    placed = tokens.placed(Rotation(angles), 4, 4)
    assert placed.bias_m is not None
    assert placed.bias_m.tolist() == pytest.approx([math.log(4)] * 4 + [0])
    assert placed.rotation.angles_nc[:, 0].tolist() == F.avg_pool2d(angles[:, 0].view(1, 1, 4, 4), 2).flatten().tolist()


@pytest.mark.parametrize(
    ("trades", "message"),
    [
        (Trades(image_size=100), "multiple of 32"),
        (Trades(memories=9), "from 2 to the 6"),
        (Trades(pooled_memory=3), "must divide the 8"),
        (Trades(detailed_memory=1.5), "share from 0 to 1, got 1.5"),
        (Trades(pooled_memory=2, detailed_memory=0.5), "got both; leave one"),
    ],
)
def test_impossible_trades_are_refused(network, trades: Trades, message: str):
    with pytest.raises(ValueError, match=message):
        traded(network, trades)


@pytest.mark.parametrize("name", ["sam2.1-hiera-tiny", "sam2-hiera-large", "pico"])
def test_the_fast_preset_halves_the_side_and_leaves_out_two_memories(name):
    with shapes_only():
        network = SegmentationNetwork(PICO if name == "pico" else MODELS[name])
    fast = traded(network, Trades(fast=True)).config
    assert fast.image_size == network.config.image_size // 2 // TRUNK_STRIDE * TRUNK_STRIDE
    assert fast.memory.slots == network.config.memory.slots - 2


def test_what_is_given_goes_before_the_preset(network):
    fast = traded(network, Trades(fast=True, image_size=96)).config
    assert (fast.image_size, fast.memory.slots) == (96, network.config.memory.slots - 2)
