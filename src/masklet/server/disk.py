"""How much of the disk a server takes."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from threading import Lock

from masklet.server.errors import Refusal

MEASURE_SECONDS = 5.0


class Disk:
    """All that lies in one folder, measured every few seconds, and what is left on the disk beside it."""

    def __init__(self, folder: Path, most_bytes: int, free_bytes: int) -> None:
        """At most ``most_bytes`` are taken, and ``free_bytes`` of the disk are left for others."""
        self._folder = folder
        self._most_bytes = most_bytes
        self._free_bytes = free_bytes
        self._lock = Lock()
        self._measured = -MEASURE_SECONDS
        self._room = 0

    def check(self, coming: int = 0) -> None:
        """Raises Refusal when so many more bytes have no room."""
        if coming >= self.room:
            raise Refusal(507, "this server has no room left; try again in a while, or close videos that are done")

    def take(self, count: int) -> None:
        """Counts bytes that were written since the folder was measured."""
        with self._lock:
            self._room -= count

    @property
    def room(self) -> int:
        """Bytes that may be written still. May be negative."""
        with self._lock:
            if time.monotonic() - self._measured >= MEASURE_SECONDS:
                free = shutil.disk_usage(self._folder).free - self._free_bytes
                self._room = min(self._most_bytes - _size_bytes(self._folder), free)
                self._measured = time.monotonic()
            return self._room


def _size_bytes(folder: Path) -> int:
    """Of all files in a folder, of which some may vanish meanwhile."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.stat(os.path.join(place, name)).st_size  # noqa: PTH116, PTH118 - many files, often
            except FileNotFoundError:
                continue
    return size
