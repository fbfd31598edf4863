"""A network and clips small enough to learn from within a test."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from masklet.data.synthetic import Clip
from masklet.model.config import PICO, MobileConfig, MobileStage, NetworkConfig
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.batches import Source
from masklet.training.initial import compare_looks
from masklet.training.loop import Recipe
from masklet.training.losses import LossWeights
from masklet.training.optim import Rates, Trapezoid
from masklet.training.simulation import Simulation

SIZE = 64
TINY = replace(
    PICO,
    name="test",
    image_size=SIZE,
    still_size=0,
    width=64,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=64,
    encoder=MobileConfig(
        stem=8,
        stages=tuple(MobileStage(expansion=1, kernel=3, stride=s, channels=16, blocks=1) for s in (1, 2, 2, 2, 2)),
        outputs=(1, 2, 3, 4),
    ),
    memory=replace(PICO.memory, channels=16, layers=1, heads=1, feedforward=64),
)


def moving_square(seed: int) -> Clip:
    """A bright square on dark noise that moves to the right."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 60, (3, SIZE, SIZE, 3), dtype=np.uint8)
    masks = np.zeros((1, 3, SIZE, SIZE), dtype=bool)
    x, y = rng.integers(4, 24, 2)
    for frame in range(3):
        masks[0, frame, y : y + 20, x + 4 * frame : x + 4 * frame + 20] = True
    frames[masks[0]] = 220
    return Clip(frames, masks, "square")


def start(network: SegmentationNetwork) -> None:
    """As for pico, but for the ImageNet features."""
    for module in network.trunk.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    with torch.no_grad():
        compare_looks(network.memory_attention)


@pytest.fixture
def config() -> NetworkConfig:
    return TINY


def small_recipe(**changes: Any) -> Recipe:
    """Six short steps."""
    usual = Recipe(
        config=TINY,
        start=start,
        sources=(Source(moving_square, clips=2),),
        schedule=Trapezoid(steps=6, warmup=2, decay=2),
        rates=Rates(heads=1e-3, trunk=1e-4, drop_path=0, frozen=("trunk.stem.",)),
        simulation=Simulation(clicks=1),
        losses=LossWeights(reduction=2),
        bfloat16=False,
        workers=0,
        save_every=2,
        picture_every=3,
    )
    return replace(usual, **changes)


@pytest.fixture
def recipe() -> Recipe:
    return small_recipe()
