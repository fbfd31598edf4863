"""Where a small network starts from, so that it learns to follow within hours instead of weeks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from masklet.checkpoints import load_network
from masklet.model.layers import Mlp
from masklet.model.mask_decoder import TwoWayLayer
from masklet.model.memory_attention import MemoryAttention, MemoryAttentionLayer
from masklet.model.memory_encoder import ConvNeXtBlock
from masklet.model.mobile import Mobile
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.pretrained import load_lite0

SHARPNESS = 1.5
QUIET_LABELS = 0.2
FUSE_SCALE = 0.1
PRESENT_LOGIT = 2.0


def start_pico(network: SegmentationNetwork) -> None:
    """ImageNet features; attention that begins as a comparison: of looks in the memory, of places in the decoder."""
    assert isinstance(network.trunk, Mobile), "pico has the mobile trunk"
    load_lite0(network.trunk)
    with torch.no_grad():
        compare_looks(network.memory_attention)
        compare_places(network)
        for block in network.memory_encoder.fuse:
            assert isinstance(block, ConvNeXtBlock)
            block.scale.fill_(FUSE_SCALE)
        last_linear(network.mask_decoder.presence_head).bias.fill_(PRESENT_LOGIT)


@dataclass(frozen=True)
class StartFrom:
    """Weights to go on from: a name that ``masklet models`` lists, or a file. The picture size may be another one."""

    weights: str | Path

    def __call__(self, network: SegmentationNetwork) -> None:
        network.load_state_dict(load_network(self.weights).state_dict())


def compare_looks(attention: MemoryAttention) -> None:
    """Equal query and key projections: what looks alike attends to each other from the first step on."""
    for layer in attention.layers:
        assert isinstance(layer, MemoryAttentionLayer)
        cross = layer.cross_attention
        nn.init.orthogonal_(cross.query.weight, gain=SHARPNESS)
        cross.key.weight.copy_(cross.query.weight)
        for silent in (cross.query.bias, cross.key.bias):
            nn.init.zeros_(silent)
        for quiet in (layer.self_attention.out, last_linear(layer.mlp)):
            nn.init.zeros_(quiet.weight)
            nn.init.zeros_(quiet.bias)


def compare_places(network: SegmentationNetwork) -> None:
    """Prompts and image attend to each other where they lie, from the first step on.

    Places are known by the same Fourier features on both sides, so what is added to queries and keys alike compares
    them. Labels are made quiet, so that they do not drown the places of the points that carry them.
    """
    transformer = network.mask_decoder.transformer
    looks = [transformer.last_look]
    for layer in transformer.layers:
        assert isinstance(layer, TwoWayLayer)
        looks += [layer.token_to_image, layer.image_to_token]
    for look in looks:
        same = nn.init.orthogonal_(torch.empty_like(look.query.weight), gain=SHARPNESS)
        look.query.weight.add_(same)
        look.key.weight.add_(same)
    network.prompt_encoder.labels.weight.mul_(QUIET_LABELS)


def last_linear(mlp: Mlp) -> nn.Linear:
    """The layer that an Mlp ends with."""
    last = mlp.layers[-1]
    assert isinstance(last, nn.Linear)
    return last
