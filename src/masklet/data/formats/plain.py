"""What people have without any tool: pictures with masks, videos with PNG folders, and masklet's own JSON."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from masklet.data.formats.base import Entry, Holds, RecordWriter, numbered, painted
from masklet.data.formats.files import (
    VIDEO_SUFFIXES,
    as_int,
    as_list,
    as_object,
    as_rate,
    inside,
    is_number,
    name_of,
    natural,
    picture_hw,
    pictures_in,
    read_json,
    save_ids,
    video_rate,
    write_json,
)
from masklet.data.formats.palette import OBJECT_IDS
from masklet.data.formats.png import IdPictures, frames_by_number, frames_of_files, numbers_of
from masklet.data.records import MAX_OBJECTS, PREDICTED_IOU, Masklet, Record, RecordError, check_name, pictures_of
from masklet.masks import Rle

RLE_FORMAT = "masklet-rle"


def read_images(root: Path, split: str | None) -> list[Entry]:
    """Pictures that have a mask of the same name: ROOT/images/NAME.jpg, ROOT/masks/NAME.png, below a split's folder.

    A mask holds object numbers, or 0 and 255 (or 1) for one object.
    """
    folder = _with_parts(root, split, ("images", "masks"))
    masks = {path.stem: path for path in pictures_in(folder / "masks") if path.suffix.lower() == ".png"}
    return [
        Entry(path.stem, path, partial(_read_image, path, masks[path.stem]))
        for path in pictures_in(folder / "images")
        if path.stem in masks
    ]


def read_videos(root: Path, split: str | None) -> list[Entry]:
    """Videos (files, or folders of pictures) that have a folder of PNG: ROOT/videos/NAME.mp4, ROOT/masks/NAME.

    The PNG are called as the pictures, or by the frame's number. They hold object numbers, or 0 and 255 for one object.
    """
    folder = _with_parts(root, split, ("videos", "masks"))
    paths = [path for path in (folder / "videos").iterdir() if path.is_dir() or path.suffix.lower() in VIDEO_SUFFIXES]
    return [
        Entry(name, path, partial(_read_video, name, path, folder / "masks" / name))
        for name, path in ((name_of(path), path) for path in natural(paths))
        if (folder / "masks" / name).is_dir()
    ]


def read_rle(root: Path, split: str | None) -> list[Entry]:
    """The JSON files that masklet wrote: ROOT, or those in ROOT. A split is a folder in the root."""
    folder = root / check_name(split) if split else root
    paths = [folder] if folder.is_file() else natural(folder.glob("*.json"))
    return [Entry(path.stem, path, partial(_read_rle, path)) for path in paths]


class ImagesWriter(RecordWriter):
    """Writes each annotated frame as a picture in images and a palette PNG in masks."""

    holds = Holds(video=False, overlap=False, gaps=True, objects=len(OBJECT_IDS), unseen=False)

    def _write(self, record: Record) -> None:
        folder = self.root / self.split if self.split else self.root
        frames = [0] if record.is_picture else record.annotated_frames
        ids = numbered(record, OBJECT_IDS, self.losses)
        for frame, picture in zip(frames, pictures_of(record), strict=True):
            name = picture.video_id
            self._save_frames(record, folder / "images", [frame], lambda _, name=name: name)
            save_ids(painted(record, frame, ids, self.losses), folder / "masks" / f"{name}.png")


class VideosWriter(RecordWriter):
    """Writes videos/NAME.mp4 (an MP4 is copied) and a palette PNG for each annotated frame in masks/NAME."""

    holds = Holds(overlap=False, rate=True, objects=len(OBJECT_IDS), unseen=False)

    def _write(self, record: Record) -> None:
        folder = self.root / self.split if self.split else self.root
        self._save_video(record, folder / "videos" / f"{record.video_id}.mp4")
        ids = numbered(record, OBJECT_IDS, self.losses)
        for frame in record.annotated_frames:
            ids_hw = painted(record, frame, ids, self.losses)
            save_ids(ids_hw, folder / "masks" / record.video_id / f"{frame:05d}.png")


class RleWriter(RecordWriter):
    """Writes NAME.json with the run lengths of all annotated frames, as `masklet track` does, and NAME.mp4."""

    holds = Holds(scores=(PREDICTED_IOU,), gaps=True, rate=True)

    def _write(self, record: Record) -> None:
        folder = self.root / self.split if self.split else self.root
        self._save_video(record, folder / f"{record.video_id}.mp4")
        height, width = record.video_hw
        fps = float(record.fps) if record.fps else None
        video = {"name": f"{record.video_id}.mp4", "height": height, "width": width, "fps": fps}
        document = {
            "format": RLE_FORMAT,
            "version": 1,
            "video": {**video, "frame_count": record.frame_count},
            "frames": [_frame_entry(record, frame) for frame in record.annotated_frames],
            "complete": True,
        }
        write_json(document, folder / f"{record.video_id}.json")


def _with_parts(root: Path, split: str | None, parts: tuple[str, ...]) -> Path:
    """ROOT/SPLIT or ROOT. Raises ValueError unless it has the folders."""
    folder = root / check_name(split) if split else root
    missing = [part for part in parts if not (folder / part).is_dir()]
    if missing:
        raise ValueError(f"there is no folder {folder / missing[0]}; expected {' and '.join(parts)} in {folder}")
    return folder


def _read_image(picture: Path, mask: Path) -> Record:
    ids = IdPictures.of_unknown_kind({0: mask}, picture_hw(picture))
    return Record(picture.stem, ids.video_hw, 1, _masklets(ids), frames=(picture,))


def _read_video(name: str, video: Path, masks: Path) -> Record:
    found = tuple(path for path in pictures_in(masks) if path.suffix.lower() == ".png")
    if not found:
        raise RecordError(f"{masks} holds no PNG masks")
    if video.is_dir():
        paths = pictures_in(video)
        ids = IdPictures.of_unknown_kind(frames_of_files(found, numbers_of(paths), name), picture_hw(found[0]))
        return Record(name, ids.video_hw, len(paths), _masklets(ids), frames=paths)
    video_hw, count, fps = video_rate(video)
    ids = IdPictures.of_unknown_kind(frames_by_number(found), video_hw)
    return Record(name, video_hw, count, _masklets(ids), fps, video)


def _masklets(ids: IdPictures) -> tuple[Masklet, ...]:
    return tuple(Masklet(obj, ids.masks_of(obj)) for obj in ids.objects())


def _read_rle(path: Path) -> Record:
    document = as_object(read_json(path), path)
    if document.get("format") != RLE_FORMAT:
        raise RecordError(f'{path}: expected "format": "{RLE_FORMAT}", got {str(document.get("format"))[:40]!r}')
    video = as_object(document.get("video"), path)
    height, width = (as_int(video.get(key), f"{path}: {key}") for key in ("height", "width"))
    masks: dict[int, dict[int, Rle]] = {}
    scores: dict[int, dict[str, dict[int, float]]] = {}
    frames = [as_object(entry, path) for entry in as_list(document.get("frames"), f"{path}: frames")]
    for entry in frames:
        frame = as_int(entry.get("frame"), f"{path}: frame")
        for one in as_list(entry.get("objects"), f"{path}: objects", MAX_OBJECTS):
            obj = as_int(as_object(one, path).get("object"), f"{path}: object")
            masks.setdefault(obj, {})[frame] = one.get("segmentation")
            if is_number(one.get("predicted_iou")):
                scores.setdefault(obj, {}).setdefault(PREDICTED_IOU, {})[frame] = one["predicted_iou"]
    masklets = tuple(Masklet(obj, masks[obj], scores=scores.get(obj, {})) for obj in sorted(masks))
    count = video.get("frame_count") or 1 + max((frame for found in masks.values() for frame in found), default=0)
    source = _beside(path, video.get("name"))
    count = as_int(count, f"{path}: frame_count")
    return Record(path.stem, (height, width), count, masklets, as_rate(video.get("fps")), source)


def _beside(path: Path, name: Any) -> Path | None:
    with suppress(RecordError):
        found = inside(path.parent, name)
        return found if found.is_file() else None
    return None


def _frame_entry(record: Record, frame: int) -> dict[str, Any]:
    objects = [
        {
            "object": masklet.id,
            "segmentation": dict(masklet.masks[frame]),
            "predicted_iou": masklet.scores.get(PREDICTED_IOU, {}).get(frame),
            "presence": None,
            "prompted": False,
        }
        for masklet in record.masklets
        if frame in masklet.masks
    ]
    return {"frame": frame, "time": float(frame / record.fps) if record.fps else None, "objects": objects}
