"""One folder of black and white PNG per object, so that objects may overlap: SA-V val and test, and results."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import ClassVar

from masklet.data.formats.base import Entry, Holds, RecordWriter
from masklet.data.formats.files import (
    folders_in,
    names_in,
    natural,
    picture_hw,
    pictures_in,
    save_mask,
    write_names,
)
from masklet.data.formats.png import frames_by_number, frames_of_files, masks_in_files, numbers_of
from masklet.data.records import MAX_OBJECTS, Masklet, Record, RecordError, check_name


@dataclass(frozen=True)
class Layout:
    """Where pictures and masks lie, and how fast the pictures follow."""

    pictures: str
    annotations: str
    fps: Fraction | None = None


SAV_FRAMES = Layout("JPEGImages_24fps", "Annotations_6fps", Fraction(24))
OBJECTS = Layout("JPEGImages", "Annotations")


def read_objects(layout: Layout, root: Path, split: str | None) -> list[Entry]:
    """The videos of ROOT/Annotations, of ROOT itself where it holds VIDEO/OBJECT, or the one video that ROOT is.

    A split is a text file with the names of videos, SPLIT.txt. Raises ValueError where it or the folders are missing.
    """
    annotations = root / layout.annotations if (root / layout.annotations).is_dir() else root
    if _is_video(annotations):
        return [Entry(annotations.name, annotations, partial(_read, layout, annotations, root / layout.pictures))]
    names = _listed(root, split) if split else [path.name for path in folders_in(annotations)]
    return [
        Entry(name, annotations / name, partial(_read, layout, annotations / name, root / layout.pictures / name))
        for name in names
    ]


class ObjectsWriter(RecordWriter):
    """Writes the pictures, and for each object a folder with a PNG for each annotated frame."""

    layout: ClassVar[Layout] = OBJECTS
    holds = Holds(gaps=True)

    def __init__(self, root: Path, split: str | None = None) -> None:
        super().__init__(root, split)
        annotations = root / self.layout.annotations
        there = [path.name for path in folders_in(annotations)] if annotations.is_dir() else []
        self._take(there, f"its masks are in {annotations} already; give another folder")

    def _write(self, record: Record) -> None:
        self._save_frames(record, self.root / self.layout.pictures / record.video_id)
        for frame in record.annotated_frames:
            for obj, mask in record.masks_at(frame).items():
                folder = self.root / self.layout.annotations / record.video_id / f"{obj:03d}"
                save_mask(mask, folder / f"{record.name_of(frame)}.png")


class SavFramesWriter(ObjectsWriter):
    """Writes SA-V's validation layout with its list of videos, SPLIT.txt (sav_val by default)."""

    layout = SAV_FRAMES
    holds = Holds(gaps=True, rate=True)

    def __init__(self, root: Path, split: str | None = None) -> None:
        super().__init__(root, check_name(split or "sav_val"))
        self._list = root / f"{self.split}.txt"
        self._names = self._take_listed(self._list)

    def _write(self, record: Record) -> None:
        if record.fps and record.fps != SAV_FRAMES.fps:
            what = "SA-V has 24 frames per second: these were kept one for one, at another rate"
            self.losses.note(what, record.video_id)
        super()._write(record)
        self._names.append(record.video_id)

    def _finish(self) -> None:
        write_names(self._names, self._list)


def has_object_folders(annotations: Path) -> bool:
    """Whether a folder holds VIDEO/OBJECT/*.png, or is OBJECT/*.png itself."""
    return _is_video(annotations) or any(_is_video(path) for path in folders_in(annotations)[:3])


def _is_video(folder: Path) -> bool:
    """Whether the folders in it are numbered objects with PNG in them."""
    objects = folders_in(folder)[:3]
    return bool(objects) and all(path.name.isdecimal() and any(path.glob("*.png")) for path in objects)


def _listed(root: Path, split: str) -> list[str]:
    file = root / f"{check_name(split)}.txt"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in root.glob("*.txt")))
        raise ValueError(f"there is no list {file}; the splits are: {known or 'none found'}")
    return [check_name(name) for name in names_in(file)]


def _read(layout: Layout, annotations: Path, pictures: Path) -> Record:
    paths = pictures_in(pictures) if pictures.is_dir() else ()
    folders = [path for path in folders_in(annotations) if path.name.isdecimal() and len(path.name) <= 16]
    if not folders or len(folders) > MAX_OBJECTS:
        raise RecordError(f"{annotations}: expected 1 to {MAX_OBJECTS} numbered folders, got {len(folders)}")
    masks = {folder: natural(folder.glob("*.png")) for folder in folders}
    name, numbers = annotations.name, numbers_of(paths)
    files = {
        folder: frames_of_files(found, numbers, f"{name}/{folder.name}") if paths else frames_by_number(found)
        for folder, found in masks.items()
    }
    first = next((path for path in (*paths[:1], *(found[0] for found in masks.values() if found))), None)
    if first is None:
        raise RecordError(f"{annotations} holds no PNG annotations")
    video_hw = picture_hw(first)
    masklets = tuple(Masklet(int(folder.name), masks_in_files(files[folder], video_hw)) for folder in folders)
    count = len(paths) or 1 + max(frame for found in files.values() for frame in found)
    return Record(name, video_hw, count, masklets, layout.fps if paths else None, paths or None)
