"""COCO instances: pictures in a folder, one JSON for all. Videos as in CocoVID: images have video_id and frame_id."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from masklet.data.formats.base import Entry, Holds, RecordWriter
from masklet.data.formats.files import (
    MAX_JSON_BYTES,
    as_int,
    as_list,
    as_object,
    inside,
    read_json,
    write_json,
)
from masklet.data.records import MAX_NAME, Masklet, Record, RecordError, check_name, empty_rle
from masklet.masks import MAX_RLE_PIXELS, Rle, bounding_box, decode_rle, encode_rle

MAX_IMAGES = 50_000_000
MAX_POLYGON_NUMBERS = 200_000
FAR = 4
"""Polygons may reach so many picture sides out of the picture: drawing takes time with their length."""

Groups = list[tuple[str, "dict[str, Any]", "list[dict[str, Any]]"]]
"""(video id, its entry in "videos" or nothing, its images in order)."""


def read_coco(root: Path, split: str | None) -> list[Entry]:
    """The pictures or videos of a COCO file: ROOT itself, ROOT/annotations/instances_SPLIT.json, or the one in ROOT.

    Raises ValueError when there is none, or more than one and no split.
    """
    path = annotation_file(root, split)
    document = as_object(read_json(path, MAX_JSON_BYTES), path)
    images = as_list(document.get("images"), f"{path}: images", MAX_IMAGES)
    annotations: dict[Any, list[Any]] = defaultdict(list)
    for annotation in as_list(document.get("annotations"), f"{path}: annotations", MAX_IMAGES):
        annotations[as_object(annotation, path).get("image_id")].append(annotation)
    categories = as_list(document.get("categories", []), f"{path}: categories")
    names = {as_object(category, path).get("id"): category for category in categories}
    folders = _picture_folders(root, path, split)
    return [
        Entry(name, path, partial(_read, path, folders, name, video, shown, names, _of(annotations, shown)))
        for name, video, shown in _groups(document, images, path)
    ]


def annotation_file(root: Path, split: str | None = None) -> Path:
    """The JSON file of a COCO folder. Raises ValueError when there is none, or more than one and no split."""
    if root.is_file():
        return root
    found = sorted({*root.glob("*.json"), *root.glob("annotations/*.json")})
    instances = [path for path in found if path.stem.startswith("instances")] or found
    fit = [path for path in instances if split is None or path.stem in (split, f"instances_{split}")]
    if split is not None and not fit and (root / check_name(split)).is_dir():
        fit = sorted((root / split).glob("*.json"))
    if len(fit) != 1:
        names = ", ".join(path.stem for path in instances[:10])
        raise ValueError(f"expected one COCO file for split {split} in {root}, got {len(fit)} of: {names or 'none'}")
    return fit[0]


class CocoWriter(RecordWriter):
    """Writes annotations/instances_SPLIT.json (train by default) and the pictures into SPLIT."""

    holds: ClassVar[Holds] = Holds(names=True, scores=True, rate=True, unseen=False, extra_of="coco")
    polygons = False

    def __init__(self, root: Path, split: str | None = None) -> None:
        super().__init__(root, check_name(split or "train"))
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._videos: list[dict[str, Any]] = []
        self._categories: dict[str, int] = {}

    def _write(self, record: Record) -> None:
        frames = record.annotated_frames or [0]
        folder = self.root / str(self.split)
        self._save_frames(record, folder if record.is_picture else folder / record.video_id, frames, _namer(record))
        if not record.is_picture:
            self._add_video(record)
        if len(frames) < record.frame_count:
            self.losses.note("frames on which nothing is annotated are left out", record.video_id)
        for frame in frames:
            self._add_image(record, frame)

    def close(self) -> None:
        document = {
            "info": {"description": "masklets"},
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": number, "name": name} for name, number in self._categories.items()],
        }
        if self._videos:
            document["videos"] = self._videos
        write_json(document, self.root / "annotations" / f"instances_{self.split}.json")

    def _add_video(self, record: Record) -> None:
        rate = {"fps": float(record.fps)} if record.fps else {}
        height, width = record.video_hw
        entry = {"id": len(self._videos) + 1, "name": record.video_id, "height": height, "width": width}
        self._videos.append({**entry, **rate})

    def _add_image(self, record: Record, frame: int) -> None:
        name = f"{_namer(record)(frame)}.jpg"
        place = {} if record.is_picture else {"video_id": len(self._videos), "frame_id": frame}
        image = {
            "id": len(self._images) + 1,
            "file_name": name if record.is_picture else f"{record.video_id}/{name}",
            "height": record.video_hw[0],
            "width": record.video_hw[1],
            **place,
        }
        self._images.append(image)
        for masklet in record.masklets:
            mask = masklet.mask(frame)
            if mask is not None and mask.any():
                own = {} if record.is_picture else {"instance_id": masklet.id}
                self._annotations.append({**self._annotation(masklet, frame, mask), **own, "image_id": image["id"]})

    def _annotation(self, masklet: Masklet, frame: int, mask: np.ndarray) -> dict[str, Any]:
        x0, y0, x1, y1 = bounding_box(mask) or (0, 0, 0, 0)
        own = dict(masklet.extra.get("coco", {}))
        polygons = own.pop("polygons", None)
        area = own.pop("area", None)
        score = {"score": masklet.scores[frame]} if frame in masklet.scores else {}
        outlines = _outlines(mask) if self.polygons and not polygons else polygons
        return {
            "iscrowd": 0,
            **own,
            **score,
            "id": len(self._annotations) + 1,
            "category_id": self._categories.setdefault(masklet.name or "object", len(self._categories) + 1),
            "segmentation": outlines or dict(masklet.masks[frame]),
            "area": int(np.count_nonzero(mask)) if area is None else area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }


class CocoPolygonWriter(CocoWriter):
    """The same with outlines, which tools without run lengths can read."""

    polygons = True

    def _annotation(self, masklet: Masklet, frame: int, mask: np.ndarray) -> dict[str, Any]:
        annotation = super()._annotation(masklet, frame, mask)
        outlines = annotation["segmentation"]
        if (decode_rle(_drawn(outlines, mask.shape)) != mask).any():
            self.losses.note("outlines are not exact: holes are filled, edges cut corners", f"object {masklet.id}")
        return annotation


def _namer(record: Record) -> Any:
    """A picture is called as its record, the frames of a video as they are."""
    return (lambda _: record.video_id) if record.is_picture else record.name_of


def _groups(document: dict[str, Any], images: list[Any], path: Path) -> Groups:
    """Images by video, in order of their frames; pictures alone."""
    videos = as_list(document.get("videos", []), f"{path}: videos")
    by_id = {as_object(video, path).get("id"): (video, []) for video in videos}
    groups: Groups = []
    for image in images:
        video = as_object(image, path).get("video_id")
        if video in by_id:
            by_id[video][1].append(image)
        else:
            groups.append((_name(image.get("file_name"), image.get("id")), {}, [image]))
    return groups + [(_name(video.get("name"), video.get("id")), video, shown) for video, shown in by_id.values()]


def _name(name: Any, number: Any) -> str:
    """A video id from a file's name: without suffix, folders joined by dashes."""
    text = name if isinstance(name, str) else str(number)
    stem = text.rpartition(".")[0] if text.rpartition(".")[2].isalnum() and "." in text else text
    return stem.replace("/", "-")[-MAX_NAME:]


def _of(annotations: Mapping[Any, list[Any]], images: list[dict[str, Any]]) -> list[list[Any]]:
    return [annotations.get(image.get("id"), []) for image in images]


def _picture_folders(root: Path, path: Path, split: str | None) -> tuple[Path, ...]:
    """Where pictures may lie, the likeliest first."""
    top = root if root.is_dir() else path.parent
    name = split or path.stem.removeprefix("instances_")
    return (top / name, top / "images" / name, path.parent.parent / name, path.parent, top / "images", top)


def _read(
    path: Path,
    folders: tuple[Path, ...],
    name: str,
    video: dict[str, Any],
    images: list[dict[str, Any]],
    categories: Mapping[Any, dict[str, Any]],
    annotations: list[list[Any]],
) -> Record:
    if not images:
        raise RecordError(f"{path}: video {name} has no images")
    what = f"{path}: image {images[0].get('id')}"
    video_hw = (as_int(images[0].get("height"), what), as_int(images[0].get("width"), what))
    if min(video_hw) < 1 or math.prod(video_hw) > MAX_RLE_PIXELS:
        raise RecordError(f"{what}: expected a height and width of at most {MAX_RLE_PIXELS} pixels, got {video_hw}")
    ordered = _in_order(images, annotations, path)
    pictures = _pictures([image for image, _ in ordered], folders)
    if video:
        masklets = tuple(_tracks([shown for _, shown in ordered], video_hw, categories, path))
    else:
        masklets = tuple(_instances(annotations[0], video_hw, categories, path))
    rate = Fraction(video["fps"]).limit_denominator(1001) if isinstance(video.get("fps"), (int, float)) else None
    return Record(name, video_hw, len(images), masklets, rate, pictures)


def _in_order(
    images: list[dict[str, Any]], annotations: list[list[Any]], path: Path
) -> list[tuple[dict[str, Any], list[Any]]]:
    """Images with their annotations by frame_id."""
    frames = [as_int(image.get("frame_id", place), f"{path}: frame_id") for place, image in enumerate(images)]
    if len(set(frames)) < len(frames):
        raise RecordError(f"{path}: expected images of one video with different frame_ids")
    order = sorted(range(len(images)), key=frames.__getitem__)
    return [(images[place], annotations[place]) for place in order]


def _pictures(images: list[dict[str, Any]], folders: tuple[Path, ...]) -> tuple[Path, ...] | None:
    """The files of the images, if all are there."""
    found = [_existing(image.get("file_name"), folders) for image in images]
    return tuple(path for path in found if path) if all(found) else None


def _existing(name: Any, folders: tuple[Path, ...]) -> Path | None:
    return next((path for path in (inside(folder, name) for folder in folders) if path.is_file()), None)


def _instances(
    annotations: list[Any], video_hw: tuple[int, int], categories: Mapping[Any, dict[str, Any]], path: Path
) -> Iterator[Masklet]:
    """One masklet an annotation, numbered from 1. What else COCO says of it is kept as extra."""
    for place, annotation in enumerate(annotations, start=1):
        rle = _segmentation(annotation, video_hw, path)
        extra = {key: annotation[key] for key in ("iscrowd", "area") if key in annotation}
        if isinstance(annotation.get("segmentation"), list):
            extra["polygons"] = annotation["segmentation"]
        score = annotation.get("score")
        scores = {0: float(score)} if isinstance(score, (int, float)) else {}
        yield Masklet(place, {0: rle}, _category(annotation, categories), None, scores, {"coco": extra})


def _tracks(
    annotations: list[list[Any]], video_hw: tuple[int, int], categories: Mapping[Any, dict[str, Any]], path: Path
) -> Iterator[Masklet]:
    """The annotations of a video by their instance_id (or track_id); absent on images that lack one."""
    absent = empty_rle(video_hw)
    masks: dict[int, dict[int, Rle]] = defaultdict(lambda: dict.fromkeys(range(len(annotations)), absent))
    scores: dict[int, dict[int, float]] = defaultdict(dict)
    names: dict[int, str | None] = {}
    for frame, shown in enumerate(annotations):
        for annotation in shown:
            obj = as_int(annotation.get("instance_id", annotation.get("track_id")), f"{path}: instance_id")
            masks[obj][frame] = _segmentation(annotation, video_hw, path)
            names[obj] = _category(annotation, categories)
            if isinstance(annotation.get("score"), (int, float)):
                scores[obj][frame] = float(annotation["score"])
    for obj in sorted(masks):
        yield Masklet(obj, masks[obj], names[obj], None, scores[obj])


def _category(annotation: dict[str, Any], categories: Mapping[Any, dict[str, Any]]) -> str | None:
    name = categories.get(annotation.get("category_id"), {}).get("name")
    return name if isinstance(name, str) and name != "object" else None


def _segmentation(annotation: dict[str, Any], video_hw: tuple[int, int], path: Path) -> Rle:
    """Run lengths of any of COCO's forms: compressed, plain counts (crowds) or polygons."""
    segmentation, what = annotation.get("segmentation"), f"{path}: annotation {annotation.get('id')}"
    if isinstance(segmentation, dict):
        if segmentation.get("size") != list(video_hw):
            raise RecordError(f"{what}: size {str(segmentation.get('size'))[:40]}, but the image is {list(video_hw)}")
        if isinstance(segmentation.get("counts"), str):
            return Rle(size=list(video_hw), counts=segmentation["counts"])
        return encode_rle(decode_rle(segmentation))
    polygons = as_list(segmentation, f"{what}: segmentation")
    _check_polygons(polygons, video_hw, what)
    return _drawn(polygons, video_hw)


def _check_polygons(polygons: list[Any], video_hw: tuple[int, int], what: str) -> None:
    sides, total = FAR * max(video_hw), 0
    for polygon in polygons:
        total += len(as_list(polygon, f"{what}: polygon", MAX_POLYGON_NUMBERS))
        are_numbers = all(isinstance(number, (int, float)) and abs(number) <= sides for number in polygon)
        if len(polygon) < 6 or len(polygon) % 2 or not are_numbers or total > MAX_POLYGON_NUMBERS:
            raise RecordError(
                f"{what}: expected polygons [x, y, x, y, ...] of at least three corners within {sides} pixels, "
                f"got {str(polygon)[:60]}"
            )


def _drawn(polygons: list[list[float]], video_hw: tuple[int, ...]) -> Rle:
    """The union of polygons. (The first number of a polygon must be a float for pycocotools to see numbers.)"""
    height, width = video_hw
    if not polygons:
        return empty_rle((height, width))
    corners = [[float(number) for number in polygon] for polygon in polygons]
    merged = cast(Any, coco_mask).merge(cast(Any, coco_mask).frPyObjects(corners, height, width))
    return Rle(size=[height, width], counts=merged["counts"].decode("ascii"))


def _outlines(mask: np.ndarray) -> list[list[float]]:
    """Outer contours along the edges of pixels.

    In the mask of twice the size pixel i covers 2i and 2i + 1, which stand for its edges i and i + 1.
    """
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((contour.reshape(-1) + 1) // 2).astype(float).tolist() for contour in contours]
