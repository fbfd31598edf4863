"""Where a small network starts from, so that it learns to follow within hours instead of weeks."""

from __future__ import annotations

import torch
from torch import nn

from masklet.model.memory_attention import MemoryAttention
from masklet.model.mobile import Mobile
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.pretrained import load_lite0

SHARPNESS = 1.5
FUSE_SCALE = 0.1


def start_pico(network: SegmentationNetwork) -> None:
    """ImageNet features; memory attention that begins as a comparison of looks and does nothing else."""
    assert isinstance(network.trunk, Mobile), "pico has the mobile trunk"
    load_lite0(network.trunk)
    with torch.no_grad():
        compare_looks(network.memory_attention)
        for block in network.memory_encoder.fuse:
            block.scale.fill_(FUSE_SCALE)
        network.mask_decoder.presence_head.layers[-1].bias.fill_(2.0)


def compare_looks(attention: MemoryAttention) -> None:
    """Equal query and key projections: what looks alike attends to each other from the first step on."""
    for layer in attention.layers:
        cross = layer.cross_attention
        nn.init.orthogonal_(cross.query.weight, gain=SHARPNESS)
        cross.key.weight.copy_(cross.query.weight)
        for silent in (cross.query.bias, cross.key.bias):
            nn.init.zeros_(silent)
        for quiet in (layer.self_attention.out, layer.mlp.layers[-1]):
            nn.init.zeros_(quiet.weight)
            nn.init.zeros_(quiet.bias)
