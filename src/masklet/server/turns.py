"""Who uses the network next: one thread, one frame a turn, clicks first, everyone in turn."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from threading import Condition, Thread

Job = Callable[[], object]
Steps = Callable[[], bool]

JOBS_IN_A_ROW = 8
"""After so many jobs, what goes on gets a turn, so that a flood of clicks does not stop all tracking."""

log = logging.getLogger(__name__)


class Turns:
    """One thread that serves owners by turns.

    What is asked once (``submit``) comes before what goes on (``follow``), but for one turn in nine, and of each kind
    every owner gets one turn before any gets a second one. Jobs answer for their own errors: those that escape are
    logged and end the job only.
    """

    def __init__(self) -> None:
        self._condition = Condition()
        self._jobs: OrderedDict[Hashable, deque[Job]] = OrderedDict()
        self._steps: OrderedDict[Hashable, Steps] = OrderedDict()
        self._in_a_row = 0
        self._is_open = True
        self._thread = Thread(target=self._serve, name="masklet-network", daemon=True)
        self._thread.start()

    def submit(self, owner: Hashable, job: Job) -> None:
        """Run a job soon, after earlier ones of the same owner."""
        with self._condition:
            self._jobs.setdefault(owner, deque()).append(job)
            self._condition.notify()

    def waiting(self, owner: Hashable) -> int:
        """Jobs of an owner that wait."""
        with self._condition:
            return len(self._jobs.get(owner, ()))

    def follow(self, owner: Hashable, step: Steps) -> None:
        """Call ``step`` again and again, one call a turn, until it says False. Replaces the owner's earlier one."""
        with self._condition:
            self._steps[owner] = step
            self._condition.notify()

    def stop(self, owner: Hashable) -> None:
        """End what the owner follows; a step that is running still finishes."""
        with self._condition:
            self._steps.pop(owner, None)

    def forget(self, owner: Hashable) -> None:
        """Drop everything of an owner."""
        with self._condition:
            self._jobs.pop(owner, None)
            self._steps.pop(owner, None)

    def close(self) -> None:
        """End the thread after the turn that is running."""
        with self._condition:
            self._is_open = False
            self._condition.notify()
        self._thread.join()

    def _serve(self) -> None:
        while self._take_turn():
            pass

    def _take_turn(self) -> bool:
        """One turn, of which nothing is held afterwards. False when there will be no more."""
        with self._condition:
            self._condition.wait_for(lambda: self._jobs or self._steps or not self._is_open)
            if not self._is_open:
                return False
            turn = self._next_job() or self._next_step()
        try:
            turn()
        except Exception:
            log.exception("a turn of the network failed")
        return True

    def _next_job(self) -> Job | None:
        if not self._jobs or (self._steps and self._in_a_row >= JOBS_IN_A_ROW):
            return None
        self._in_a_row += 1
        owner, jobs = self._jobs.popitem(last=False)
        job = jobs.popleft()
        if jobs:
            self._jobs[owner] = jobs
        return job

    def _next_step(self) -> Job:
        self._in_a_row = 0
        owner, step = self._steps.popitem(last=False)
        self._steps[owner] = step
        return lambda: self._take_step(owner, step)

    def _take_step(self, owner: Hashable, step: Steps) -> None:
        goes_on = False
        try:
            goes_on = step()
        finally:
            with self._condition:
                if not goes_on and self._steps.get(owner) is step:
                    del self._steps[owner]
