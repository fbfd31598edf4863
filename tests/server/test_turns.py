from __future__ import annotations

import logging
from collections.abc import Iterator
from threading import Event

import pytest

from masklet.server.turns import JOBS_IN_A_ROW, Turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns()
    yield made
    made.close()


def held(turns: Turns) -> Event:
    """Keeps the thread busy until the event is set, so that what follows is queued."""
    begun, gate = Event(), Event()

    def hold() -> None:
        begun.set()
        gate.wait(10)

    turns.submit("holder", hold)
    assert begun.wait(10)
    return gate


def finish(turns: Turns) -> None:
    done = Event()

    def wait_for_steps() -> bool:
        done.set()
        return False

    turns.follow("last", wait_for_steps)
    assert done.wait(10)


def test_a_second_users_click_is_answered_while_the_first_ones_video_is_tracked(turns: Turns):
    seen: list[str] = []
    clicked = Event()

    def track() -> bool:
        seen.append("frame")
        if len(seen) == 3:
            turns.submit("second", lambda: (seen.append("click"), clicked.set()))
        return len(seen) < 8

    turns.follow("first", track)
    assert clicked.wait(10)
    finish(turns)
    assert seen[:5] == ["frame", "frame", "frame", "click", "frame"]


def test_trackings_advance_by_turns(turns: Turns):
    gate = held(turns)
    seen: list[str] = []
    for owner in ("a", "b"):
        turns.follow(owner, lambda owner=owner: (seen.append(owner), seen.count(owner) < 3)[1])
    gate.set()
    finish(turns)
    while len(seen) < 6:
        finish(turns)
    assert seen == ["a", "b"] * 3


def test_one_user_with_many_clicks_does_not_keep_another_one_waiting(turns: Turns):
    gate = held(turns)
    seen: list[str] = []
    for owner in ("a", "a", "a", "b"):
        turns.submit(owner, lambda owner=owner: seen.append(owner))
    assert turns.waiting("a") == 3
    gate.set()
    finish(turns)
    assert seen == ["a", "b", "a", "a"]


def test_a_flood_of_clicks_does_not_stop_tracking(turns: Turns):
    gate = held(turns)
    seen: list[str] = []
    for _ in range(3 * JOBS_IN_A_ROW):
        turns.submit("a", lambda: seen.append("click"))
    turns.follow("b", lambda: bool(seen.append("frame")))
    gate.set()
    finish(turns)
    assert seen.index("frame") == JOBS_IN_A_ROW - 1


def test_an_error_ends_one_job_and_nothing_else(turns: Turns, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.ERROR):
        turns.submit("a", lambda: 1 / 0)
        turns.follow("b", lambda: bool(1 / 0))
        finish(turns)
    assert len(caplog.records) == 2


def test_what_is_forgotten_is_not_run(turns: Turns):
    gate = held(turns)
    turns.submit("a", lambda: pytest.fail("ran"))
    turns.follow("a", lambda: pytest.fail("ran"))
    turns.forget("a")
    gate.set()
    finish(turns)
