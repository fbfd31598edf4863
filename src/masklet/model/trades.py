"""Networks that are faster than they were trained to be, and less accurate."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from torch import nn

from masklet.model.config import TRUNK_STRIDE, Trades
from masklet.model.memory_tokens import KeysFromImage, KeysFromMemory
from masklet.model.sam2 import SegmentationNetwork


def traded(network: SegmentationNetwork, trades: Trades) -> SegmentationNetwork:
    """A network that shares the weights of ``network`` and computes less. Raises ValueError for impossible sizes."""
    trades = trades.resolved(network.config)
    tensors = (*network.parameters(), *network.buffers())
    other = deepcopy(network, {id(tensor): tensor for tensor in tensors})
    if trades.image_size is not None:
        _resize(other, trades.image_size)
    if trades.memories is not None:
        _keep_slots(other, trades.memories)
    if trades.pooled_memory != 1:
        _pool(other, trades.pooled_memory)
    if trades.detailed_memory is not None:
        _detail(other, trades.detailed_memory)
    return other


def _resize(network: SegmentationNetwork, side: int) -> None:
    if side < TRUNK_STRIDE or side % TRUNK_STRIDE:
        raise ValueError(f"image_size must be a multiple of {TRUNK_STRIDE} pixels, got {side}")
    network.config = replace(network.config, image_size=side, still_size=0)


def _keep_slots(network: SegmentationNetwork, slots: int) -> None:
    """The most recent ones and the last, which is the conditioning frames'."""
    trained = network.config.memory.slots
    if not 2 <= slots <= trained:
        raise ValueError(f"memories must be from 2 to the {trained} that the network was trained with, got {slots}")
    tokens = _tokens(network)
    kept = [*range(slots - 1), trained - 1]
    tokens.age = nn.Parameter(tokens.age.detach()[kept], requires_grad=tokens.age.requires_grad)
    network.config = replace(network.config, memory=replace(network.config.memory, slots=slots))


def _pool(network: SegmentationNetwork, cells: int) -> None:
    sides = network.config.cells
    if cells < 1 or sides % cells:
        raise ValueError(f"pooled_memory must divide the {sides} cells of a side, got {cells}")
    _tokens(network).pooled = cells


def _detail(network: SegmentationNetwork, share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"detailed_memory must be a share from 0 to 1, got {share}")
    tokens = _tokens(network)
    if tokens.pooled > 1 and share < 1:
        raise ValueError("expected one of pooled_memory and detailed_memory, got both; leave one")
    tokens.detailed = share
    network.config = replace(network.config, memory=replace(network.config.memory, detailed=share))


def _tokens(network: SegmentationNetwork) -> KeysFromMemory | KeysFromImage:
    if not isinstance(network.memory_tokens, (KeysFromMemory, KeysFromImage)):
        raise ValueError("these weights hold no memory that could be made smaller; leave memories and pooled_memory")
    return network.memory_tokens
