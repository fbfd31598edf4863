"""Every format's reader and writer, by the names in `masklet.data.formats`, and how a format is told from its files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from masklet.data.formats import READABLE, WRITABLE
from masklet.data.formats.base import Reader, RecordWriter
from masklet.data.formats.coco import CocoPolygonWriter, CocoWriter, read_coco
from masklet.data.formats.objects import (
    OBJECTS,
    SAV_FRAMES,
    ObjectsWriter,
    SavFramesWriter,
    has_object_folders,
    read_objects,
)
from masklet.data.formats.palette import (
    DAVIS16,
    DAVIS17,
    LVOS,
    MOSE,
    YOUTUBE_VOS,
    Davis16Writer,
    Davis17Writer,
    LvosWriter,
    MoseWriter,
    YouTubeVosWriter,
    read_palette,
)
from masklet.data.formats.plain import (
    RLE_FORMAT,
    ImagesWriter,
    RleWriter,
    VideosWriter,
    read_images,
    read_rle,
    read_videos,
)
from masklet.data.formats.sa1b import Sa1bWriter, read_sa1b
from masklet.data.formats.sav import KINDS, SavWriter, read_sav
from masklet.data.formats.views import CutoutVideoWriter, CutoutWriter, NumpyWriter, OverlayWriter

READERS: dict[str, Reader] = {
    "sav": read_sav,
    "sav-frames": partial(read_objects, SAV_FRAMES),
    "coco": read_coco,
    "sa1b": read_sa1b,
    "davis16": partial(read_palette, DAVIS16),
    "davis17": partial(read_palette, DAVIS17),
    "youtube-vos": partial(read_palette, YOUTUBE_VOS),
    "mose": partial(read_palette, MOSE),
    "lvos": partial(read_palette, LVOS),
    "objects": partial(read_objects, OBJECTS),
    "images": read_images,
    "videos": read_videos,
    "rle": read_rle,
}

WRITERS: dict[str, type[RecordWriter]] = {
    "sav": SavWriter,
    "sav-frames": SavFramesWriter,
    "coco": CocoWriter,
    "sa1b": Sa1bWriter,
    "davis16": Davis16Writer,
    "davis17": Davis17Writer,
    "youtube-vos": YouTubeVosWriter,
    "mose": MoseWriter,
    "lvos": LvosWriter,
    "objects": ObjectsWriter,
    "images": ImagesWriter,
    "videos": VideosWriter,
    "rle": RleWriter,
    "coco-polygons": CocoPolygonWriter,
    "overlay": OverlayWriter,
    "cutout-png": CutoutWriter,
    "cutout-webm": CutoutVideoWriter,
    "numpy": NumpyWriter,
}

SUFFIXES = {".mp4": "overlay", ".webm": "cutout-webm", ".npz": "numpy"}
"""Formats of outputs that are one file."""

_PEEK_BYTES = 4096


def reader(name: str) -> Reader:
    """The reader of a format. Raises ValueError for a name that is not known."""
    if name not in READERS:
        raise ValueError(f'cannot read the format "{name}"; choose one of {", ".join(READABLE)}')
    return READERS[name]


def open_writer(path: Path, format: str | None = None, split: str | None = None) -> RecordWriter:  # noqa: A002
    """A writer of a format, or of the one that the path's suffix says. Raises ValueError where neither tells."""
    name = format or SUFFIXES.get(path.suffix.lower())
    if name not in WRITERS:
        what = f'cannot write the format "{name}"' if name else f"cannot tell the format of {path} from its name"
        raise ValueError(f"{what}; choose one of {', '.join(WRITABLE)}")
    if path.is_file() and SUFFIXES.get(path.suffix.lower()) != name:
        raise ValueError(f"{path} is a file; the format {name} needs a folder")
    return WRITERS[name](path, split)


def format_of(path: Path) -> str:
    """The format that a file or folder seems to have. Raises ValueError where nothing fits."""
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}; check the name")
    for name, fits in (_FILES if path.is_file() else _FOLDERS).items():
        if fits(path):
            return name
    raise ValueError(f"cannot tell the format of {path}; choose one of {', '.join(READABLE)}")


def _has(*parts: str) -> Callable[[Path], bool]:
    """Whether all patterns match something in the folder, or in one of its folders (a split)."""
    return lambda path: all(any(path.glob(part)) for part in parts) or all(any(path.glob(f"*/{p}")) for p in parts)


def _begins_with(*words: str) -> Callable[[Path], bool]:
    def fits(path: Path) -> bool:
        with path.open("rb") as file:
            begin = file.read(_PEEK_BYTES).decode("utf-8", errors="replace")
        return path.suffix.lower() == ".json" and any(f'"{word}"' in begin for word in words)

    return fits


def _holds_objects(path: Path) -> bool:
    annotations = path / "Annotations" if (path / "Annotations").is_dir() else path
    return has_object_folders(annotations)


def _has_meta(path: Path) -> bool:
    """Whether MOSE's list of objects is in the folder, or beside it where the folder is a split."""
    return any(path.glob("meta_*.json")) or (path.parent / f"meta_{path.name}.json").is_file()


def _first_json(fits: Callable[[Path], bool]) -> Callable[[Path], bool]:
    """Whether some JSON file of the folder, or of a split in it, fits."""

    def folder_fits(path: Path) -> bool:
        found = next((one for pattern in ("*.json", "*/*.json") for one in path.glob(pattern)), None)
        return found is not None and fits(found)

    return folder_fits


_is_coco = _begins_with("images", "categories")
_is_sa1b = _begins_with("image")
_is_rle = _begins_with(RLE_FORMAT)

_FILES: dict[str, Callable[[Path], bool]] = {
    "sav": lambda path: path.suffix == ".json" and path.stem.rpartition("_")[2] in KINDS,
    "rle": _is_rle,
    "sa1b": _is_sa1b,
    "coco": lambda path: path.suffix.lower() == ".json",
}

_FOLDERS: dict[str, Callable[[Path], bool]] = {
    "sav-frames": _has("Annotations_6fps"),
    "sav": lambda path: _has("*_manual.json")(path) or _has("*_auto.json")(path),
    "davis17": lambda path: _has("Annotations")(path) and _has("ImageSets/2017")(path),
    "davis16": lambda path: _has("Annotations")(path) and _has("ImageSets/2016")(path),
    "lvos": lambda path: _has("Annotations")(path) and _has("*_meta.json")(path),
    "mose": lambda path: _has("Annotations")(path) and _has_meta(path),
    "images": _has("images", "masks"),
    "videos": _has("videos", "masks"),
    "rle": _first_json(_is_rle),
    "objects": _holds_objects,
    "youtube-vos": _has("Annotations", "JPEGImages"),
    "coco": lambda path: _has("annotations/*.json")(path) or _has("*.coco.json")(path) or _first_json(_is_coco)(path),
    "sa1b": _first_json(_is_sa1b),
}
"""In order of trial: the surest first."""
