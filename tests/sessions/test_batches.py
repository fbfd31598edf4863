from __future__ import annotations

import torch

from masklet.model.outputs import FrameMemory, Recollection
from masklet.sessions.batches import batches


def memory(value: float, keys: torch.Tensor | None) -> FrameMemory:
    return FrameMemory(torch.full((1, 4, 2, 2), value), torch.zeros(1, 0), keys)


def recollection(*maps: tuple[int, FrameMemory]) -> Recollection:
    return Recollection(maps=list(maps), pointers=[], pointer_span=1)


def test_objects_whose_memories_have_other_ages_are_not_tracked_together():
    old, new = recollection((1, memory(1, None))), recollection((0, memory(2, None)))
    found = list(batches({1: old, 2: new, 3: old}, most=8))
    assert [batch.objects for batch in found] == [(1, 3), (2,)]
    assert found[0].recollection.maps[0][1].features_ochw[:, 0, 0, 0].tolist() == [1, 1]


def test_keys_of_a_frame_that_objects_share_are_held_once():
    shared, other = torch.zeros(1, 2, 2, 4, 2), torch.ones(1, 2, 2, 4, 2)
    first = recollection((1, memory(1, shared)), (0, memory(2, shared)))
    second = recollection((1, memory(3, shared)), (0, memory(4, other)))
    (batch,) = batches({1: first, 2: second}, most=8)
    same, apart = (memory for _, memory in batch.recollection.maps)
    assert same.keys_olhnd is shared
    assert same.features_ochw[:, 0, 0, 0].tolist() == [1, 3]
    assert apart.keys_olhnd is not None
    assert apart.keys_olhnd[:, 0, 0, 0, 0].tolist() == [0, 1]
