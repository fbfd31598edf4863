"""Masks in PNG files, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from masklet.data.formats.files import VOID, read_ids
from masklet.data.records import MAX_OBJECTS, RecordError
from masklet.masks import Rle, encode_rle


class IdPictures:
    """The PNG files of one video whose pixels are object numbers: frame -> file.

    With `binary`, everything but 0 is object 1; else 255 is void and taken for background.
    """

    def __init__(self, files: Mapping[int, Path], video_hw: tuple[int, int], *, binary: bool = False) -> None:
        self.files = dict(sorted(files.items()))
        self.video_hw = video_hw
        self.binary = binary
        self.known: set[int] | None = None
        """The numbers that may occur, where something says so."""
        self._last: tuple[int, np.ndarray] | None = None

    @classmethod
    def of_unknown_kind(cls, files: Mapping[int, Path], video_hw: tuple[int, int]) -> IdPictures:
        """Binary if the PNG files hold nothing but 0 and one other number, which is 255 (or 1)."""
        pictures = cls(files, video_hw)
        values = set().union(*(pictures._values(frame) for frame in files))
        return cls(files, video_hw, binary=values <= {0, VOID})

    def objects(self) -> list[int]:
        """The numbers of all objects. Reads every file once."""
        if self.binary:
            return [1]
        found = sorted(set().union(*(self._values(frame) for frame in self.files)) - {0, VOID})
        if len(found) > MAX_OBJECTS:
            raise RecordError(f"{len(found)} objects, over the limit of {MAX_OBJECTS}")
        return found

    def masks_of(self, obj: int) -> LazyMasks:
        """The masks of one object; empty where a file does not show it."""
        return LazyMasks(tuple(self.files), lambda frame: self._ids(frame) == obj)

    def _values(self, frame: int) -> set[int]:
        return set(np.flatnonzero(np.bincount(self._ids(frame).ravel())).tolist())

    def _ids(self, frame: int) -> np.ndarray:
        if self._last is None or self._last[0] != frame:
            ids_hw = _sized(self.files[frame], self.video_hw)
            self._last = (frame, (ids_hw > 0).astype(np.int32) if self.binary else ids_hw)
            strangers = set() if self.known is None else self._values(frame) - self.known - {0, VOID}
            if strangers:
                raise RecordError(f"{self.files[frame]} shows object {min(strangers)}, which the list of objects lacks")
        return self._last[1]


class LazyMasks(Mapping[int, Rle]):
    """frame -> run lengths, made from a mask when asked for."""

    def __init__(self, frames: tuple[int, ...], mask: Callable[[int], np.ndarray]) -> None:
        self._frames = dict.fromkeys(frames)
        self._mask = mask

    def __getitem__(self, frame: int) -> Rle:
        if frame not in self._frames:
            raise KeyError(frame)
        return encode_rle(self._mask(frame))

    def __iter__(self) -> Iterator[int]:
        return iter(self._frames)

    def __len__(self) -> int:
        return len(self._frames)


def masks_in_files(files: Mapping[int, Path], video_hw: tuple[int, int]) -> LazyMasks:
    """The masks of one object that has a black and white PNG for each annotated frame: all but 0 is the object."""
    return LazyMasks(tuple(sorted(files)), lambda frame: _sized(files[frame], video_hw) > 0)


@lru_cache(maxsize=8)
def numbers_of(pictures: tuple[Path, ...]) -> Mapping[str, int]:
    """Name without suffix -> frame."""
    return {path.stem: index for index, path in enumerate(pictures)}


def frames_of_files(masks: Iterable[Path], number_of: Mapping[str, int], what: str) -> dict[int, Path]:
    """Frame -> PNG of the same name as the picture. Raises RecordError for one without a picture."""
    masks = tuple(masks)
    stray = next((path for path in masks if path.stem not in number_of), None)
    if stray is not None:
        raise RecordError(f"{what}: {stray.name} has no picture of the same name")
    return {number_of[path.stem]: path for path in masks}


def frames_by_number(masks: tuple[Path, ...], first: int = 0) -> dict[int, Path]:
    """Frame -> PNG named by the frame's number, counted from `first`. Raises RecordError for other names."""
    stray = next((path for path in masks if not path.stem.isdecimal() or len(path.stem) > 9), None)
    if stray is not None or (masks and min(int(path.stem) for path in masks) < first):
        raise RecordError(f"{stray or masks[0]}: expected the frame's number, from {first} on, as name")
    return {int(path.stem) - first: path for path in masks}


def _sized(path: Path, video_hw: tuple[int, int]) -> np.ndarray:
    ids_hw = read_ids(path)
    if ids_hw.shape != video_hw:
        raise RecordError(f"{path} is {ids_hw.shape[1]}x{ids_hw.shape[0]} but the video {video_hw[1]}x{video_hw[0]}")
    return ids_hw
