"""A dataset in any readable format, for training, evaluation and conversion.

dataset = open_dataset("davis17", "DAVIS", "val")
for record in dataset.records():
    with record.open_frames() as frames: ...
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from masklet.data.formats.base import Entry
from masklet.data.formats.table import format_of, reader
from masklet.data.records import Record

log = logging.getLogger(__name__)
KEPT_RECORDS = 64


class Dataset(Sequence[Record]):
    """The records of a dataset, read when asked for. `bad` maps the paths of those that could not be read to reasons.

    `dataset[5]` reads masks in PNG files only when they are used, and the last records are kept; `records()` gives all
    that are sound. Can be pickled.
    """

    def __init__(self, format: str, root: Path, entries: Sequence[Entry], split: str | None = None) -> None:  # noqa: A002
        self.format = format
        self.root = root
        self.split = split
        self.entries = list(entries)
        self.bad: dict[Path, str] = {}
        self._kept: OrderedDict[int, Record] = OrderedDict()

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: Any) -> Any:
        """One record. Raises ValueError or OSError, as the reader, if it cannot be read."""
        if isinstance(index, slice):
            return self.part(self.entries[index])
        place = range(len(self))[index]
        if place not in self._kept:
            self._kept[place] = self.entries[place].read()
            if len(self._kept) > KEPT_RECORDS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(place)
        return self._kept[place]

    def part(self, entries: Sequence[Entry]) -> Dataset:
        """The dataset with some of its entries alone."""
        return Dataset(self.format, self.root, entries, self.split)

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    def records(self) -> Iterator[Record]:
        """All records with all masks read and checked. Bad ones are noted, logged and left out."""
        for entry in self.entries:
            try:
                record = entry.read().checked()
            except (ValueError, OSError) as error:
                self.note_bad(entry, error)
                continue
            yield record

    def note_bad(self, entry: Entry, error: Exception) -> None:
        """Notes a record that cannot be used, with its path, once."""
        if entry.path not in self.bad:
            log.warning("left out %s: %s", entry.path, error)
        self.bad[entry.path] = str(error)

    def report(self) -> str:
        """For people: how many records there are, how many could not be read, and why."""
        lines = [f"{len(self)} records, {len(self.bad)} of them bad"]
        return "\n".join(lines + [f"  {path}: {reason}" for path, reason in self.bad.items()])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": OrderedDict()}


def open_dataset(format: str | None, root: str | Path, split: str | None = None) -> Dataset:  # noqa: A002
    """The dataset at a path, in one of the formats of `masklet.data.formats.READABLE`; None: told from the files.

    Raises ValueError or OSError when there is none of that format, split and root.
    """
    path = Path(root)
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {root}; check the name")
    name = format or format_of(path)
    entries = reader(name)(path, split)
    if not entries:
        raise ValueError(f"{path} holds nothing of the format {name}; check the format and the split")
    return Dataset(name, path, entries, split)
