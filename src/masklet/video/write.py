"""Results as files: `open_writer` picks the kind of output from a format's name or the path's suffix.

with open_writer("out.mp4", source) as writer:
    for index, frame in enumerate(source):
        writer.add(index, frame, {1: mask})
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from masklet.video import FORMATS
from masklet.video.draw import PromptMarks, overlay
from masklet.video.encode import VideoWriter
from masklet.video.source import FrameSource
from masklet.video.writers import (
    ContactSheet,
    CutoutPictures,
    CutoutVideo,
    FrameResult,
    ObjectFolders,
    OverlayPicture,
    OverlayVideo,
    PalettePictures,
    ResultWriter,
    RleFile,
    cut_out,
)

__all__ = [
    "FrameResult",
    "PromptMarks",
    "ResultWriter",
    "VideoWriter",
    "cut_out",
    "open_writer",
    "overlay",
    "writer_for",
]

_VIDEO = (".mp4", ".mov", ".mkv")
_PICTURE = (".png", ".jpg", ".jpeg")

_SUFFIXES = {"overlay": (*_VIDEO, *_PICTURE), "rle": (".json",), "cutout-webm": (".webm",), "sheet": _PICTURE}
"""Formats that are one file. The others are folders, or one .png where there is one frame."""

_FILE_SUFFIXES = {suffix for suffixes in _SUFFIXES.values() for suffix in suffixes}

_WRITERS: dict[str, type[ResultWriter]] = {
    "overlay": OverlayVideo,
    "png": PalettePictures,
    "png-objects": ObjectFolders,
    "rle": RleFile,
    "cutout-png": CutoutPictures,
    "cutout-webm": CutoutVideo,
    "sheet": ContactSheet,
}


def open_writer(path: str | Path, source: FrameSource, format: str | None = None) -> ResultWriter:  # noqa: A002
    """A writer for the results on a source's frames.

    Without `format` the suffix decides: .mp4, .mov and .mkv are "overlay", .webm "cutout-webm", .json "rle", a picture
    "overlay" for one frame and "sheet" for more, no suffix "png". `masklet.video.FORMATS` describes them all.
    Raises ValueError for unknown formats and for suffixes that do not go with the format.
    """
    return writer_for(Path(path), source, format)()


def writer_for(target: Path, source: FrameSource, format: str | None = None) -> Callable[[], ResultWriter]:  # noqa: A002
    """What opens the writer of `open_writer`, with the same errors; until it is called no file is touched."""
    name = format or _format_of(target, source)
    if name not in FORMATS:
        raise ValueError(f'unknown format "{name}"; choose one of {", ".join(FORMATS)}')
    _check_suffix(target, name)
    is_picture = target.suffix.lower() in _PICTURE
    kind = OverlayPicture if name == "overlay" and is_picture else _WRITERS[name]
    return partial(kind, target, source)


def _format_of(path: Path, source: FrameSource) -> str:
    suffix = path.suffix.lower()
    if not suffix or path.is_dir():
        return "png"
    if suffix in _PICTURE:
        return "overlay" if source.frame_count == 1 else "sheet"
    for name, suffixes in _SUFFIXES.items():
        if suffix in suffixes:
            return name
    raise ValueError(
        f'cannot tell the format of "{path}" from its name; name a .mp4, .webm, .json or .png file or a folder, '
        f"or choose a format: {', '.join(FORMATS)}"
    )


def _check_suffix(path: Path, name: str) -> None:
    suffix = path.suffix.lower()
    if name in _SUFFIXES:
        if suffix not in _SUFFIXES[name]:
            raise ValueError(
                f'format "{name}" needs a file name ending in {" or ".join(_SUFFIXES[name])}, got "{path}"'
            )
    elif suffix in _FILE_SUFFIXES and (suffix != ".png" or name == "png-objects"):
        raise ValueError(f'format "{name}" writes a folder of pictures, got "{path}"; leave off the suffix')
