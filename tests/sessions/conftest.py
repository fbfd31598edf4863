"""A network small enough for tests in milliseconds, and a clip to go with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig
from masklet.model.sam2 import SegmentationNetwork

FRAMES = 10
VIDEO_HW = (48, 80)
SMALL = NetworkConfig(
    name="small-for-tests",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=64,
    width=128,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=64,
    memory=MemoryConfig(channels=32, slots=4, pointers=4, layers=1, feedforward=64),
)
KEYED = replace(
    SMALL,
    keeps_shape=True,
    memory=replace(SMALL.memory, pointers=0, keys_from_image=True, position_weight=0.0, detailed=0.3),
    dates_pointers=False,
)


def make_network(config: NetworkConfig) -> SegmentationNetwork:
    """Random weights that see every object and do not shrink what they are given."""
    torch.manual_seed(7)
    network = SegmentationNetwork(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(("fuse.0.scale", "fuse.1.scale")):
                parameter.fill_(0.3)
            elif parameter.ndim > 1:
                parameter.normal_(std=(parameter.numel() / len(parameter)) ** -0.5)
        network.get_parameter("mask_decoder.presence_head.layers.2.bias").fill_(5.0)
    return network.eval()


@pytest.fixture(scope="session")
def network() -> SegmentationNetwork:
    return make_network(SMALL)


@pytest.fixture(scope="session")
def keyed_network() -> SegmentationNetwork:
    """A network that matches on image features and keeps the shape of pictures, as the built-in one does."""
    return make_network(KEYED)


@pytest.fixture(scope="session")
def clip() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    background = rng.integers(0, 255, (*VIDEO_HW, 3), dtype=np.uint8)
    frames = []
    for t in range(FRAMES):
        frame = background.copy()
        frame[10:30, 5 + 3 * t : 25 + 3 * t] = (200, 40 + 5 * t, 60)
        frames.append(frame)
    return frames
