"""COCO instances: pictures in a folder, one JSON for all. Videos as in CocoVID: images have video_id and frame_id."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, cast

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from masklet.data.formats.base import Entry, Holds, RecordWriter
from masklet.data.formats.files import (
    MAX_JSON_BYTES,
    as_int,
    as_key,
    as_list,
    as_object,
    as_rate,
    inside,
    is_number,
    read_json,
    scores_in,
    write_json,
)
from masklet.data.records import (
    MAX_NAME,
    PREDICTED_IOU,
    SCORE,
    SCORE_KINDS,
    Masklet,
    Record,
    RecordError,
    check_name,
    empty_rle,
)
from masklet.masks import MAX_RLE_PIXELS, Rle, bounding_box, decode_rle, encode_rle

MAX_IMAGES = 50_000_000
MAX_POLYGON_NUMBERS = 200_000
FAR = 4
"""Polygons may reach so many picture sides out of the picture: drawing takes time with their length."""

TABLES = ("images", "annotations", "categories", "videos", "licenses")
NO_CATEGORY = "object"
"""The category of objects without a name."""

IMAGE_KEYS = ("file_name", "height", "width", "video_id", "frame_id")
VIDEO_KEYS = ("name", "height", "width", "fps", "frame_count")
ANNOTATION_KEYS = ("image_id", "segmentation", *SCORE_KINDS)
"""Keys whose values the record says in its own way."""

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
        annotations[_key(as_object(annotation, path), "image_id", path)].append(annotation)
    source = _Source.of(document, path, _picture_folders(root, path, split))
    return [
        Entry(name, path, partial(_read, source, name, video, shown, [annotations[_id(one, path)] for one in shown]))
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
    """Writes annotations/instances_SPLIT.json (train by default) and the pictures into SPLIT.

    Ids and categories that came from COCO are kept where they are free.
    """

    holds: ClassVar[Holds] = Holds(names=True, scores=tuple(SCORE_KINDS), rate=True, unseen=False, extra_of="coco")
    polygons = False

    def __init__(self, root: Path, split: str | None = None) -> None:
        super().__init__(root, check_name(split or "train"))
        self._path = root / "annotations" / f"instances_{self.split}.json"
        there = as_object(read_json(self._path, MAX_JSON_BYTES), self._path) if self._path.is_file() else {}
        tables = {name: _table(there, name, self._path) for name in TABLES}
        self._images, self._annotations, self._categories, self._videos, self._licenses = tables.values()
        self._document = {**there, **{name: table.entries for name, table in tables.items()}}
        self._category_ids: dict[tuple[str, str], int] = {}
        for category in self._categories.entries:
            for above in (category.get("supercategory"), None):
                self._category_ids.setdefault((str(category.get("name")), str(above)), category["id"])
        self._dataset: Mapping[str, Any] = {}
        if there:
            taken = (name for name, _, _ in _groups(there, self._images.entries, self._path))
            self._take(taken, f"{self._path} has it already; give another folder or split")

    def _write(self, record: Record) -> None:
        own = record.extra.get("coco", {})
        self._add_dataset(own.get("dataset", {}), record.video_id)
        frames = record.annotated_frames or [0]
        folder = self.root / str(self.split)
        self._save_frames(record, folder if record.is_picture else folder / record.video_id, frames, _namer(record))
        video = None if record.is_picture else self._add_video(record, own.get("video", {}))
        if record.frames is not None and len(frames) < record.frame_count:
            self.losses.note("frames on which nothing is annotated are left out", record.video_id)
            if record.fps and _stride(frames) is None:
                self.losses.note("annotated frames do not follow evenly: their times are not kept", record.video_id)
        for frame in frames:
            self._add_image(record, frame, video)

    def _finish(self) -> None:
        document = {"info": {"description": "masklets"}, **self._document}
        optional = ("videos", "licenses")
        write_json({key: value for key, value in document.items() if value or key not in optional}, self._path)

    def _add_dataset(self, dataset: Mapping[str, Any], video_id: str) -> None:
        """What a COCO file says of all its pictures, once."""
        if dataset is self._dataset or not dataset:
            return
        self._dataset = dataset
        if dataset.get("info") and self._document.setdefault("info", dataset["info"]) != dataset["info"]:
            self.losses.note("of several files only the info of the first is kept", video_id)
        for licence in dataset.get("licenses", []):
            if licence not in self._licenses.entries and not self._licenses.is_free(licence.get("id")):
                self.losses.note("licenses whose ids are taken are left out", video_id)
            elif licence not in self._licenses.entries:
                self._licenses.add(licence)
        for category in dataset.get("categories", {}).values():
            self._category_id(category, video_id)

    def _add_video(self, record: Record, own: Mapping[str, Any]) -> int:
        height, width = record.video_hw
        rate = {"fps": float(record.fps)} if record.fps else {}
        known = {**own, "name": record.video_id, "height": height, "width": width, **rate}
        return self._numbered(self._videos, {**known, "frame_count": record.frame_count}, record.video_id)

    def _add_image(self, record: Record, frame: int, video: int | None) -> None:
        name = f"{_namer(record)(frame)}.jpg"
        own = record.extra.get("coco", {}).get("image", {}) if video is None else {}
        image = {
            **own,
            "file_name": name if video is None else f"{record.video_id}/{name}",
            "height": record.video_hw[0],
            "width": record.video_hw[1],
            **({} if video is None else {"video_id": video, "frame_id": frame}),
        }
        number = self._numbered(self._images, image, record.video_id)
        for masklet in record.masklets:
            mask = masklet.mask(frame)
            if mask is not None and mask.any():
                instance = {} if video is None else {"instance_id": masklet.id}
                annotation = {**self._annotation(record, masklet, frame, mask), **instance, "image_id": number}
                self._numbered(self._annotations, annotation, record.video_id)

    def _annotation(self, record: Record, masklet: Masklet, frame: int, mask: np.ndarray) -> dict[str, Any]:
        x0, y0, x1, y1 = bounding_box(mask) or (0, 0, 0, 0)
        own = dict(masklet.extra.get("coco", {})) if record.is_picture else {}
        polygons = own.pop("polygons", None)
        outlines = _outlines(mask) if self.polygons and not polygons else polygons
        scores = {kind: values[frame] for kind, values in masklet.scores.items() if frame in values}
        return {
            "iscrowd": 0,
            "area": int(np.count_nonzero(mask)),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            **own,
            **({SCORE: scores[PREDICTED_IOU]} if PREDICTED_IOU in scores else {}),
            **scores,
            "category_id": self._category_of(record, masklet),
            "segmentation": outlines or dict(masklet.masks[frame]),
        }

    def _category_of(self, record: Record, masklet: Masklet) -> int:
        """The id of a masklet's category: the one that it came with, if that is still its name."""
        name = masklet.name or NO_CATEGORY
        categories = record.extra.get("coco", {}).get("dataset", {}).get("categories", {})
        category = categories.get(masklet.extra.get("coco", {}).get("category_id"), {})
        return self._category_id(category if category.get("name") == name else {"name": name}, record.video_id)

    def _category_id(self, category: Mapping[str, Any], video_id: str) -> int:
        """The id of a category, which is another one where the same name has another supercategory."""
        name, above = str(category.get("name")), category.get("supercategory")
        if (name, str(above)) not in self._category_ids:
            number = self._numbered(self._categories, category, video_id)
            self._category_ids[name, str(above)] = number
            self._category_ids.setdefault((name, str(None)), number)
        return self._category_ids[name, str(above)]

    def _numbered(self, table: _Table, entry: Mapping[str, Any], video_id: str) -> int:
        """The id of an entry that is added: its own one, if it has one that is free."""
        number = table.add(entry)
        if entry.get("id") not in (None, number):
            self.losses.note("ids that are taken or no whole numbers are given anew", video_id)
        return number


class CocoPolygonWriter(CocoWriter):
    """The same with outlines, which tools without run lengths can read."""

    polygons = True

    def _annotation(self, record: Record, masklet: Masklet, frame: int, mask: np.ndarray) -> dict[str, Any]:
        annotation = super()._annotation(record, masklet, frame, mask)
        if (decode_rle(_drawn(annotation["segmentation"], mask.shape)) != mask).any():
            self.losses.note("outlines are not exact: holes are filled, edges cut corners", record.video_id)
        return annotation


class _Table:
    """Entries of one list of a file, whose ids differ."""

    def __init__(self, entries: list[dict[str, Any]], path: Path) -> None:
        self.entries = entries
        self._ids = {_id(entry, path) for entry in entries}
        if None in self._ids:
            raise RecordError(f"{path} has entries without an id, so nothing can be added to it; give another folder")
        self._next = 1 + max((number for number in self._ids if type(number) is int), default=0)

    def is_free(self, number: Any) -> bool:
        return type(number) is int and number >= 0 and number not in self._ids

    def add(self, entry: Mapping[str, Any]) -> int:
        """The id of a new entry: its own one if that is free, else the next."""
        number = entry["id"] if self.is_free(entry.get("id")) else self._next
        self.entries.append({**entry, "id": number})
        self._ids.add(number)
        self._next = max(self._next, number + 1)
        return number


def _table(document: Mapping[str, Any], name: str, path: Path) -> _Table:
    entries = as_list(document.get(name, []), f"{path}: {name}", MAX_IMAGES)
    return _Table([as_object(entry, path) for entry in entries], path)


def _namer(record: Record) -> Any:
    """A picture is called as its record, the frames of a video as they are."""
    return (lambda _: record.video_id) if record.is_picture else record.name_of


def _groups(document: dict[str, Any], images: list[Any], path: Path) -> Groups:
    """Images by video, in order of their frames; pictures alone."""
    videos = as_list(document.get("videos", []), f"{path}: videos")
    by_id = {_id(as_object(video, path), path): (video, []) for video in videos}
    groups: Groups = []
    for image in images:
        video = _key(as_object(image, path), "video_id", path)
        if video in by_id:
            by_id[video][1].append(image)
        else:
            name = image.get("file_name")
            stem = name.rpartition(".")[0] or name if isinstance(name, str) else name
            groups.append((_name(stem, image.get("id")), {}, [image]))
    return groups + [(_name(video.get("name"), video.get("id")), video, shown) for video, shown in by_id.values()]


def _name(name: Any, number: Any) -> str:
    """A video id from the name of a video or of a picture without suffix: folders are joined by dashes."""
    text = name if isinstance(name, str) else str(number)
    return text.replace("/", "-")[-MAX_NAME:]


def _id(entry: Mapping[str, Any], path: Path) -> int | float | str | None:
    return _key(entry, "id", path)


def _key(entry: Mapping[str, Any], key: str, path: Path) -> int | float | str | None:
    return as_key(entry.get(key), f"{path}: {key}")


def _stride(frames: Sequence[int]) -> int | None:
    """How many frames lie from each to the next; None where that differs."""
    steps = {after - before for before, after in pairwise(frames)} or {1}
    return steps.pop() if len(steps) == 1 else None


def _picture_folders(root: Path, path: Path, split: str | None) -> tuple[Path, ...]:
    """Where pictures may lie, the likeliest first."""
    top, above = root if root.is_dir() else path.parent, path.parent.parent
    name = split or path.stem.removeprefix("instances_")
    of_split = (top / name, top / "images" / name, above / name, above / "images" / name)
    return (*of_split, path.parent, top / "images", above / "images", top)


@dataclass(frozen=True)
class _Source:
    """What all pictures of a file share."""

    path: Path
    folders: tuple[Path, ...]
    """Where pictures may lie."""
    dataset: Mapping[str, Any]
    """Categories by id, licenses and info."""

    @classmethod
    def of(cls, document: Mapping[str, Any], path: Path, folders: tuple[Path, ...]) -> _Source:
        categories, licenses = (
            [as_object(entry, path) for entry in as_list(document.get(key, []), f"{path}: {key}")]
            for key in ("categories", "licenses")
        )
        by_id = {_id(category, path): category for category in categories}
        return cls(path, folders, {"categories": by_id, "licenses": licenses, "info": document.get("info")})

    def name_of(self, annotation: Mapping[str, Any]) -> str | None:
        """The name of an annotation's category, if it has one."""
        category = self.dataset["categories"].get(_key(annotation, "category_id", self.path), {})
        name = category.get("name")
        return name if isinstance(name, str) and name != NO_CATEGORY else None


def _read(
    source: _Source, name: str, video: dict[str, Any], images: list[dict[str, Any]], annotations: list[list[Any]]
) -> Record:
    path = source.path
    if not images:
        raise RecordError(f"{path}: video {name} has no images")
    what = f"{path}: image {images[0].get('id')}"
    video_hw = (as_int(images[0].get("height"), what), as_int(images[0].get("width"), what))
    if min(video_hw) < 1 or math.prod(video_hw) > MAX_RLE_PIXELS:
        raise RecordError(f"{what}: expected a height and width of at most {MAX_RLE_PIXELS} pixels, got {video_hw}")
    if not video:
        masklets = tuple(_instances(annotations[0], video_hw, source))
        extra = {"image": _without(images[0], IMAGE_KEYS), "dataset": source.dataset}
        return Record(name, video_hw, 1, masklets, None, _pictures(images, source.folders), {"coco": extra})
    images, annotations, numbers = _in_order(images, annotations, path)
    rate, pictures = as_rate(video.get("fps")), _pictures(images, source.folders)
    if pictures:
        stride = _stride(numbers)
        rate, numbers = rate / stride if rate and stride else None, list(range(len(images)))
    count = max(numbers[-1] + 1, 0 if pictures else as_int(video.get("frame_count", 0), f"{path}: frame_count"))
    masklets = tuple(_tracks(dict(zip(numbers, annotations, strict=True)), video_hw, source))
    extra = {"video": _without(video, VIDEO_KEYS), "dataset": source.dataset}
    return Record(name, video_hw, count, masklets, rate, pictures, {"coco": extra})


def _without(entry: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in keys}


def _in_order(
    images: list[dict[str, Any]], annotations: list[list[Any]], path: Path
) -> tuple[list[dict[str, Any]], list[list[Any]], list[int]]:
    """Images with their annotations by frame_id, and these."""
    frames = [as_int(image.get("frame_id", place), f"{path}: frame_id") for place, image in enumerate(images)]
    if len(set(frames)) < len(frames):
        raise RecordError(f"{path}: expected images of one video with different frame_ids")
    order = sorted(range(len(images)), key=frames.__getitem__)
    return [images[place] for place in order], [annotations[place] for place in order], sorted(frames)


def _pictures(images: list[dict[str, Any]], folders: tuple[Path, ...]) -> tuple[Path, ...] | None:
    """The files of the images, if all are there."""
    found = [_existing(image.get("file_name"), folders) for image in images]
    return tuple(path for path in found if path) if all(found) else None


def _existing(name: Any, folders: tuple[Path, ...]) -> Path | None:
    return next((path for path in (inside(folder, name) for folder in folders) if path.is_file()), None)


def _instances(annotations: list[Any], video_hw: tuple[int, int], source: _Source) -> Iterator[Masklet]:
    """One masklet an annotation, numbered from 1. What else COCO says of it is kept as extra."""
    for place, annotation in enumerate(annotations, start=1):
        rle = _segmentation(annotation, video_hw, source.path)
        extra = _without(annotation, ANNOTATION_KEYS)
        if isinstance(annotation.get("segmentation"), list):
            extra["polygons"] = annotation["segmentation"]
        name, scores = source.name_of(annotation), _scores(annotation, 0)
        yield Masklet(place, {0: rle}, name, None, scores, {"coco": extra})


def _tracks(annotations: Mapping[int, list[Any]], video_hw: tuple[int, int], source: _Source) -> Iterator[Masklet]:
    """The annotations of a video by frame, by their instance_id (or track_id); absent on images that lack one.

    Several of one instance on a frame are its parts.
    """
    absent = empty_rle(video_hw)
    masks: dict[int, dict[int, Rle]] = defaultdict(lambda: dict.fromkeys(annotations, absent))
    scores: dict[int, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    last: dict[int, Any] = {}
    for frame, shown in annotations.items():
        for annotation in shown:
            number = annotation.get("instance_id", annotation.get("track_id"))
            obj = as_int(number, f"{source.path}: instance_id")
            rle = _segmentation(annotation, video_hw, source.path)
            known = masks[obj][frame]
            masks[obj][frame] = rle if known is absent else _union(known, rle)
            for kind, values in _scores(annotation, frame).items():
                scores[obj][kind][frame] = max(values[frame], scores[obj][kind].get(frame, -math.inf))
            last[obj] = annotation
    for obj in sorted(masks):
        category = {"category_id": last[obj].get("category_id")}
        yield Masklet(obj, masks[obj], source.name_of(last[obj]), None, dict(scores[obj]), {"coco": category})


def _union(one: Rle, other: Rle) -> Rle:
    return encode_rle(decode_rle(one) | decode_rle(other))


def _scores(annotation: Mapping[str, Any], frame: int) -> dict[str, dict[int, float]]:
    """Scores by kind. A predicted IoU is written twice, so that tools that know a score only have one."""
    found = scores_in(annotation, frame)
    if found.get(SCORE) == found.get(PREDICTED_IOU):
        found.pop(SCORE, None)
    return found


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
        are_numbers = all(is_number(number) and abs(number) <= sides for number in polygon)
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
