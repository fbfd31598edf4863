"""What a session's user sees: objects, prompts and masks by key, with versions for pages and steps for undo.

    document.begin()
    document.put(("object", 1), {"name": "Object 1"})
    document.changes(after=0)      # what a page that has seen nothing needs
    document.undo()                # the keys that changed back

With a journal, `Document.replayed` gives the same document in a later process, versions and steps included.

A page that was away asks for what changed after the last version it has seen. A value that changed often meanwhile is
sent once, so a slow page never makes a queue grow.

What is held is bounded: beyond the budget the oldest steps of undo go, and when that is not enough, ``is_full`` tells
those who would put more.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

from masklet.server.journal import Journal, entries

Key = tuple[Any, ...]
"""("object", obj), ("prompts", obj, frame), ("mask", obj, frame), ("proposal", number), ("look",) or ("status",)."""

MAX_STEPS = 500
BUDGET_BYTES = 256 << 20
KEY_BYTES, VALUE_BYTES, POINT_BYTES = 400, 200, 100
"""What a key, a value and a click take in memory beside run lengths, about."""

VERSIONS_AHEAD = 1 << 32
"""A replayed document goes on so far behind its last version, since what was only published is in no journal."""


@dataclass(frozen=True)
class MaskValue:
    """An object's mask on a frame, as it is sent and kept."""

    counts: bytes
    """COCO run lengths at the video's size, compressed."""
    score: float
    """Predicted IoU, 0 to 1."""
    area: int
    """Pixels; 0: the object is not seen."""
    tracked: bool
    """Whether propagation found it, rather than a prompt on this very frame."""


def size_bytes(value: Any) -> int:
    """What a value takes in memory, about."""
    if value is None:
        return 0
    if isinstance(value, MaskValue):
        return VALUE_BYTES + len(value.counts)
    if isinstance(value, dict) and "points" in value:
        return VALUE_BYTES + len(value["mask"] or "") + POINT_BYTES * len(value["points"])
    return VALUE_BYTES


def _plain(value: Any) -> Any:
    return {**asdict(value), "counts": value.counts.decode("ascii")} if isinstance(value, MaskValue) else value


def _mask_of(plain: dict[str, Any]) -> MaskValue:
    return MaskValue(**{**plain, "counts": plain["counts"].encode("ascii")})


@dataclass(frozen=True)
class Change:
    """A key got a value; None: it is gone."""

    version: int
    key: Key
    value: Any


@dataclass
class Step:
    """What one action of the user changed: key -> (before, after)."""

    changes: dict[Key, tuple[Any, Any]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=lambda: [0, 0])
    """Bytes of the values before and after."""

    def add(self, key: Key, now: Any, value: Any) -> None:
        """The key's value ``now`` becomes another one."""
        before, after = self.changes.get(key, (now, None))
        if key not in self.changes:
            self.sizes[0] += size_bytes(before)
        self.sizes[1] += size_bytes(value) - size_bytes(after)
        self.changes[key] = (before, value)


class Document:
    """Values by key. Written by one thread, read by any. ``budget_bytes`` bounds what is held, steps included."""

    def __init__(self, journal: Journal | None = None, budget_bytes: float = BUDGET_BYTES) -> None:
        self._journal = journal
        self._budget_bytes = budget_bytes
        self._lock = RLock()
        self._values: dict[Key, Any] = {}
        self._versions: dict[Key, int] = {}
        self._log: list[tuple[int, Key]] = []
        self._done: list[Step] = []
        self._undone: list[Step] = []
        self._step = Step()
        self._values_bytes = 0
        self._done_bytes = 0
        self.version = 0

    @classmethod
    def replayed(cls, path: Path, budget_bytes: float = BUDGET_BYTES) -> Document:
        """The document that a journal tells of, where it goes on to be written. Raises ValueError for other files."""
        document = cls(budget_bytes=math.inf)
        try:
            for kind, *entry in entries(path):
                document._replay(kind, *entry)
        except (TypeError, KeyError, IndexError) as error:
            raise ValueError(f"{path} is no journal of a session") from error
        document.version += VERSIONS_AHEAD
        document._journal = Journal(path)
        document._budget_bytes = budget_bytes
        document.begin()
        return document

    def close(self) -> None:
        """End the journal."""
        if self._journal is not None:
            self._journal.close()

    @property
    def is_full(self) -> bool:
        """Whether the budget is spent on what cannot be let go."""
        return self._held_bytes > self._budget_bytes

    @property
    def can_undo(self) -> bool:
        return bool(self._step.changes or self._done)

    @property
    def can_redo(self) -> bool:
        return bool(self._undone)

    def get(self, *key: Any) -> Any:
        """The value of a key, None if there is none."""
        return self._values.get(key)

    def keys(self, kind: str, obj: int | None = None) -> list[Key]:
        """Keys of a kind, on demand of one object only, in the order in which they came."""
        with self._lock:
            return [key for key in self._values if key[0] == kind and obj in (None, key[1])]

    def items(self, kind: str) -> list[tuple[Key, Any]]:
        """Keys and values of a kind at one moment."""
        with self._lock:
            return [(key, value) for key, value in self._values.items() if key[0] == kind]

    def begin(self) -> None:
        """What is put from now on is undone together."""
        with self._lock:
            if self._step.changes:
                self._done.append(self._step)
                self._done_bytes += self._step.sizes[0]
                self._write("begin")
            self._step = Step()
            self._let_go()

    def resume(self, key: Key) -> None:
        """What is put from now on is undone together with the last step, if that one changed ``key``."""
        with self._lock:
            self.begin()
            if self._done and key in self._done[-1].changes and not self._undone:
                self._step = self._done.pop()
                self._done_bytes -= self._step.sizes[0]
                self._write("resume", key)

    def put(self, key: Key, value: Any) -> None:
        """Give a key a value, None to remove it, as part of the current step."""
        with self._lock:
            now = self._values.get(key)
            if now == value:
                return
            self._undone.clear()
            self._step.add(key, now, value)
            self._write("put", self.version, key, _plain(value))
            self._set(key, value)
            self._let_go()

    def publish(self, key: Key, value: Any) -> None:
        """Give a key a value that undo does not touch."""
        with self._lock:
            if self._values.get(key) != value:
                self._set(key, value)

    def undo(self) -> Collection[Key]:
        """Take back the last step: the keys that changed. Empty when there is none."""
        with self._lock:
            self.begin()
            if not self._done:
                return ()
            self._write("undo", self.version)
            self._undone.append(self._done.pop())
            self._done_bytes -= self._undone[-1].sizes[0]
            return self._apply(self._undone[-1], side=0)

    def redo(self) -> Collection[Key]:
        """Do again what was taken back last: the keys that changed. Empty when there is nothing."""
        with self._lock:
            if not self._undone:
                return ()
            self._write("redo", self.version)
            self._done.append(self._undone.pop())
            self._done_bytes += self._done[-1].sizes[0]
            return self._apply(self._done[-1], side=1)

    def changes(self, after: int, most: int = 500) -> list[Change]:
        """What changed after a version, oldest first, at most so many."""
        with self._lock:
            return list(self._newer(after, most))

    def _write(self, *entry: Any) -> None:
        if self._journal is not None:
            self._journal.write(*entry)

    def _replay(self, kind: str, *entry: Any) -> None:
        if kind == "begin":
            self.begin()
        elif kind == "resume":
            self.resume(tuple(entry[0]))
        elif kind == "put":
            self.version, key, value = entry
            self.put(tuple(key), _mask_of(value) if value and key[0] == "mask" else value)
        else:
            (self.version,) = entry
            {"undo": self.undo, "redo": self.redo}[kind]()

    @property
    def _held_bytes(self) -> int:
        """Values, and what only steps that can be undone still hold. What can be done again goes with the next put."""
        return self._values_bytes + KEY_BYTES * len(self._versions) + self._done_bytes + self._step.sizes[0]

    def _let_go(self) -> None:
        """Forget the oldest steps beyond the bounds."""
        while self._done and (len(self._done) > MAX_STEPS or self._held_bytes > self._budget_bytes):
            self._done_bytes -= self._done.pop(0).sizes[0]

    def _apply(self, step: Step, side: int) -> Collection[Key]:
        for key, values in step.changes.items():
            self._set(key, values[side])
        return step.changes.keys()

    def _newer(self, after: int, most: int) -> Iterator[Change]:
        for version, key in self._log[bisect_right(self._log, after, key=lambda entry: entry[0]) :]:
            if self._versions[key] == version:
                yield Change(version, key, self._values.get(key))
                most -= 1
            if not most:
                return

    def _set(self, key: Key, value: Any) -> None:
        self.version += 1
        self._versions[key] = self.version
        self._log.append((self.version, key))
        self._values_bytes += size_bytes(value) - size_bytes(self._values.get(key))
        if value is None:
            self._values.pop(key, None)
        else:
            self._values[key] = value
        if len(self._log) > 2 * len(self._versions) + 1000:
            self._log = [(version, key) for version, key in self._log if self._versions[key] == version]
