"""Results of a session in the format of a dataset: what is found is kept as run lengths and written at the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.data.formats.files import name_of, pictures_in
from masklet.data.formats.table import SUFFIXES, open_writer
from masklet.data.records import PREDICTED_IOU, STABILITY, Masklet, Record
from masklet.masks import Rle, encode_rle, rle_areas, rle_union
from masklet.video.pictures import is_picture_file
from masklet.video.source import FrameSource
from masklet.video.writers import FrameResult, ResultWriter


class RecordResults(ResultWriter):
    """One record, written by a dataset's writer when it is closed. `provenance` is "manual", "auto" or None.

    `losses` then says what the format could not hold. Objects that turn out to be others become these on the frames
    before too. What would make the end fail is found out at the beginning: ValueError for a video whose name is taken
    or cannot be a file's, and for a dataset that cannot be added to; OSError for a folder that cannot be made.
    """

    def __init__(self, path: Path, source: FrameSource, format: str, provenance: str | None = None) -> None:  # noqa: A002
        super().__init__(path, source)
        self._writer = open_writer(path, format)
        self._name = name_of(source.path) if source.path else "video"
        self._writer.check_new(self._name)
        if SUFFIXES.get(path.suffix.lower()) != format:
            path.mkdir(parents=True, exist_ok=True)
        self._provenance = provenance
        self._masks: dict[int, dict[int, Rle]] = {}
        self._scores: dict[int, dict[str, dict[int, float]]] = {}
        self._last = 0
        self.losses: list[str] = []

    def _write(self, result: FrameResult) -> None:
        self._last = max(self._last, result.index)
        for obj, other in result.merged.items():
            self._merge(obj, other)
        for obj, mask in result.masks.items():
            self._masks.setdefault(obj, {})[result.index] = encode_rle(mask)
            for kind, scores in ((PREDICTED_IOU, result.predicted_iou), (STABILITY, result.stability)):
                if obj in scores:
                    self._score(obj, kind, result.index, float(scores[obj]))

    def close(self) -> None:
        if not self.written:
            return
        self._writer.add(self._record())
        self._writer.close()
        self.losses, self.written = self._writer.losses.sentences(), 0

    def _merge(self, obj: int, other: int) -> None:
        """One object becomes another one, which has the pixels of both on all frames, and keeps its scores if seen."""
        masks, scores = self._masks.setdefault(other, {}), self._scores.pop(obj, {})
        for frame, rle in self._masks.pop(obj, {}).items():
            is_seen = frame in masks and rle_areas([masks[frame]])[0] > 0
            masks[frame] = rle_union([masks[frame], rle]) if is_seen else rle
            for kind, values in scores.items():
                if frame in values and not is_seen:
                    self._score(other, kind, frame, values[frame])

    def _score(self, obj: int, kind: str, frame: int, score: float) -> None:
        self._scores.setdefault(obj, {}).setdefault(kind, {})[frame] = score

    def _record(self) -> Record:
        frames = _frames_of(self.source)
        count = len(frames) if isinstance(frames, tuple) else self.source.frame_count or self._last + 1
        masklets = tuple(
            Masklet(obj, self._masks[obj], None, self._provenance, self._scores.get(obj, {})) for obj in self._fitting()
        )
        return Record(self._name, self.source.video_hw, count, masklets, self.source.fps, frames)

    def _fitting(self) -> list[int]:
        """The objects in order; of more than the format holds, those that are seen on the most frames."""
        most = self._writer.holds.objects
        if most is None or len(self._masks) <= most:
            return sorted(self._masks)
        what = f"the format holds {most} objects: {len(self._masks) - most} that are seen on few frames are left out"
        self._writer.losses.note(what, self._name)
        seen = {obj: np.count_nonzero(rle_areas(list(masks.values()))) for obj, masks in self._masks.items()}
        return sorted(sorted(seen, key=lambda obj: -seen[obj])[:most])


def _frames_of(source: FrameSource) -> Path | tuple[Path, ...] | None:
    """The video's file, its pictures, or None for frames that are no files."""
    path = source.path
    if path is None or not path.exists():
        return None
    if path.is_dir():
        return pictures_in(path)
    return (path,) if is_picture_file(path) else path
