"""What was done to a document, line by line in a file, so that a session outlives the server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


class Journal:
    """Lines of JSON at the end of a file, each there as soon as it is written.

    A full disk ends the journal, not the session.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def write(self, *entry: Any) -> None:
        """One line."""
        if self._file.closed:
            return
        try:
            self._file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        except OSError:
            log.exception("a session can no longer be kept")
            self.close()

    def close(self) -> None:
        """Closing again does nothing."""
        self._file.close()


def entries(path: Path) -> Iterator[list[Any]]:
    """The lines of a journal. One that was cut off in the middle of a line ends there."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            yield json.loads(line)
