"""Objects that can be tracked in one go: their memories are of the same shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from masklet.model.outputs import FrameMemory, Recollection, stacked


@dataclass(frozen=True)
class Batch:
    """Objects, and what they remember, joined along the object axis in the same order."""

    objects: tuple[int, ...]
    recollection: Recollection


def batches(recollections: Mapping[int, Recollection], most: int) -> Iterator[Batch]:
    """Groups of at most ``most`` objects whose memories have the same ages."""
    alike: dict[object, list[int]] = {}
    for obj, recollection in recollections.items():
        alike.setdefault(ages(recollection), []).append(obj)
    for group in alike.values():
        for start in range(0, len(group), most):
            objects = tuple(group[start : start + most])
            yield Batch(objects, joined([recollections[obj] for obj in objects]))


def ages(recollection: Recollection) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Temporal slots of the maps and ages of the pointers."""
    return tuple(slot for slot, _ in recollection.maps), tuple(age for age, _ in recollection.pointers)


def joined(recollections: Sequence[Recollection]) -> Recollection:
    """One recollection of several objects whose memories have the same ages."""
    first = recollections[0]
    if len(recollections) == 1:
        return first
    maps: list[tuple[int, FrameMemory]] = [
        (slot, _stacked([recollection.maps[i][1] for recollection in recollections]))
        for i, (slot, _) in enumerate(first.maps)
    ]
    pointers = [
        (age, torch.cat([recollection.pointers[i][1] for recollection in recollections]))
        for i, (age, _) in enumerate(first.pointers)
    ]
    return replace(first, maps=maps, pointers=pointers)


def _stacked(memories: Sequence[FrameMemory]) -> FrameMemory:
    """What several objects remember of frames; of one and the same frame its keys once."""
    keys_olhnd = memories[0].keys_olhnd
    if any(memory.keys_olhnd is not keys_olhnd for memory in memories):
        return stacked(memories)
    return replace(stacked([replace(memory, keys_olhnd=None) for memory in memories]), keys_olhnd=keys_olhnd)
