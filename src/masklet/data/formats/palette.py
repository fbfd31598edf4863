"""DAVIS, YouTube-VOS, MOSE and LVOS: a folder of pictures and one of PNG whose pixels are object numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from masklet.data.formats.base import Entry, Holds, RecordWriter, numbered, painted
from masklet.data.formats.files import (
    VOID,
    as_object,
    checked_objects,
    folders_in,
    names_in,
    picture_hw,
    pictures_in,
    read_json,
    save_ids,
    write_json,
    write_names,
)
from masklet.data.formats.png import IdPictures, frames_by_number, frames_of_files, numbers_of
from masklet.data.records import Masklet, Record, RecordError, check_name
from masklet.masks import Rle

OBJECT_IDS = range(1, VOID)
DERIVED = ("category", "frames", "frame_range")
"""Keys of a meta.json that the record says in its own way."""


@dataclass(frozen=True)
class Layout:
    """Where a dataset keeps what. Paths are relative to the root; {split} stands for the split's name."""

    name: str
    resolution: str = ""
    """The folder below JPEGImages and Annotations that holds the videos."""
    has_split_folders: bool = False
    """Whether there is one folder a split, with JPEGImages and Annotations in it."""
    video_list: str = ""
    """A text file with the videos of a split."""
    metas: tuple[str, ...] = ()
    """JSON files with objects and their categories; the first is the one that is written."""
    binary: bool = False
    """One object a video: 0 and 255."""
    digits: int = 5
    first: int = 0
    """Digits of a frame's number, and the number of the first."""


DAVIS16 = Layout("davis16", resolution="480p", video_list="ImageSets/2016/{split}.txt", binary=True)
DAVIS17 = Layout("davis17", resolution="480p", video_list="ImageSets/2017/{split}.txt")
YOUTUBE_VOS = Layout("youtube-vos", has_split_folders=True, metas=("{split}/meta.json", "meta.json"))
MOSE = Layout("mose", has_split_folders=True, metas=("{split}/meta.json", "meta_{split}.json", "meta.json"))
LVOS = Layout(
    "lvos",
    has_split_folders=True,
    metas=("{split}/{split}_meta.json", "{split}_meta.json", "{split}/meta.json", "meta.json"),
    digits=8,
    first=1,
)


def read_palette(layout: Layout, root: Path, split: str | None) -> list[Entry]:
    """The videos of a split: those in its list, else all folders of annotations.

    Raises ValueError for a split or folders that are not there.
    """
    base, split = _base(layout, root, split)
    pictures, annotations = (_below(base / part, layout.resolution) for part in ("JPEGImages", "Annotations"))
    objects = objects_by_video(layout, root, split)
    return [
        Entry(name, annotations / name, partial(_read, layout, name, pictures, annotations, objects.get(name)))
        for name in _video_names(layout, root, split, annotations)
    ]


class PaletteWriter(RecordWriter):
    """Writes the pictures, a palette PNG for each annotated frame, and the list or meta.json of the split."""

    layout: ClassVar[Layout]

    def __init__(self, root: Path, split: str | None = None) -> None:
        super().__init__(root, check_name(split or "train"))
        self._base = root / str(self.split) if self.layout.has_split_folders else root
        self._list = root / self.layout.video_list.format(split=self.split)
        self._names = self._take_listed(self._list) if self.layout.video_list else []
        self._meta_path = next(iter(_meta_files(self.layout, (root,), self.split)), None)
        self._meta = read_json(self._meta_path) if self._meta_path and self._meta_path.is_file() else {"videos": {}}
        self._videos = _videos_of(self._meta, self._meta_path)
        self._take(self._videos, f"{self._meta_path} has it already; give another folder or split")

    def _write(self, record: Record) -> None:
        place = Path(self.layout.resolution, record.video_id)
        names = {frame: self._name(record, frame) for frame in range(record.frame_count)}
        self._save_frames(record, self._base / "JPEGImages" / place, name_of=names.__getitem__)
        ids = self._ids(record)
        for frame in record.annotated_frames:
            save_ids(
                painted(record, frame, ids, self.losses), self._base / "Annotations" / place / f"{names[frame]}.png"
            )
        self._names.append(record.video_id)
        self._videos[record.video_id] = {"objects": _meta_of(record, self.layout.name, ids, names)}

    def _finish(self) -> None:
        if self._meta_path:
            write_json({**self._meta, "videos": self._videos}, self._meta_path)
        if self.layout.video_list:
            write_names(self._names, self._list)

    def _name(self, record: Record, frame: int) -> str:
        if isinstance(record.frames, tuple):
            return record.name_of(frame)
        return f"{frame + self.layout.first:0{self.layout.digits}d}"

    def _ids(self, record: Record) -> dict[int, int]:
        if self.layout.binary:
            if len(record.masklets) > 1:
                self.losses.note("the format holds one object: all became one", record.video_id)
            return {masklet.id: VOID for masklet in record.masklets}
        return numbered(record, OBJECT_IDS, self.losses)


class Davis16Writer(PaletteWriter):
    """DAVIS 2016."""

    layout = DAVIS16
    holds = Holds(overlap=False, unseen=False)


class Davis17Writer(PaletteWriter):
    """DAVIS 2017."""

    layout = DAVIS17
    holds = Holds(overlap=False, objects=len(OBJECT_IDS), unseen=False)


class YouTubeVosWriter(PaletteWriter):
    """YouTube-VOS."""

    layout = YOUTUBE_VOS
    holds = Holds(overlap=False, names=True, objects=len(OBJECT_IDS), extra_of="youtube-vos")


class MoseWriter(PaletteWriter):
    """MOSE."""

    layout = MOSE
    holds = Holds(overlap=False, names=True, objects=len(OBJECT_IDS), extra_of="mose")


class LvosWriter(PaletteWriter):
    """LVOS."""

    layout = LVOS
    holds = Holds(overlap=False, names=True, objects=len(OBJECT_IDS), extra_of="lvos")


def _base(layout: Layout, root: Path, split: str | None) -> tuple[Path, str | None]:
    """The folder with JPEGImages and Annotations, and the split that it is."""
    if split is not None:
        check_name(split)
    if not layout.has_split_folders or (root / "Annotations").is_dir():
        return root, split or (root.name if layout.has_split_folders else None)
    splits = [path.name for path in folders_in(root) if (path / "Annotations").is_dir()]
    if split is None and len(splits) == 1:
        split = splits[0]
    if split not in splits:
        raise ValueError(f"there is no split {split} in {root}; choose one of: {', '.join(splits) or 'none found'}")
    return root / split, split


def _below(folder: Path, resolution: str) -> Path:
    return folder / resolution if (folder / resolution).is_dir() else folder


def _video_names(layout: Layout, root: Path, split: str | None, annotations: Path) -> list[str]:
    if not layout.video_list or split is None:
        return [path.name for path in folders_in(annotations)]
    file = root / layout.video_list.format(split=split)
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.txt")))
        raise ValueError(f"there is no list {file}; the splits are: {known or 'none found'}")
    return [check_name(name) for name in names_in(file)]


def objects_by_video(layout: Layout, root: Path, split: str | None) -> dict[str, Any]:
    """Video -> its "objects" in the layout's JSON file, nothing without one.

    Looks beside a split's folder too, where that is the root. Raises RecordError for a file of another kind.
    """
    tops = (root, root.parent) if (root / "Annotations").is_dir() else (root,)
    path = next((path for path in _meta_files(layout, tops, split) if path.is_file()), None)
    if path is None:
        return {}
    videos = _videos_of(read_json(path), path)
    return {name: as_object(entry, path).get("objects") for name, entry in videos.items()}


def _meta_files(layout: Layout, tops: Sequence[Path], split: str | None) -> list[Path]:
    """The JSON files that may say what objects there are: those that are there first, then as the layout has them."""
    files = [top / pattern.format(split=split) for top in tops for pattern in layout.metas]
    return sorted(files, key=lambda path: not path.is_file())


def _videos_of(meta: Any, path: Path | None) -> dict[str, Any]:
    return as_object(as_object(meta, path).get("videos"), path)


def _read(layout: Layout, name: str, pictures: Path, annotations: Path, objects: Any) -> Record:
    paths = pictures_in(pictures / name) if (pictures / name).is_dir() else ()
    masks = tuple(path for path in pictures_in(annotations / name) if path.suffix.lower() == ".png")
    if not masks:
        raise RecordError(f"{annotations / name} holds no PNG annotations")
    files = frames_of_files(masks, numbers_of(paths), name) if paths else frames_by_number(masks, layout.first)
    ids = IdPictures(files, picture_hw((paths or masks)[0]), binary=layout.binary)
    known = None if objects is None else checked_objects(objects, f"{name} in meta.json")
    ids.known = None if known is None else set(known)
    masklets = [_masklet(layout, ids, obj, (known or {}).get(obj, {}), paths) for obj in known or ids.objects()]
    count = len(paths) or max(files) + 1
    return Record(name, ids.video_hw, count, tuple(masklets), frames=paths or None)


def _masklet(layout: Layout, ids: IdPictures, obj: int, entry: Mapping[str, Any], paths: tuple[Path, ...]) -> Masklet:
    category = entry.get("category")
    extra = {key: value for key, value in entry.items() if key not in DERIVED}
    masks: Mapping[int, Rle] = ids.masks_of(obj)
    listed = entry.get("frames")
    if isinstance(listed, list) and paths and len(ids.files) < len(paths):
        masks = _where_introduced(masks, listed, paths)
    return Masklet(
        obj, masks, category if isinstance(category, str) else None, extra={layout.name: extra} if extra else {}
    )


def _where_introduced(masks: Mapping[int, Rle], listed: list[Any], paths: tuple[Path, ...]) -> dict[int, Rle]:
    """Without the frames on which the object is listed but not drawn: there it is seen but not annotated.

    So it is in validation sets, which draw each object on the first of its frames only.
    """
    names = {name for name in listed if isinstance(name, str)}
    drawn = {frame: masks[frame] for frame in masks}
    is_drawn = Masklet(0, drawn).is_visible
    return {frame: rle for frame, rle in drawn.items() if is_drawn(frame) or paths[frame].stem not in names}


def _meta_of(record: Record, format_name: str, ids: Mapping[int, int], names: Mapping[int, str]) -> dict[str, Any]:
    """The entry of a video in a meta.json: category, frames on which the object is seen, and what came with it."""
    objects = {}
    for masklet in record.masklets:
        seen = [names[frame] for frame in sorted(masklet.masks) if masklet.is_visible(frame)]
        category = {"category": masklet.name} if masklet.name else {}
        objects[str(ids[masklet.id])] = {**masklet.extra.get(format_name, {}), **category, "frames": seen}
    return objects
