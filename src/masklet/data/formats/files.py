"""Files of datasets: bounded JSON, paths that stay in their folder, lists of pictures, PNG masks, frames as files."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

import numpy as np
from PIL import Image

from masklet.data.records import MAX_FRAMES, MAX_OBJECTS, SCORE_KINDS, Record, RecordError
from masklet.video.encode import VideoWriter
from masklet.video.pictures import PICTURE_SUFFIXES, is_picture_file
from masklet.video.source import check_pixels
from masklet.video.writers import PALETTE, save_picture

MAX_JSON_BYTES = 2 << 30
"""Of one file. The published COCO and LVIS files stay below 1.2 GB."""

MAX_RECORD_JSON_BYTES = 512 << 20
"""Of a file that describes one video or picture."""

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
JPEG_QUALITY = 95
VOID = 255
"""In PNG of several objects: pixels of no known object."""


def read_json(path: Path, max_bytes: int = MAX_RECORD_JSON_BYTES) -> Any:
    """A JSON document. Raises RecordError if it is none, too large, nested too deeply, or holds NaN or infinities."""
    size = path.stat().st_size
    if size > max_bytes:
        raise RecordError(f"{path} has {size >> 20} MiB, over the limit of {max_bytes >> 20} MiB; split it")
    try:
        return json.loads(path.read_bytes(), parse_constant=_no_number)
    except RecursionError as error:
        raise RecordError(f"{path} is nested too deeply to be read as JSON") from error
    except ValueError as error:
        raise RecordError(f"{path} is no JSON that can be read: {error}") from error


def write_json(document: Any, path: Path) -> None:
    """Writes a document in whole or not at all, making its folder."""
    with replacing(path) as file:
        json.dump(document, file, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def as_object(document: Any, path: Path | None) -> dict[str, Any]:
    """The document itself. Raises RecordError unless it is a JSON object."""
    if not isinstance(document, dict):
        raise RecordError(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


def as_list(value: Any, what: str, most: int = MAX_FRAMES) -> list[Any]:
    """The value itself. Raises RecordError unless it is a list of at most `most` entries."""
    if not isinstance(value, list) or len(value) > most:
        got = f"{len(value)} entries" if isinstance(value, list) else type(value).__name__
        raise RecordError(f"{what}: expected a list of at most {most}, got {got}")
    return value


def as_int(value: Any, what: str) -> int:
    """A whole number, also one written as 24.0. Raises RecordError for all else."""
    if is_number(value) and value == int(value):
        return int(value)
    raise RecordError(f"{what}: expected a whole number, got {_shown(value)}")


def is_number(value: Any) -> bool:
    """Whether a value out of a file is a number that a float can hold. (JSON's 1e999 is read as infinite.)"""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def as_key(value: Any, what: str) -> int | float | str | None:
    """A value that things are found by. Raises RecordError for lists and objects."""
    if value is None or isinstance(value, (int, float, str)):
        return value
    raise RecordError(f"{what}: expected a number or a text, got {_shown(value)}")


def as_rate(value: Any) -> Fraction | None:
    """Frames per second; None for what is no positive number."""
    return Fraction(value).limit_denominator(1001) if is_number(value) and value > 0 else None


def scores_in(annotation: Mapping[str, Any], frame: int = 0) -> dict[str, dict[int, float]]:
    """Kind -> frame -> score of an annotation in the manner of COCO and SA-1B, whose keys are called as the kinds."""
    return {kind: {frame: float(annotation[kind])} for kind in SCORE_KINDS if is_number(annotation.get(kind))}


def inside(folder: Path, name: Any) -> Path:
    """`folder / name` for a name out of a file. Raises RecordError when it would lead out of the folder."""
    plain = PurePosixPath(name) if isinstance(name, str) and name.isprintable() and "\\" not in name else None
    if plain is None or plain.is_absolute() or ".." in plain.parts or not plain.parts or ":" in plain.parts[0]:
        raise RecordError(f"{folder}: expected the name of a file in the folder, got {str(name)[:80]!r}")
    return folder.joinpath(*plain.parts)


def name_of(video: Path) -> str:
    """What a video is called: a file without its suffix, a folder of pictures as it is."""
    return video.resolve().name if video.is_dir() else video.stem


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder in natural order ("2.jpg" before "10.jpg"), without hidden ones."""
    return natural(path for path in folder.iterdir() if is_picture_file(path) and path.name[0] != ".")


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder in natural order, without hidden ones. Raises ValueError if it is none."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; check the root and the split")
    return list(natural(path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."))


def natural(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Sorted by name, numbers in it by value."""
    return tuple(
        sorted(paths, key=lambda path: [_part(part) for part in re.split(r"(\d+)", path.name.lower()) if part])
    )


def names_in(list_file: Path) -> list[str]:
    """The names in a list of videos without repetitions; of lines like "path/VIDEO/00000.jpg ..." the video's."""
    lines = [line.strip() for line in list_file.read_text(encoding="utf-8").splitlines()[:MAX_FRAMES]]
    return list(dict.fromkeys(_video_in(line) for line in lines if line))


def write_names(names: Iterable[str], list_file: Path) -> None:
    """Writes a list of videos in whole or not at all, making its folder."""
    with replacing(list_file) as file:
        file.writelines(f"{name}\n" for name in names)


def picture_hw(path: Path) -> tuple[int, int]:
    """Height and width from a picture's header, as it is shown. Raises ValueError or OSError if it cannot be read."""
    from masklet.video.pictures import ImageFiles

    return ImageFiles([path]).video_hw


def read_ids(path: Path) -> np.ndarray:
    """Object numbers (h, w) int32 of a palette, grey or black and white PNG, as they are stored.

    A coloured PNG whose channels are equal is taken for grey. Raises RecordError for pictures of other kinds and such
    that cannot be read.
    """
    try:
        with Image.open(path) as picture:
            check_pixels(picture.height, picture.width, path)
            ids_hw = _plane(np.asarray(picture))
            if ids_hw is None:
                raise RecordError(f"{path} is of mode {picture.mode}; expected a palette or grey PNG of object numbers")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, (RecordError, FileNotFoundError)):
            raise
        raise RecordError(f"{path} cannot be read: {error}") from error
    return ids_hw.astype(np.int32)


def save_ids(ids_hw: np.ndarray, path: Path) -> None:
    """Writes object numbers (h, w) uint8 as a palette PNG in the colours of DAVIS."""
    picture = Image.fromarray(ids_hw)
    picture.putpalette(PALETTE.tobytes())
    save_picture(picture, path)


def save_mask(mask: np.ndarray, path: Path) -> None:
    """Writes one bool mask as a black and white PNG."""
    save_picture(Image.fromarray(mask.astype(np.uint8) * 255), path)


def save_frames(
    record: Record, folder: Path, frames: Iterable[int] | None = None, name_of: Callable[[int], str] | None = None
) -> int:
    """Writes the frames (or only some) as NAME.jpg and gives the number of those that a video is too short to have.

    JPEG files are copied as they are; pictures of other kinds and frames of videos are encoded with quality 95.
    Raises RecordError for a record without frames.
    """
    if record.frames is None:
        raise RecordError(f"{record.video_id} has no frames; put its pictures or video beside the masks")
    folder.mkdir(parents=True, exist_ok=True)
    name_of = name_of or record.name_of
    chosen = range(record.frame_count) if frames is None else frames
    targets = {frame: folder / f"{name_of(frame)}.jpg" for frame in chosen}
    if isinstance(record.frames, tuple) and all(path.suffix.lower() in (".jpg", ".jpeg") for path in record.frames):
        for frame, target in targets.items():
            _copy(record.frames[frame], target)
        return 0
    with record.open_frames() as source:
        there = [frame for frame in targets if frame < len(source)]
        for frame in there:
            if not (isinstance(record.frames, tuple) and _is_same(record.frames[frame], targets[frame])):
                Image.fromarray(source[frame]).save(targets[frame], quality=JPEG_QUALITY)
    return len(targets) - len(there)


def save_video(record: Record, path: Path) -> None:
    """Writes the frames as one video. An MP4 is copied as it is. Raises RecordError for a record without frames."""
    if record.frames is None:
        raise RecordError(f"{record.video_id} has no frames; put its pictures or video beside the masks")
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(record.frames, Path) and record.frames.suffix.lower() == path.suffix:
        _copy(record.frames, path)
        return
    with record.open_frames() as source:
        writer = VideoWriter(path, source)
        try:
            for index, frame in enumerate(source):
                writer.add(index, frame)
        finally:
            writer.close()


def video_rate(path: Path) -> tuple[tuple[int, int], int, Fraction | None]:
    """Size, number of frames and rate of a video file. Raises ValueError if it cannot be read."""
    from masklet.video.read import open_frames

    with open_frames(path) as source:
        return source.video_hw, len(source), source.fps


def checked_objects(objects: Any, what: str) -> dict[int, Mapping[str, Any]]:
    """Number -> entry of the "objects" of one video in a meta.json. Raises RecordError for anything else."""
    if not isinstance(objects, dict) or len(objects) > MAX_OBJECTS:
        raise RecordError(f"{what}: expected a JSON object of at most {MAX_OBJECTS} objects")
    if not all(key.isdecimal() and isinstance(entry, dict) for key, entry in objects.items()):
        raise RecordError(f"{what}: expected numbers as names of objects, got {', '.join(objects)[:80]}")
    return {int(key): entry for key, entry in objects.items()}


def _plane(pixels: np.ndarray) -> np.ndarray | None:
    """(h, w) whole numbers, also from three equal channels; None for anything else."""
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4) and (pixels[..., 1:3] == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return pixels if pixels.ndim == 2 and pixels.dtype.kind in "bui" else None


def _video_in(line: str) -> str:
    """The video that a line of a list names. A name may hold dots and blanks, but no slash; paths of files may."""
    if "/" not in line:
        return line
    file = re.match(rf"(.*?)({'|'.join(map(re.escape, PICTURE_SUFFIXES))})(\s|$)", line, re.IGNORECASE)
    return PurePosixPath(file[1]).parent.name if file else PurePosixPath(line).name


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A file that takes the place of another one when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        yield file
    os.replace(unfinished, path)  # noqa: PTH105 - as Path.replace, but says that the target may exist


def _copy(source: Path, target: Path) -> None:
    """Copies a file, unless it lies where it should."""
    if not _is_same(source, target):
        shutil.copyfile(source, target)


def _is_same(source: Path, target: Path) -> bool:
    return target.exists() and target.samefile(source)


def _shown(value: Any) -> str:
    return repr(str(value)[:80])


def _part(part: str) -> tuple[int, int, str]:
    return (0, int(part), part) if part.isdigit() else (1, 0, part)


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
