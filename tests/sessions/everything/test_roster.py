from __future__ import annotations

import numpy as np
import pytest

from masklet.masks import Rle, encode_rle
from masklet.sessions.everything.roster import Roster, overlaps
from masklet.sessions.everything.settings import MaskletSettings

from .conftest import rectangle


def area(x0: int, y0: int, x1: int, y1: int) -> Rle:
    return encode_rle(rectangle(x0, y0, x1, y1))


def roster_of(*born: int) -> Roster:
    roster = Roster(MaskletSettings(merge_after=2, max_objects=3, retire_after=5))
    for frame in born:
        roster.admit(frame)
    return roster


EVERYWHERE = area(0, 0, 100, 90)
NOWHERE = area(0, 0, 0, 0)


def test_numbers_count_from_one_and_are_never_given_twice():
    roster = roster_of(0, 0)
    roster.dismiss(2)
    assert roster.admit(4) == 3
    assert roster.objects == (1, 3)


def test_objects_that_stay_alike_become_the_older_one():
    roster = roster_of(0, 0)
    assert roster.note(1, {1: area(0, 0, 20, 20), 2: area(0, 0, 20, 20)}) == {}
    assert roster.note(2, {1: area(5, 0, 25, 20), 2: area(5, 0, 25, 19)}) == {2: 1}
    assert roster.objects == (1,)


def test_objects_that_are_alike_now_and_then_stay_apart():
    roster = roster_of(0, 0)
    for frame in range(1, 9):
        assert roster.note(frame, {1: area(0, 0, 20, 20), 2: area(0, 0, 20, 20 if frame % 2 else 5)}) == {}


def test_three_that_are_alike_become_the_first_of_them():
    roster = roster_of(0, 0, 0)
    same = {obj: area(0, 0, 20, 20) for obj in (1, 2, 3)}
    roster.note(1, same)
    assert roster.note(2, same) == {2: 1, 3: 1}


def test_a_later_object_inside_an_earlier_one_is_a_piece_of_it():
    roster = roster_of(0, 4)
    for frame in (5, 6):
        merged = roster.note(frame, {1: EVERYWHERE, 2: area(10, 10, 20, 20)})
    assert merged == {2: 1}


def test_parts_that_were_found_together_with_their_whole_stay():
    roster = roster_of(0, 0)
    for frame in range(1, 6):
        assert roster.note(frame, {1: EVERYWHERE, 2: area(10, 10, 20, 20)}) == {}


def test_an_earlier_object_inside_a_later_one_stays():
    roster = roster_of(0, 4)
    for frame in range(5, 9):
        assert roster.note(frame, {1: area(10, 10, 20, 20), 2: EVERYWHERE}) == {}


def test_objects_that_are_both_out_of_sight_are_not_alike():
    roster = roster_of(0, 0)
    for frame in range(1, 6):
        assert roster.note(frame, {1: NOWHERE, 2: NOWHERE}) == {}


def test_room_is_made_by_those_that_are_longest_out_of_sight_and_only_where_it_is_needed():
    roster = roster_of(0, 0, 0)
    roster.note(2, {1: area(0, 0, 9, 9), 2: NOWHERE, 3: area(50, 0, 59, 9)})
    for frame in range(3, 10):
        roster.note(frame, {1: NOWHERE, 2: NOWHERE, 3: area(50, 0, 59, 9)})
    assert roster.make_room(0, 9) == []
    assert roster.make_room(1, 9) == [2]
    assert roster.make_room(2, 9) == [1]
    assert roster.make_room(3, 9) == []
    assert (roster.objects, roster.room) == ((3,), 2)


def test_objects_that_were_seen_lately_stay_although_there_is_no_room():
    roster = roster_of(0, 0, 0)
    assert roster.make_room(2, 4) == []


def test_overlaps_are_worked_out_from_shares_and_areas():
    shares = np.array([[1.0, 0.5, 0.0], [0.25, 1.0, 0.0], [0.0, 0.0, 0.0]])
    found = overlaps(shares, np.array([40, 80, 0]))
    assert found == pytest.approx(np.array([[1, 0.2, 0], [0.2, 1, 0], [0, 0, 0]]))
