"""Results of a session in the format of a dataset: what is found is kept as run lengths and written at the end."""

from __future__ import annotations

from pathlib import Path

from masklet.data.formats.files import pictures_in
from masklet.data.formats.table import open_writer
from masklet.data.records import Masklet, Record
from masklet.masks import Rle, encode_rle
from masklet.video.pictures import is_picture_file
from masklet.video.source import FrameSource
from masklet.video.writers import FrameResult, ResultWriter


class RecordResults(ResultWriter):
    """One record, written by a dataset's writer when it is closed. `provenance` is "manual", "auto" or None.

    `losses` then says what the format could not hold. Closing raises ValueError where it cannot hold the record at all.
    """

    def __init__(self, path: Path, source: FrameSource, format: str, provenance: str | None = None) -> None:  # noqa: A002
        super().__init__(path, source)
        self._format = format
        self._provenance = provenance
        self._masks: dict[int, dict[int, Rle]] = {}
        self._scores: dict[int, dict[int, float]] = {}
        self._last = 0
        self.losses: list[str] = []

    def _write(self, result: FrameResult) -> None:
        self._last = max(self._last, result.index)
        for obj, mask in result.masks.items():
            self._masks.setdefault(obj, {})[result.index] = encode_rle(mask)
            if obj in result.predicted_iou:
                self._scores.setdefault(obj, {})[result.index] = float(result.predicted_iou[obj])

    def close(self) -> None:
        if not self.written:
            return
        with open_writer(self.path, self._format) as writer:
            writer.add(self._record())
        self.losses, self.written = writer.losses.sentences(), 0

    def _record(self) -> Record:
        frames = _frames_of(self.source)
        count = len(frames) if isinstance(frames, tuple) else self.source.frame_count or self._last + 1
        masklets = tuple(
            Masklet(obj, self._masks[obj], None, self._provenance, self._scores.get(obj, {}))
            for obj in sorted(self._masks)
        )
        name = self.source.path.stem if self.source.path else "video"
        return Record(name, self.source.video_hw, count, masklets, self.source.fps, frames)


def _frames_of(source: FrameSource) -> Path | tuple[Path, ...] | None:
    """The video's file, its pictures, or None for frames that are no files."""
    path = source.path
    if path is None or not path.exists():
        return None
    if path.is_dir():
        return pictures_in(path)
    return (path,) if is_picture_file(path) else path
