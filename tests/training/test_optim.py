from __future__ import annotations

import pytest
import torch

from masklet.model.config import NetworkConfig
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.optim import Rates, Schedule, optimizer, set_rates


def test_the_schedule_rises_holds_and_falls():
    schedule = Schedule(steps=100, warmup=10, decay=20, final=0.1)
    assert schedule.factor(0) == pytest.approx(0.1)
    assert schedule.factor(10) == schedule.factor(79) == 1
    assert schedule.factor(90) == pytest.approx(0.5)
    assert schedule.factor(99) == pytest.approx(0.1)


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
