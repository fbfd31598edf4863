from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from masklet.model.sam2 import SegmentationNetwork
from masklet.sessions.everything import MaskletFrame, MaskletGenerator, MaskletSettings, MaskSettings

from .conftest import BLUE, GREEN, PICTURE_HW, RED, ColourNetwork, iou, painted, rectangle

QUICK = MaskSettings(points_per_side=8, min_mask_region_area=20)
ORANGE = (184, 85, 20)


def follow(network: SegmentationNetwork, clip: Any, **options: Any) -> list[MaskletFrame]:
    usual = MaskletSettings(first=QUICK, discovery=QUICK, min_region_area=20)
    with MaskletGenerator(network, clip, usual, **options) as generator:
        return list(generator.follow())


def objects(frames: Sequence[MaskletFrame]) -> list[tuple[int, ...]]:
    return [frame.objects for frame in frames]


def moving(t: int) -> tuple[tuple[int, int, int], int, int, int, int]:
    return RED, 8 + 4 * t, 10, 32 + 4 * t, 34


def test_objects_of_the_first_frame_are_followed_under_their_numbers(seer: SegmentationNetwork):
    clip = [painted(moving(t), (GREEN, 20, 50, 60, 80)) for t in range(6)]
    frames = follow(seer, clip)
    assert frames[0].found == (1, 2)
    assert objects(frames) == [(1, 2)] * 6
    red = next(obj for obj in (1, 2) if frames[0].mask(obj)[20, 20])
    for t, frame in enumerate(frames):
        assert frame.frame == t
        assert iou(frame.mask(red), rectangle(8 + 4 * t, 10, 32 + 4 * t, 34)) > 0.85
        assert iou(frame.mask(3 - red), rectangle(20, 50, 60, 80)) > 0.85
        assert frame.presence[red] > 0.9


def test_an_object_that_enters_later_is_found_at_the_next_search(seer: SegmentationNetwork):
    clip = [painted(moving(t), *([(BLUE, 60, 60, 100, 90)] if t >= 3 else [])) for t in range(8)]
    frames = follow(seer, clip, discover_every=4)
    assert objects(frames) == [(1,)] * 4 + [(1, 2)] * 4
    assert [frame.found for frame in frames] == [(1,), (), (), (), (2,), (), (), ()]
    assert iou(frames[7].mask(2), rectangle(60, 60, 100, 90)) > 0.85


def test_searching_can_be_switched_off(seer: SegmentationNetwork, colour_network: ColourNetwork):
    clip = [painted(moving(t), *([(BLUE, 60, 60, 100, 90)] if t else [])) for t in range(5)]
    assert objects(follow(seer, clip, discover_every=0)) == [(1,)] * 5
    assert colour_network.asked == 64
    assert colour_network.encoded == 1 + 5


def test_an_object_that_was_hidden_comes_back_under_its_number(seer: SegmentationNetwork):
    clip = [painted(*([] if 2 <= t < 5 else [moving(t)]), (GREEN, 20, 50, 60, 80)) for t in range(8)]
    frames = follow(seer, clip, discover_every=2)
    assert objects(frames) == [(1, 2)] * 8
    red = next(obj for obj in (1, 2) if frames[0].mask(obj)[20, 20])
    assert [bool(frame.mask(red).any()) for frame in frames] == [True] * 2 + [False] * 3 + [True] * 3
    assert frames[3].presence[red] < 0.5
    assert frames[3].stability[red] == 0
    assert all(0 < frame.stability[3 - red] <= 1 for frame in frames)


def test_two_numbers_of_one_object_become_one(seer: SegmentationNetwork):
    first = painted((RED, 8, 10, 40, 40), (ORANGE, 50, 10, 90, 40))
    between = (217, 52, 20)
    later = painted((between, 8, 10, 40, 40), (between, 50, 10, 90, 40))
    frames = follow(seer, [first, *[later] * 5], merge_after=3, discover_every=0)
    assert objects(frames) == [(1, 2)] * 3 + [(1,)] * 3
    assert [dict(frame.merged) for frame in frames] == [{}, {}, {}, {2: 1}, {}, {}]


def test_specks_and_holes_are_removed_on_every_frame(seer: SegmentationNetwork):
    specks = [(RED, 100, 80, 106, 86), (BLUE, 20, 20, 25, 25)]
    clip = [painted((RED, 8, 8, 48, 48), *(specks if t else [])) for t in range(3)]
    for frame in follow(seer, clip, min_region_area=100, discover_every=0):
        assert frame.mask(1)[22, 22]
        assert not frame.mask(1)[83, 103]


def test_the_number_of_objects_is_bounded_and_the_most_certain_come_first(
    seer: SegmentationNetwork, colour_network: ColourNetwork
):
    clip = [painted((RED, 5, 5, 30, 30), (GREEN, 40, 5, 70, 30), (BLUE, 80, 5, 120, 30))] * 5
    frames = follow(seer, clip, max_objects=2, discover_every=1)
    assert objects(frames) == [(1, 2)] * 5
    assert colour_network.followed == 2 * 4


def test_the_points_of_a_search_are_bounded_and_others_each_time(
    seer: SegmentationNetwork, colour_network: ColourNetwork
):
    clip = [painted(moving(0))] * 2 + [painted(moving(0), (BLUE, 60, 60, 100, 90))] * 12
    frames = follow(seer, clip, max_points=6, discover_every=1)
    assert colour_network.asked <= 64 + 6 * 13
    assert frames[-1].objects == (1, 2)


def test_covered_points_are_not_asked_at(seer: SegmentationNetwork, colour_network: ColourNetwork):
    follow(seer, [painted((RED, 0, 0, 64, 48))] * 2, discover_every=1)
    assert colour_network.asked == 64 + 48


def test_an_object_that_is_long_gone_makes_room_and_its_number_is_not_given_again(seer: SegmentationNetwork):
    clip = [painted(moving(0) if t < 2 else (BLUE, 60, 60, 100, 90)) for t in range(8)]
    frames = follow(seer, clip, max_objects=1, retire_after=4, discover_every=1)
    assert objects(frames) == [(1,)] * 5 + [(2,)] * 3
    assert frames[5].retired == (1,)
    assert frames[5].found == (2,)


def test_an_object_may_come_after_an_empty_beginning(seer: SegmentationNetwork):
    clip = [painted(*([moving(t)] if t else [])) for t in range(4)]
    assert objects(follow(seer, clip, discover_every=2)) == [(), (), (1,), (1,)]


def test_frames_may_come_from_an_iterator(seer: SegmentationNetwork):
    frames = follow(seer, (painted(moving(t)) for t in range(4)))
    assert objects(frames) == [(1,)] * 4


def test_results_do_not_pile_up(seer: SegmentationNetwork):
    def endless() -> Iterator[np.ndarray]:
        return (painted(moving(t % 5)) for t in itertools.count())

    settings = MaskletSettings(first=QUICK, discovery=QUICK, min_region_area=20)
    with MaskletGenerator(seer, endless(), settings) as generator:
        for _ in itertools.islice(generator.follow(), 30):
            pass
        held = generator._session._objects[1]
        assert len(held.masks) <= 6
        assert len(held.bank.tracked) <= 6
        assert len(held.passed) <= 6


def test_start_and_end_bound_the_frames_and_the_first_search_is_reported(seer: SegmentationNetwork):
    told = []
    settings = MaskletSettings(first=MaskSettings(points_per_side=8, points_per_batch=32), min_region_area=20)
    with MaskletGenerator(seer, [painted(moving(t)) for t in range(6)], settings) as generator:
        frames = list(generator.follow(1, 3, watch=lambda done, total: told.append((done, total))))
        assert [frame.frame for frame in frames] == [1, 2, 3]
        assert told == [(32, 64), (64, 64)]
        with pytest.raises(ValueError, match="make another one"):
            next(generator.follow())


def test_the_first_frame_is_searched_as_in_the_data_engine_by_default():
    first = MaskletSettings().first
    assert [len(grid) for grid in first.grids] == [32**2, 16**2, 4**2]
    assert first.crop_n_layers == 2
    assert first.min_mask_region_area == MaskletSettings().min_region_area == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_objects": 0}, "max_objects must be at least 1"),
        ({"max_covered": 1.5}, "max_covered must be from 0 to 1"),
        ({"discover_every": -1}, "discover_every must be at least 0"),
    ],
)
def test_settings_without_a_meaning_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        MaskletSettings(**options)


def test_masks_have_the_size_of_the_video(seer: SegmentationNetwork):
    (frame,) = follow(seer, [painted(moving(0))])
    assert frame.mask(1).shape == frame.video_hw == PICTURE_HW
