"""Work that follows behind: results are written while the next ones are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

MOST_BEHIND = 2


class Behind:
    """One thread that does what it is told, in order, at most ``most`` pieces of work behind.

    with Behind() as behind:
        behind.do(writer.add, frame, ...)

    What a piece of work raises is raised by the next ``do``, or at the end, and nothing is done after it.
    """

    def __init__(self, most: int = MOST_BEHIND):
        self._most = most
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="masklet-write")
        self._undone: deque[Future[None]] = deque()
        self._last: Future[None] | None = None

    def do(self, work: Callable[..., Any], *args: Any) -> None:
        """Take on a piece of work; waits while too much is undone."""
        self._last = self._worker.submit(_after, self._last, work, *args)
        self._undone.append(self._last)
        while self._undone and (len(self._undone) > self._most or self._undone[0].done()):
            self._undone.popleft().result()

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._worker.shutdown()
        if error is None and self._last is not None:
            self._last.result()


def _after(before: Future[None] | None, work: Callable[..., Any], *args: Any) -> None:
    """Fails as the piece of work before did, if it did."""
    if before is not None:
        before.result()
    work(*args)
