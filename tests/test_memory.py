from __future__ import annotations

import pytest
import torch

from masklet.memory import MemoryBank, nearest_frames
from masklet.model.config import MemoryConfig
from masklet.model.outputs import FrameMemory, Recollection

CONFIG = MemoryConfig(slots=4, pointers=5)
CONDITIONING_SLOT = 3


def memory(frame: int) -> FrameMemory:
    """A memory that tells its frame."""
    return FrameMemory(torch.full((1, 1, 1, 1), float(frame)), torch.full((1, 1), float(frame)))


def bank(conditioning: list[int], tracked: list[int], **options) -> MemoryBank:
    return MemoryBank(CONFIG, {t: memory(t) for t in conditioning}, {t: memory(t) for t in tracked}, **options)


def maps(recollection: Recollection) -> list[tuple[int, int]]:
    """(slot, frame) of the attended maps."""
    return sorted((slot, int(found.features_ochw)) for slot, found in recollection.maps)


def pointers(recollection: Recollection) -> dict[int, int]:
    """Frame -> age of the attended pointers."""
    return {int(pointer): age for age, pointer in recollection.pointers}


def test_a_frame_attends_to_conditioning_frames_and_the_most_recent_ones():
    found = bank([0], list(range(1, 10))).select(10)
    assert maps(found) == [(0, 9), (1, 8), (2, 7), (CONDITIONING_SLOT, 0)]


def test_going_backward_the_frames_after_it_are_the_recent_ones():
    found = bank([9], list(range(1, 9))).select(2, reverse=True)
    assert maps(found) == [(0, 3), (1, 4), (2, 5), (CONDITIONING_SLOT, 9)]


def test_conditioning_frames_still_to_come_are_attended_to_but_their_pointers_are_not():
    found = bank([0, 20], [9]).select(10)
    assert (CONDITIONING_SLOT, 20) in maps(found)
    assert pointers(found) == {0: 10, 9: 1}


def test_going_backward_only_pointers_from_later_frames_count():
    found = bank([0, 20], [11]).select(10, reverse=True)
    assert pointers(found) == {20: 10, 11: 1}


def test_pointers_reach_as_far_back_as_the_configuration_says():
    found = bank([0], list(range(1, 10))).select(10)
    assert pointers(found) == {0: 10, 9: 1, 8: 2, 7: 3, 6: 4}
    assert found.pointer_span == 4


@pytest.mark.parametrize(("frames", "span"), [(None, 4), (100, 4), (3, 2), (1, 1)])
def test_pointer_times_are_measured_by_the_length_of_short_videos(frames, span):
    assert bank([0], [1]).select(2, frames=frames).pointer_span == span


def test_networks_without_pointers_get_none():
    found = MemoryBank(MemoryConfig(slots=4, pointers=0), {0: memory(0)}, {1: memory(1)}).select(2)
    assert found.pointers == []


def test_a_gap_in_what_was_tracked_leaves_its_slot_empty():
    assert maps(bank([0], [9, 7]).select(10)) == [(0, 9), (2, 7), (CONDITIONING_SLOT, 0)]


@pytest.mark.parametrize(
    ("frame", "reverse", "expected"), [(11, False, [10, 5, 0]), (10, False, [9, 5, 0]), (12, True, [13, 15, 20])]
)
def test_with_a_stride_the_older_ones_lie_on_its_multiples(frame, reverse, expected):
    found = bank([], list(range(30)), stride=5).select(frame, reverse=reverse)
    assert [t for _, t in maps(found)] == expected


def test_only_the_nearest_conditioning_frames_are_attended_to_when_limited():
    found = bank([0, 5, 9, 30], [], max_conditioning=2).select(10)
    assert [t for slot, t in maps(found) if slot == CONDITIONING_SLOT] == [9, 30]


def test_a_conditioning_frame_that_is_left_out_counts_as_a_recent_one():
    found = bank([8, 9, 30], [], max_conditioning=2).select(10)
    assert (1, 8) in maps(found)
    assert pointers(found) == {9: 1, 8: 2}


def test_a_frame_can_leave_its_own_memory_out():
    assert maps(bank([0, 5], []).select(5, own=False)) == [(CONDITIONING_SLOT, 0)]
    assert (CONDITIONING_SLOT, 5) in maps(bank([0, 5], []).select(5))


def test_the_nearest_frames_are_before_then_after_then_the_closest():
    assert nearest_frames([0, 4, 8, 20], 10, 1) == [8]
    assert nearest_frames([0, 4, 8, 20], 10, 2) == [8, 20]
    assert nearest_frames([0, 4, 8, 20], 10, 3) == [8, 20, 4]
    assert nearest_frames([0, 4], 10, 5) == [0, 4]


def test_where_only_some_frames_leave_memories_the_most_recent_of_those_are_attended_to():
    found = bank([0], [4, 8, 12, 16], sparse=True).select(18)
    assert maps(found) == [(0, 16), (1, 12), (2, 8), (CONDITIONING_SLOT, 0)]


def test_going_backward_the_nearest_later_memories_are_the_recent_ones():
    found = bank([20], [2, 8, 12, 16], sparse=True).select(6, reverse=True)
    assert maps(found) == [(0, 8), (1, 12), (2, 16), (CONDITIONING_SLOT, 20)]


def test_a_stride_leaves_out_remembered_frames_where_only_some_are():
    found = bank([0], [4, 8, 12, 16], sparse=True, stride=2).select(18)
    assert maps(found) == [(0, 16), (1, 8), (CONDITIONING_SLOT, 0)]
