"""SA-1B: beside each picture NAME.jpg a NAME.json with run lengths."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from masklet.data.formats.base import Entry, Holds, RecordWriter
from masklet.data.formats.files import as_int, as_list, as_object, inside, natural, read_json, scores_in, write_json
from masklet.data.records import (
    MAX_OBJECTS,
    PREDICTED_IOU,
    SCORE,
    STABILITY,
    Masklet,
    Record,
    RecordError,
    check_name,
    pictures_of,
)
from masklet.masks import Rle, bounding_box, decode_rle


def read_sa1b(root: Path, split: str | None) -> list[Entry]:
    """The JSON files of a folder (and its folders), or one JSON file. A split is a folder in the root."""
    if root.is_file():
        return [Entry(root.stem, root, partial(_read, root))]
    folder = root / check_name(split) if split else root
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; check the root and the split")
    return [Entry(path.stem, path, partial(_read, path)) for path in natural(folder.rglob("*.json"))]


class Sa1bWriter(RecordWriter):
    """Writes each annotated frame as a picture with its JSON. Values that came from SA-1B are written as they came."""

    holds = Holds(video=False, provenance=("auto",), scores=(PREDICTED_IOU, STABILITY), gaps=True, extra_of="sa1b")

    def __init__(self, root: Path, split: str | None = None) -> None:
        super().__init__(root, split)
        self._pictures = 0

    def _write(self, record: Record) -> None:
        folder = self.root / self.split if self.split else self.root
        frames = [0] if record.is_picture else record.annotated_frames
        for frame, picture in zip(frames, pictures_of(record), strict=True):
            name = picture.video_id
            self._save_frames(record, folder, [frame], lambda _, name=name: name)
            write_json(self._document(picture), folder / f"{name}.json")

    def _document(self, picture: Record) -> dict[str, Any]:
        self._pictures += 1
        height, width = picture.video_hw
        known = picture.extra.get("sa1b", {})
        image = {"image_id": self._pictures, "width": width, "height": height, "file_name": f"{picture.video_id}.jpg"}
        annotations = [_annotation(masklet) for masklet in picture.masklets if 0 in masklet.masks]
        return {"image": {**image, **known}, "annotations": annotations}


def _annotation(masklet: Masklet) -> dict[str, Any]:
    mask = decode_rle(masklet.masks[0])
    x0, y0, x1, y1 = bounding_box(mask) or (0, 0, 0, 0)
    computed = {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": int(np.count_nonzero(mask))}
    scores = {kind: values[0] for kind, values in masklet.scores.items() if 0 in values and kind != SCORE}
    own = masklet.extra.get("sa1b", {})
    return {"id": masklet.id, "segmentation": dict(masklet.masks[0]), **computed, **scores, **own}


def _read(path: Path) -> Record:
    document = as_object(read_json(path), path)
    image = as_object(document.get("image"), path)
    video_hw = (as_int(image.get("height"), f"{path}: height"), as_int(image.get("width"), f"{path}: width"))
    picture = inside(path.parent, image.get("file_name"))
    annotations = as_list(document.get("annotations"), f"{path}: annotations", MAX_OBJECTS)
    masklets = tuple(_masklet(as_object(annotation, path), path) for annotation in annotations)
    known = {key: value for key, value in image.items() if key not in ("width", "height", "file_name")}
    return Record(
        path.stem,
        video_hw,
        1,
        masklets,
        frames=(picture,) if picture.is_file() else None,
        extra={"sa1b": known} if known else {},
    )


def _masklet(annotation: dict[str, Any], path: Path) -> Masklet:
    segmentation = annotation.get("segmentation")
    if not isinstance(segmentation, dict):
        raise RecordError(f"{path}: expected run lengths as segmentation, got {str(segmentation)[:60]}")
    scores = {kind: values for kind, values in scores_in(annotation).items() if kind != SCORE}
    extra = {key: value for key, value in annotation.items() if key not in ("id", "segmentation", *scores)}
    rle = Rle(size=segmentation.get("size", []), counts=segmentation.get("counts", ""))
    number = as_int(annotation.get("id"), f"{path}: id")
    return Masklet(number, {0: rle}, scores=scores, provenance="auto", extra={"sa1b": extra} if extra else {})
