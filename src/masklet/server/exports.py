"""Masks of a session as files to take away."""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from masklet.data.formats.table import open_writer as open_record_writer
from masklet.data.records import PREDICTED_IOU, Masklet, Record
from masklet.masks import Rle, decode_rle
from masklet.server.disk import Disk
from masklet.server.document import Document, MaskValue
from masklet.server.effects import Look, render
from masklet.server.errors import Refusal
from masklet.server.pictures import Pictures
from masklet.server.schemas import ExportFormat
from masklet.video.encode import VideoWriter
from masklet.video.file import VideoFile
from masklet.video.write import cut_out, open_writer
from masklet.video.writers import MAX_PALETTE_ID

MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".json": "application/json", ".zip": "application/zip"}
BLEED_PX = 4

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """The masks of one moment."""

    video: Mapping[str, Any]
    """As ``VideoInfo``."""
    objects: Mapping[int, Mapping[str, Any]]
    masks: Mapping[int, Mapping[int, MaskValue]]
    """Object -> frame -> mask."""
    look: Look = field(default_factory=Look)

    @classmethod
    def of(cls, document: Document, video: Mapping[str, Any], pictures: Pictures) -> Taken:
        """What the document says now. Objects are in the order of their numbers, without those that are hidden."""
        objects = {key[1]: value for key, value in sorted(document.items("object")) if value["visible"]}
        masks: dict[int, dict[int, MaskValue]] = {obj: {} for obj in objects}
        for (_, obj, frame), value in document.items("mask"):
            if obj in masks:
                masks[obj][frame] = value
        return cls(video, objects, masks, Look.of(document.get("look"), pictures.read))

    @property
    def video_hw(self) -> tuple[int, int]:
        """Height and width."""
        return self.video["height"], self.video["width"]

    @property
    def name(self) -> str:
        """The video's name, fit to be a file's."""
        stem = Path(self.video["name"].replace("\\", "/")).stem
        plain = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in stem)[:80]
        return plain.strip("_") or "video"

    def shown_at(self, frame: int) -> dict[int, np.ndarray]:
        """Object -> bool mask (h, w)."""
        return {obj: decode_rle(self._rle(masks[frame])) for obj, masks in self.masks.items() if frame in masks}

    def drawn(self, frame: int, picture: np.ndarray) -> np.ndarray:
        """A frame (h, w, 3) as the page shows it."""
        masks = self.shown_at(frame)
        return render(picture, [(mask, _rgb(self.objects[obj]["colour"])) for obj, mask in masks.items()], self.look)

    def cut_out(self, frame: int, picture: np.ndarray) -> np.ndarray:
        """RGBA (h, w, 4): the objects in their own colours, all else transparent."""
        union = np.logical_or.reduce([np.zeros(self.video_hw, dtype=bool), *self.shown_at(frame).values()])
        return cut_out(picture, union, BLEED_PX)

    def record(self) -> Record:
        """The neutral record that all formats are written from."""
        masklets = [
            Masklet(
                obj,
                {frame: self._rle(value) for frame, value in sorted(self.masks[obj].items())},
                about["name"] or None,
                scores={PREDICTED_IOU: {frame: value.score for frame, value in self.masks[obj].items()}},
            )
            for obj, about in self.objects.items()
        ]
        rate = Fraction(self.video["fps"]).limit_denominator(1001)
        return Record(self.name, self.video_hw, self.video["frames"], tuple(masklets), rate)

    def _rle(self, value: MaskValue) -> Rle:
        return Rle(size=list(self.video_hw), counts=value.counts.decode("ascii"))


@dataclass(eq=False)
class Export:
    """One file that is being written. ``path`` is there once it is whole; ``error`` says why it never will be."""

    id: str
    format: ExportFormat
    folder: Path
    disk: Disk
    done: int = 0
    total: int = 1
    error: str = ""
    path: Path | None = None
    name: str = ""
    cancelled: Event = field(default_factory=Event)

    @property
    def is_running(self) -> bool:
        return self.path is None and not self.error

    def described(self) -> dict[str, Any]:
        """What clients are told."""
        state = "failed" if self.error else "ready" if self.path else "running"
        return {"id": self.id, "state": state, "done": self.done, "total": self.total, "error": self.error}

    def write(self, taken: Taken, video_path: Path) -> None:
        """Writes the file. Never raises: what went wrong is in ``error``."""
        place = self.folder / f"export-{self.id}"
        place.mkdir()
        try:
            path = self._written(taken, video_path, place)
            self.name, self.path = f"{taken.name}-{self.format}{path.suffix}", path
        except (ValueError, OSError, Refusal) as error:
            self.error = str(error).replace(str(self.folder), "").replace(str(place), "")
        except Exception:
            log.exception("an export failed")
            self.error = "the file could not be written, which is a fault of this server"

    def remove(self) -> None:
        """Removes what was written."""
        shutil.rmtree(self.folder / f"export-{self.id}", ignore_errors=True)

    def _written(self, taken: Taken, video_path: Path, place: Path) -> Path:
        if not any(taken.masks.values()):
            raise ValueError("there are no masks to export; click an object, or show one that is hidden")
        if self.format in ("coco", "sav", "rle"):
            return _annotations(taken, self.format, place)
        with VideoFile(video_path) as source:
            self.total = len(source)
            if self.format in ("png", "png-objects"):
                return self._pictures(taken, source, place)
            return self._video(taken, source, place)

    def _video(self, taken: Taken, source: VideoFile, place: Path) -> Path:
        alpha = self.format == "cutout-webm"
        writer = VideoWriter(place / ("video.webm" if alpha else "video.mp4"), source, alpha=alpha)
        try:
            for index in self._frames(source):
                writer.add(index, taken.cut_out(index, source[index]) if alpha else taken.drawn(index, source[index]))
        finally:
            writer.close()
        return writer.path

    def _pictures(self, taken: Taken, source: VideoFile, place: Path) -> Path:
        numbers = _palette_numbers(taken.objects)
        no_frame = np.broadcast_to(np.uint8(0), (*taken.video_hw, 3))
        with open_writer(place / "masks", source, self.format) as writer:
            for index in self._frames(source):
                writer.add(index, no_frame, {numbers[obj]: mask for obj, mask in taken.shown_at(index).items()})
        path = place / "masks.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for picture in sorted((place / "masks").rglob("*.png")):
                archive.write(picture, picture.relative_to(place / "masks"))
        shutil.rmtree(place / "masks")
        return path

    def _frames(self, source: VideoFile) -> Iterator[int]:
        for index in range(len(source)):
            if self.cancelled.is_set():
                raise ValueError("the session has ended")
            self.disk.check()
            yield index
            self.done = index + 1


def _palette_numbers(objects: Iterable[int]) -> dict[int, int]:
    """The objects' own numbers where all of them fit a palette, otherwise 1, 2, 3 in their order."""
    own = list(objects)
    if max(own, default=0) <= MAX_PALETTE_ID:
        return {obj: obj for obj in own}
    return {obj: place for place, obj in enumerate(own, 1)}


def _annotations(taken: Taken, format: str, place: Path) -> Path:  # noqa: A002
    """One JSON file of a dataset's format, without pictures."""
    target = place / "dataset"
    with open_record_writer(target, format) as writer:
        writer.add(taken.record())
    path = next(target.rglob("*.json"))
    return path.rename(place / "masks.json")


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue
