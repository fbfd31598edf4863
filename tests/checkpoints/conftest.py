"""Networks that are small enough to write and read in no time."""

from __future__ import annotations

import pytest
import torch

from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig
from masklet.model.sam2 import SegmentationNetwork

SMALL = NetworkConfig(
    name="small",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,), background_grid=(5, 5)),
    image_size=128,
    width=64,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=32,
    memory=MemoryConfig(channels=16, slots=3, pointers=4, layers=1, feedforward=32),
)


def random_network(config: NetworkConfig) -> SegmentationNetwork:
    """Every tensor random, also those that start at zero."""
    generator = torch.Generator().manual_seed(0)
    network = SegmentationNetwork(config)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return network


@pytest.fixture(scope="session")
def small_network() -> SegmentationNetwork:
    return random_network(SMALL)
