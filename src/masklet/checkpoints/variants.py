"""Networks that differ from their configuration, because a file has less or more than it says."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from masklet.checkpoints.errors import CheckpointError
from masklet.model.positions import FourierPositions
from masklet.model.sam2 import SegmentationNetwork

MEMORY_PARTS = ("mask_as_prompt", "pointer", "memory_encoder", "mark_absent", "memory_tokens", "memory_attention")
"""Modules that only videos need."""

GRID_FREQUENCIES = "prompt_encoder.positions.of_grid.frequencies"


class MemoryMissing(nn.Module):
    """Stands where the weights hold no memory."""

    def forward(self, *args: object) -> Tensor:
        raise CheckpointError(
            "these weights hold the image part alone and cannot follow anything through a video; "
            "expected weights with memory: take a published checkpoint or those of transformers' Sam2VideoModel"
        )


class SeparatePositions(FourierPositions):
    """Points and picture placed by two matrices: transformers has two, which are equal only in published weights."""

    def __init__(self, channels: int):
        super().__init__(channels)
        self.of_grid = FourierPositions(channels)

    def grid(self, h: int, w: int) -> Tensor:
        return self.of_grid.grid(h, w)


def image_part_only(tensors: Mapping[str, Tensor]) -> bool:
    """Whether all that concerns memory is absent."""
    return not any(name.partition(".")[0] in MEMORY_PARTS for name in tensors)


def adapt(network: SegmentationNetwork, tensors: Mapping[str, Tensor]) -> None:
    """Give a network the parts that ``tensors`` (our names) are for."""
    if image_part_only(tensors):
        network.has_memory = False
        for name in MEMORY_PARTS:
            network.add_module(name, MemoryMissing())
    if GRID_FREQUENCIES in tensors:
        network.prompt_encoder.positions = SeparatePositions(network.config.width)
