"""What all formats share: entries of a dataset, writers, and the account of what a format cannot hold."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from masklet.closing import Closing
from masklet.data.formats.files import names_in, save_frames, save_video
from masklet.data.records import SCORE_KINDS, Masklet, Record, check_name

NO_FRAMES = "there are no frames to write beside the masks"


@dataclass(frozen=True)
class Entry:
    """One record of a dataset that is not read yet. `path` is named in reports.

    `read` raises ValueError or OSError for a record that cannot be read; it can be pickled.
    """

    name: str
    path: Path
    read: Callable[[], Record]


Reader = Callable[[Path, "str | None"], "list[Entry]"]
"""(root, split) -> entries in order. Raises ValueError or OSError when the folder is not of the format."""


@dataclass(frozen=True)
class Holds:
    """What a format can hold beside masks, frame by frame."""

    video: bool = True
    overlap: bool = True
    names: bool = False
    provenance: tuple[str, ...] = ()
    scores: tuple[str, ...] = ()
    """Kinds of scores, as in `records.SCORE_KINDS`."""
    rate: bool = False
    """Frames per second."""
    gaps: bool = False
    """That an object is not annotated on a frame on which another one is."""
    objects: int | None = None
    """At most so many; None: any number."""
    unseen: bool = True
    """Objects that are seen on no frame."""
    extra_of: str = ""
    """The format whose extra values it keeps."""


class Losses:
    """What could not be kept, each kind counted by video."""

    def __init__(self) -> None:
        self._videos: dict[str, dict[str, None]] = {}

    def note(self, what: str, video_id: str) -> None:
        """One more video loses this."""
        self._videos.setdefault(what, {})[video_id] = None

    def sentences(self) -> list[str]:
        """For people: each kind with the number of videos and the first of them."""
        return [f"{what} ({_count(list(videos))})" for what, videos in self._videos.items()]


class RecordWriter(Closing, ABC):
    """Writes records of a dataset into a folder. A `with` block finishes it; `losses` tells what was not kept.

    A dataset that is in the folder is added to. Opening raises ValueError or OSError where that cannot be done.
    """

    holds: ClassVar[Holds]

    def __init__(self, root: Path, split: str | None = None) -> None:
        self.root = root
        self.split = split
        self.losses = Losses()
        self.written = 0
        self._taken: dict[str, str] = {}

    def add(self, record: Record) -> None:
        """Writes one more. Raises ValueError for a second record of the same name."""
        self.check_new(record.video_id)
        for loss in _losses(record, self.holds):
            self.losses.note(loss, record.video_id)
        self._write(record)
        self._take([record.video_id], "names must differ, also without their case")
        self.written += 1

    def check_new(self, video_id: str) -> None:
        """Raises ValueError for a name that is taken, or that cannot be a file's."""
        reason = self._taken.get(check_name(video_id).lower())
        if reason:
            raise ValueError(f"a second video is called {video_id}; {reason}")

    def close(self) -> None:
        """Writes what tells of all videos, if any was added."""
        if self.written:
            self._finish()

    def __exit__(self, *error: object) -> None:
        """After an error lists and indexes stay as they were: they would call a part the whole."""
        if not any(error):
            self.close()

    @abstractmethod
    def _write(self, record: Record) -> None: ...

    def _finish(self) -> None:
        """Writes the list or index of the dataset, where it has one."""
        return

    def _take(self, names: Iterable[str], reason: str) -> None:
        """Notes names that may not be given again, and why."""
        self._taken.update((name.lower(), reason) for name in names)

    def _take_listed(self, list_file: Path) -> list[str]:
        """The names in a list of videos that is there already, which are taken. Raises ValueError for one of files."""
        if not list_file.is_file():
            return []
        if "/" in list_file.read_text(encoding="utf-8"):
            raise ValueError(f"{list_file} lists files in place of videos, so none can be added; give another folder")
        names = names_in(list_file)
        self._take(names, f"{list_file} lists it already; give another folder or split")
        return names

    def _save_frames(
        self,
        record: Record,
        folder: Path,
        frames: Iterable[int] | None = None,
        name_of: Callable[[int], str] | None = None,
    ) -> None:
        """Frames as pictures; what that loses is noted."""
        if record.frames is None:
            self.losses.note(NO_FRAMES, record.video_id)
        elif save_frames(record, folder, frames, name_of):
            what = "the video is shorter than its annotations say: frames past its end are left out"
            self.losses.note(what, record.video_id)
        if isinstance(record.frames, Path):
            what = "the video became JPEG pictures: colours change a little, sound is left out"
            self.losses.note(what, record.video_id)

    def _save_video(self, record: Record, path: Path) -> None:
        """Frames as one video; what that loses is noted."""
        if record.frames is None:
            self.losses.note(NO_FRAMES, record.video_id)
        else:
            save_video(record, path)
        if isinstance(record.frames, tuple):
            self.losses.note("pictures became a video: colours change a little", record.video_id)


def _losses(record: Record, holds: Holds) -> Iterator[str]:
    masklets = record.masklets
    if not holds.video and not record.is_picture:
        yield "the format holds pictures: each annotated frame became one, objects are not linked, the rest is left out"
    yield from _losses_of_values(masklets, holds)
    if not holds.rate and record.fps and not record.is_picture:
        yield "frames per second are not kept"
    if not holds.gaps and _has_gaps(masklets):
        yield "objects that are not annotated on a frame on which others are became absent there"
    if not holds.unseen and any(not any(map(masklet.is_visible, masklet.masks)) for masklet in masklets):
        yield "objects that are never seen are left out"
    if not all(masklet.masks for masklet in masklets):
        yield "objects that are annotated on no frame are left out, or absent on all"
    foreign = {key for one in (record, *masklets) for key, values in one.extra.items() if values}
    for key in sorted(foreign - {holds.extra_of}):
        yield f"values that only {key} knows are not kept"


def _losses_of_values(masklets: tuple[Masklet, ...], holds: Holds) -> Iterator[str]:
    """What is known of masklets beside their masks."""
    if not holds.names and any(masklet.name for masklet in masklets):
        yield "names of objects are not kept"
    if {masklet.provenance for masklet in masklets} - {None, *holds.provenance}:
        yield "whether a mask is manual or automatic is not kept"
    for kind, text in SCORE_KINDS.items():
        if kind not in holds.scores and any(masklet.scores.get(kind) for masklet in masklets):
            yield f"{text} are not kept"


def _has_gaps(masklets: tuple[Masklet, ...]) -> bool:
    return len({frozenset(masklet.masks) for masklet in masklets}) > 1


def numbered(record: Record, ids: range, losses: Losses) -> dict[int, int]:
    """Old id -> new id within a format's range: unchanged where all fit, else from its first on.

    Raises ValueError if there are too many.
    """
    old = [masklet.id for masklet in record.masklets]
    if all(obj in ids for obj in old):
        return {obj: obj for obj in old}
    if len(old) > len(ids):
        raise ValueError(f"{len(old)} objects, but the format holds {len(ids)}; choose one with a folder per object")
    losses.note(f"objects are numbered anew from {ids[0]}", record.video_id)
    return dict(zip(old, ids, strict=False))


def painted(record: Record, frame: int, ids: Mapping[int, int], losses: Losses) -> np.ndarray:
    """New ids (h, w) uint8 of the objects of one frame; the last one where objects of different ids overlap."""
    ids_hw = np.zeros(record.video_hw, dtype=np.uint8)
    for obj, mask in sorted(record.masks_at(frame).items()):
        if not np.isin(ids_hw[mask], (0, ids[obj])).all():
            losses.note("where objects overlap, only the last one is kept", record.video_id)
        ids_hw[mask] = ids[obj]
    return ids_hw


def _count(videos: list[str]) -> str:
    return videos[0] if len(videos) == 1 else f"{len(videos)} videos, the first is {videos[0]}"
