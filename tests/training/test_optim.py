from __future__ import annotations

from pathlib import Path

import pytest
import torch

from masklet.model.attention import Placed
from masklet.model.config import MODELS, NetworkConfig
from masklet.model.device import shapes_only
from masklet.model.layers import DropPath, Drops
from masklet.model.memory_attention import MemoryAttentionLayer
from masklet.model.positions import Rotation, rotary_angles
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.losses import LossWeights
from masklet.training.optim import (
    Cosine,
    Rates,
    ReciprocalRoot,
    Trapezoid,
    decay_of,
    optimizer,
    rate_of,
    set_drop_path,
    set_dropout,
    set_rates,
)
from masklet.training.recipes import read_recipe
from masklet.training.simulation import Simulation

from .material import write_videos

RECIPE = Path(__file__).parents[2] / "recipes/sam2.py"


def test_the_schedule_rises_holds_and_falls():
    schedule = Trapezoid(steps=100, warmup=10, decay=20, final=0.1)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert schedule.factor(10) == schedule.factor(79) == 1
    assert schedule.factor(90) == pytest.approx(0.5)
    assert schedule.factor(99) == pytest.approx(0.1)


def test_the_cosine_rises_and_falls_to_its_share():
    schedule = Cosine(steps=110, warmup=10, final=0.1)
    assert schedule.factor(4) == pytest.approx(0.5)
    assert schedule.factor(10) == 1
    assert schedule.factor(60) == pytest.approx(0.55)
    assert schedule.factor(110) == pytest.approx(0.1)


def test_the_reciprocal_root_falls_slowly_and_ends_at_nothing():
    schedule = ReciprocalRoot(steps=10_000, warmup=10, timescale=100, cooldown=1000)
    assert schedule.factor(10) == 1
    assert schedule.factor(310) == pytest.approx(0.5)
    assert schedule.factor(9500) == pytest.approx(0.5 * (100 / (100 + 9490)) ** 0.5)
    assert schedule.factor(10_000) == 0


@pytest.fixture(scope="module")
def tiny() -> SegmentationNetwork:
    with shapes_only():
        return SegmentationNetwork(MODELS["sam2.1-hiera-tiny"])


def test_earlier_layers_of_a_hiera_learn_slower(tiny: SegmentationNetwork):
    rates = Rates(heads=1.0, trunk=0.5, layer_decay=0.8)
    assert rate_of("trunk.blocks.11.norm1.weight", tiny, rates) == pytest.approx(0.5 * 0.8)
    assert rate_of("trunk.blocks.0.norm1.weight", tiny, rates) == pytest.approx(0.5 * 0.8**12)
    assert rate_of("trunk.patches.weight", tiny, rates) == pytest.approx(0.5 * 0.8**13)


def test_the_positions_of_a_hiera_are_not_slowed(tiny: SegmentationNetwork):
    rates = Rates(heads=1.0, trunk=0.5, layer_decay=0.8)
    assert rate_of("trunk.background_position", tiny, rates) == 0.5
    assert rate_of("trunk.window_position", tiny, rates) == 0.5


def test_the_neck_learns_like_the_heads_unless_it_has_a_rate_of_its_own(tiny: SegmentationNetwork):
    assert rate_of("neck.lateral4.weight", tiny, Rates(heads=1.0, trunk=0.5)) == 1.0
    assert rate_of("neck.lateral4.weight", tiny, Rates(heads=1.0, trunk=0.5, neck=0.5)) == 0.5
    assert rate_of("mask_decoder.project4.weight", tiny, Rates(heads=1.0, trunk=0.5, neck=0.5)) == 1.0


PARAMETERS_THAT_DECAY = {
    # name: (as published, otherwise)
    "trunk.blocks.0.attention.qkv.weight": (True, True),
    "trunk.blocks.0.attention.qkv.bias": (False, False),
    "trunk.blocks.0.norm1.weight": (False, False),
    "trunk.blocks.0.norm1.bias": (False, False),
    "trunk.background_position": (True, False),
    "trunk.window_position": (True, False),
    "prompt_encoder.labels.weight": (True, True),
    "prompt_encoder.mask.1.weight": (True, False),
    "prompt_encoder.mask.1.bias": (False, False),
    "mask_decoder.mask_tokens.weight": (True, True),
    "memory_encoder.fuse.0.scale": (True, False),
    "memory_encoder.fuse.0.norm.weight": (True, False),
    "memory_tokens.age": (True, True),
    "mark_absent.vector": (True, False),
    "pointer.absent": (True, True),
    "no_memory": (True, True),
}


@pytest.mark.parametrize(("name", "decays"), PARAMETERS_THAT_DECAY.items())
def test_what_decays_is_the_published_choice_or_matrices_alone(
    name: str, decays: tuple[bool, bool], tiny: SegmentationNetwork
):
    published, otherwise = decays
    assert decay_of(name, tiny, Rates(weight_decay=0.1, decays_vectors=True)) == (0.1 if published else 0)
    assert decay_of(name, tiny, Rates(weight_decay=0.1)) == (0.1 if otherwise else 0)


def test_the_published_recipe_slows_and_freezes_trunk_and_neck_together(tiny: SegmentationNetwork, tmp_path: Path):
    options = [f"videos={write_videos(tmp_path, 1)}", "format=videos", "rate=1", "trunk_rate=0.5"]
    rates = read_recipe(RECIPE, options).rates
    assert rate_of("neck.lateral4.weight", tiny, rates) == rate_of("trunk.window_position", tiny, rates) == 0.5
    assert rate_of("trunk.blocks.11.norm1.weight", tiny, rates) == pytest.approx(0.5 * 0.8)
    assert rate_of("mask_decoder.project4.weight", tiny, rates) == 1.0
    frozen = read_recipe(RECIPE, [*options, "frozen_trunk=yes"]).rates.frozen
    still = {name.split(".")[0] for name, _ in tiny.named_parameters() if name.startswith(frozen)}
    assert still == {"trunk", "neck"}


def test_the_published_recipe_learns_as_published_where_in_use_is_otherwise(tmp_path: Path):
    recipe = read_recipe(RECIPE, [f"videos={write_videos(tmp_path, 1)}", "format=videos"])
    assert recipe.losses == LossWeights(as_answered=True)
    assert recipe.simulation == Simulation(as_in_use=False)
    assert recipe.rates.dropout == 0.1
    assert recipe.rates.decays_vectors


def test_later_blocks_are_skipped_more_often(tiny: SegmentationNetwork):
    set_drop_path(tiny, 0.1)
    shares = [module.share for module in tiny.trunk.modules() if isinstance(module, DropPath)]
    assert shares == pytest.approx([0.1 * block / 11 for block in range(12)])


def test_what_is_left_of_a_batch_makes_up_for_what_was_skipped():
    torch.manual_seed(0)
    drop = DropPath()
    drop.share = 0.25
    kept = drop(torch.ones(4000, 2))
    assert kept.unique().tolist() == pytest.approx([0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(drop.eval()(torch.ones(4, 2)), torch.ones(4, 2))


def test_memory_attention_alone_leaves_out_numbers_in_all_of_its_layers(config: NetworkConfig):
    network = SegmentationNetwork(config)
    set_dropout(network, 0.1)
    layer = "memory_attention.layers.0"
    assert {name for name, module in network.named_modules() if isinstance(module, Drops) and module.dropout} == {
        layer, f"{layer}.self_attention", f"{layer}.cross_attention", f"{layer}.mlp"
    }  # fmt: skip


def test_each_result_of_a_memory_attention_layer_is_thinned_out():
    """Where attention gives 1 and the thinking 1 everywhere, three independent shares of the ones are missing."""
    torch.manual_seed(0)
    layer = MemoryAttentionLayer(8, 1, 8, key_width=8, value_width=8)
    for part in (layer.self_attention.out, layer.cross_attention.out, layer.mlp.layers[-1]):
        assert isinstance(part, torch.nn.Linear)
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.ones_(part.bias)
    layer.dropout = 0.5
    rotation = Rotation(rotary_angles(8, 20, 20))
    nothing = torch.zeros(1, 400, 8)
    around = layer.look_around(nothing, rotation)
    key = layer.cross_attention.turned_keys(nothing, Placed(rotation))
    back = layer.look_back(nothing, key, nothing, rotation, Placed(rotation))
    assert around.unique().tolist() == [0, 2]
    assert back.unique().tolist() == [0, 2, 4]
    assert (back == 2).float().mean().item() == pytest.approx(0.5, abs=0.05)
    assert layer.eval().look_around(nothing, rotation).unique().tolist() == [1]


def test_the_optimizer_sets_the_dropout_that_the_rates_name(config: NetworkConfig):
    network = SegmentationNetwork(config)
    optimizer(network, Rates(dropout=0.1))
    assert network.memory_attention.get_submodule("layers.0").dropout == 0.1
    optimizer(network, Rates())
    assert network.memory_attention.get_submodule("layers.0").dropout == 0


def test_trunk_and_heads_learn_at_their_own_rates_and_vectors_are_not_decayed(config: NetworkConfig):
    network = SegmentationNetwork(config)
    adamw = optimizer(network, Rates(heads=1e-3, trunk=1e-4, weight_decay=0.1, frozen=("trunk.stem.",)))
    set_rates(adamw, 0.5)
    group_of = {id(p): group for group in adamw.param_groups for p in group["params"]}
    names = dict(network.named_parameters())
    assert id(names["trunk.stem.conv.weight"]) not in group_of
    trunk = group_of[id(names["trunk.stages.0.0.filter.conv.weight"])]
    assert (trunk["lr"], trunk["weight_decay"]) == (5e-5, 0.1)
    bias = group_of[id(names["neck.lateral16.bias"])]
    assert (bias["lr"], bias["weight_decay"]) == (5e-4, 0.0)
    learning = sum(p.requires_grad for p in network.parameters())
    assert learning == sum(len(group["params"]) for group in adamw.param_groups)


def test_frozen_parameters_need_no_gradient(config: NetworkConfig):
    network = SegmentationNetwork(config)
    optimizer(network, Rates(frozen=("trunk.",)))
    assert {n.split(".")[0] for n, p in network.named_parameters() if not p.requires_grad} == {"trunk"}
    assert isinstance(network.no_memory, torch.nn.Parameter)
