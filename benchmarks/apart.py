"""Contestants in processes of their own, so that what one does to its process neither helps nor hinders another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from contestants import Reference


class Apart:
    """A contestant that works in another process, where it also takes the time."""

    def __init__(self, kind: type, folder: Path, image_size: int):
        self.name: str = kind.name
        self.precisions: tuple[str, ...] = kind.precisions
        context = get_context("spawn")
        self._pipe, far = context.Pipe()
        self._process = context.Process(target=_work, args=(far, kind, folder, image_size), daemon=True)
        self._process.start()
        far.close()

    def timed(self, precision: str, verb: str, *arguments: Any) -> tuple[float, Any]:
        """Seconds that a verb of the contestant takes, and the array that it gives (None for anything else)."""
        self._pipe.send((precision, verb, arguments))
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.close()
        self._process.join()


@contextmanager
def apart(kinds: Sequence[type], folder: Path, image_size: int) -> Iterator[list[Apart]]:
    """One process for each kind of contestant."""
    with ExitStack() as stack:
        systems = [Apart(kind, folder, image_size) for kind in kinds]
        for system in systems:
            stack.callback(system.close)
        yield systems


def _work(pipe: Connection, kind: type, folder: Path, image_size: int) -> None:
    system = kind(Reference(folder, image_size))
    while True:
        try:
            precision, verb, arguments = pipe.recv()
        except EOFError:
            return
        with system.computing(precision):
            begin = time.perf_counter()
            result = getattr(system, verb)(*arguments)
            seconds = time.perf_counter() - begin
        pipe.send((seconds, result if isinstance(result, np.ndarray) else None))
