"""Frames from picture files, arrays and iterators."""

from __future__ import annotations

import errno
import os
import re
import struct
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from masklet.video.source import (
    ASSUMED_FPS,
    FrameError,
    FrameSource,
    VideoError,
    check_frame,
    check_pixels,
    size_name,
)

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")

_ORIENTATION_TAG = 0x0112
_SWAPS_SIDES = (5, 6, 7, 8)


class ImageFiles(FrameSource):
    """Picture files as frames, in the given order, turned as their EXIF orientation says.

    Alpha is dropped, 16-bit grey becomes 8-bit. All pictures must have one size: VideoError names the first that
    differs. Unreadable ones count as broken frames.
    """

    reads_ahead = True

    def __init__(self, paths: Iterable[str | Path], *, fps: Fraction | None = None, strict: bool = False) -> None:
        super().__init__(strict=strict)
        self.paths = [Path(path) for path in paths]
        if not self.paths:
            raise VideoError("there are no pictures to read; pass at least one path")
        self.fps = fps
        self.video_hw = self._common_size()
        stems = Counter(path.stem for path in self.paths)
        self._has_unique_stems = len(stems) == len(self.paths)

    @property
    def frame_count(self) -> int:
        return len(self.paths)

    def name_of(self, index: int) -> str:
        return self.paths[index].stem if self._has_unique_stems else super().name_of(index)

    def _read(self, index: int) -> np.ndarray:
        return _read_picture(self.paths[index], index)

    def _common_size(self) -> tuple[int, int]:
        common: tuple[int, int] | None = None
        reason = ""
        for index, path in enumerate(self.paths):
            try:
                size = _size_in_header(path, index)
            except FrameError as error:
                reason = reason or str(error)
                continue
            common = common or size
            if size != common:
                raise VideoError(
                    f"{path} is {size_name(size)} but the first picture is {size_name(common)}; "
                    "all frames must have one size, so scale them or put them in different folders"
                )
        if common is None:
            raise VideoError(f"none of the {len(self.paths)} pictures can be read; {reason}")
        return common


class ImageFolder(ImageFiles):
    """The pictures of a folder in natural order ("2.jpg" before "10.jpg"); hidden files and other types are skipped."""

    def __init__(self, path: str | Path, *, fps: Fraction | None = None, strict: bool = False) -> None:
        folder = Path(path)
        paths = [entry for entry in folder.iterdir() if _is_picture(entry)]
        if not paths:
            raise VideoError(f"folder {folder} holds no pictures; expected {', '.join(PICTURE_SUFFIXES)} files")
        super().__init__(sorted(paths, key=_natural_key), fps=fps, strict=strict)
        self.path = folder


class ArrayFrames(FrameSource):
    """Frames in memory: an array (t, h, w, 3) uint8, or a sequence of arrays (h, w, 3) uint8 or PIL pictures."""

    def __init__(self, frames: Sequence[Any] | np.ndarray, *, fps: Fraction | None = None) -> None:
        super().__init__(strict=True)
        if len(frames) == 0:
            raise VideoError("there are no frames to read; pass at least one")
        self._frames = frames
        self.fps = fps
        first = check_frame(_as_array(frames[0]), 0, None)
        self.video_hw = (first.shape[0], first.shape[1])

    @property
    def frame_count(self) -> int:
        return len(self._frames)

    def _read(self, index: int) -> np.ndarray:
        return check_frame(_as_array(self._frames[index]), index, self.video_hw)


class IteratorFrames(FrameSource):
    """Frames of an iterator (a camera, a generator), taken from it only when needed.

    Frames already taken can be read again: they are kept on disk, uncompressed, in a temporary file of at most
    `disk_bytes` and `keep` frames (None: as many as fit) that vanishes on close; the oldest give way. It lies in
    `folder`, by default the system's temporary folder. RAM does not grow. The length is known once the iterator has
    ended. A frame that could not be written is not lost: it is tried again when it is asked for again.
    """

    def __init__(
        self,
        frames: Iterable[Any],
        *,
        fps: Fraction | None = None,
        disk_bytes: int = 32 << 30,
        keep: int | None = None,
        folder: str | Path | None = None,
    ) -> None:
        super().__init__(strict=True)
        self._frames = iter(frames)
        self._lock = RLock()
        self._taken = 0
        self._ended = False
        self.fps = fps
        self._folder = folder
        self._spool = tempfile.TemporaryFile(prefix="masklet-frames-", dir=folder, buffering=0)  # noqa: SIM115
        self._newest = self._first_frame()
        self._unwritten: np.ndarray | None = None
        self.video_hw = (self._newest.shape[0], self._newest.shape[1])
        fitting = disk_bytes // self._newest.nbytes
        self._capacity = max(fitting if keep is None else min(keep, fitting), 2)
        self._keep(self._newest)

    @property
    def frame_count(self) -> int | None:
        return self._taken if self._ended else None

    @property
    def times(self) -> np.ndarray:
        return np.arange(self._taken) / float(self.fps or ASSUMED_FPS)

    def close(self) -> None:
        self._spool.close()

    def _read(self, index: int) -> np.ndarray:
        with self._lock:
            while index >= self._taken:
                self._take()
            if index == self._taken - 1:
                return self._newest
            return self._recall(index)

    def _first_frame(self) -> np.ndarray:
        for frame in self._frames:
            return check_frame(_as_array(frame), 0, None)
        raise VideoError("the iterator gave no frames; it may have been used up already")

    def _take(self) -> None:
        if self._unwritten is None:
            self._unwritten = check_frame(_as_array(self._next()), self._taken, self.video_hw)
        self._keep(self._unwritten)
        self._unwritten = None

    def _next(self) -> Any:
        try:
            return next(self._frames)
        except StopIteration:
            self._ended = True
            raise IndexError(f"the iterator ended after {self._taken} frames") from None
        except IndexError as error:  # which would be taken for the end
            raise RuntimeError(f"the iterator failed at frame {self._taken}: {error}") from error

    def _keep(self, frame: np.ndarray) -> None:
        try:
            self._spool.seek(self._taken % self._capacity * frame.nbytes)
            if self._spool.write(np.ascontiguousarray(frame).data) < frame.nbytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OSError(
                f"frame {self._taken} could not be written to {self._folder or tempfile.gettempdir()}: {error}; "
                "keep fewer frames, or name a folder with space"
            ) from error
        self._newest = frame
        self._taken += 1

    def _recall(self, index: int) -> np.ndarray:
        if index < self._taken - self._capacity:
            raise VideoError(
                f"frame {index} is no longer kept, only the newest {self._capacity} are; "
                "pass a larger keep or disk_bytes to IteratorFrames"
            )
        frame = np.empty((*self.video_hw, 3), dtype=np.uint8)
        self._spool.seek(index % self._capacity * frame.nbytes)
        self._spool.readinto(frame.data)  # type: ignore[attr-defined]
        return frame


def is_picture_file(path: Path) -> bool:
    """Whether a path has the suffix of a still picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def _is_picture(path: Path) -> bool:
    return is_picture_file(path) and not path.name.startswith(".") and path.is_file()


def _natural_key(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def _as_array(frame: Any) -> np.ndarray:
    return _to_rgb(frame) if isinstance(frame, Image.Image) else frame


@contextmanager
def _opened(path: Path, index: int) -> Iterator[Image.Image]:
    """The picture with its header read. Whatever goes wrong with it inside the block becomes a FrameError."""
    try:
        with Image.open(path) as picture:
            check_pixels(picture.height, picture.width, path)
            yield picture
    except VideoError:
        raise
    except Image.DecompressionBombError as error:
        raise VideoError(f"{path} is too large a picture to read safely: {error}") from error
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise FrameError(index, f"{path} cannot be read: {error}") from error


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. A PNG is asked only if its header has it: else Pillow would decode it whole."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    return picture.getexif().get(_ORIENTATION_TAG, 1)


def _size_in_header(path: Path, index: int) -> tuple[int, int]:
    with _opened(path, index) as picture:
        width, height = picture.size
        return (width, height) if _orientation(picture) in _SWAPS_SIDES else (height, width)


def _read_picture(path: Path, index: int) -> np.ndarray:
    with _opened(path, index) as picture:
        return _to_rgb(picture if _orientation(picture) == 1 else ImageOps.exif_transpose(picture))


def _to_rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode.startswith("I"):  # 16 bit grey, which convert("RGB") would clip at 255
        grey = (np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))
