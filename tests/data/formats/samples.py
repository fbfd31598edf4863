"""Small records and what is needed to compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from masklet.data.records import Masklet, Record
from masklet.masks import encode_rle

HW = (12, 18)


def square(x: int, y: int, side: int = 4, hw: tuple[int, int] = HW) -> np.ndarray:
    mask = np.zeros(hw, dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


def nothing(hw: tuple[int, int] = HW) -> np.ndarray:
    return np.zeros(hw, dtype=bool)


def masklet(obj: int, masks: Mapping[int, np.ndarray], **more: Any) -> Masklet:
    return Masklet(obj, {frame: encode_rle(mask) for frame, mask in masks.items()}, **more)


def two_squares(frames: Sequence[int], first: int = 1) -> tuple[Masklet, Masklet]:
    """One slides right, the other one is seen from the second annotated frame on."""
    slides = {frame: square(place % 6, 0) for place, frame in enumerate(frames)}
    later = {frame: square(12, 6) if place else nothing() for place, frame in enumerate(frames)}
    return masklet(first, slides), masklet(first + 1, later)


def pictures(folder: Path, count: int, hw: tuple[int, int] = HW, suffix: str = ".jpg") -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{index:05d}{suffix}" for index in range(count))
    for index, path in enumerate(paths):
        Image.fromarray(np.full((*hw, 3), 10 * index, dtype=np.uint8)).save(path)
    return paths


def video(path: Path, count: int, hw: tuple[int, int] = HW, rate: int = 24) -> Path:
    """Frame i has grey level 10 * i."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = (*hw, "yuv420p")
        for index in range(count):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((*hw, 3), 10 * index, dtype=np.uint8))))
        output.mux(stream.encode(None))
    return path


def in_pictures(folder: Path, count: int, masklets: Sequence[Masklet], name: str = "park") -> Record:
    return Record(name, HW, count, tuple(masklets), frames=pictures(folder / name, count))


def in_video(path: Path, count: int, masklets: Sequence[Masklet]) -> Record:
    return Record(path.stem, HW, count, tuple(masklets), Fraction(24), video(path, count))


def content(record: Record) -> dict[int, dict[int, str]]:
    """What masks say: id -> frame -> counts."""
    return {
        one.id: {frame: rle["counts"] for frame, rle in sorted(one.masks.items())}
        for one in sorted(record.checked().masklets, key=lambda one: one.id)
    }
