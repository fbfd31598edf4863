from __future__ import annotations

import threading

import pytest

from masklet.cli.behind import Behind


def test_work_is_done_in_order_by_another_thread_and_all_of_it_by_the_end():
    done: list[tuple[int, int]] = []
    with Behind() as behind:
        for number in range(20):
            behind.do(lambda number: done.append((number, threading.get_ident())), number)
    assert [number for number, _ in done] == list(range(20))
    assert {thread for _, thread in done} != {threading.get_ident()}


def test_no_more_is_undone_than_was_agreed():
    goes_on, taken = threading.Event(), []
    with Behind(most=2) as behind:
        for number in range(2):
            behind.do(goes_on.wait)
            taken.append(number)
        late = threading.Thread(target=lambda: (behind.do(lambda: None), taken.append(2)))
        late.start()
        late.join(0.1)
        assert taken == [0, 1]
        goes_on.set()
        late.join()
    assert taken == [0, 1, 2]


def test_an_error_is_raised_by_the_next_request_and_ends_the_work():
    done = []

    def fail() -> None:
        raise OSError("disk full")

    def write_on() -> None:
        with Behind(most=1) as behind:
            behind.do(fail)
            for number in range(5):
                behind.do(done.append, number)

    with pytest.raises(OSError, match="disk full"):
        write_on()
    assert not done


def test_an_error_of_the_last_work_is_raised_at_the_end():
    with pytest.raises(ZeroDivisionError), Behind() as behind:
        behind.do(divmod, 1, 0)


def test_an_error_of_the_caller_goes_before_those_behind():
    goes_on = threading.Event()

    def fail() -> None:
        goes_on.wait()
        raise OSError("disk full")

    def be_interrupted() -> None:
        with Behind() as behind:
            behind.do(fail)
            threading.Timer(0.1, goes_on.set).start()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        be_interrupted()
    assert goes_on.is_set()
