"""Whatever stands in a file of a dataset, it is read or reported: nothing else than ValueError or OSError comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from masklet.data.datasets import open_dataset
from masklet.data.formats.table import open_writer
from masklet.data.records import Record
from masklet.data.sav import validate
from masklet.masks import encode_rle

from .samples import HW, masklet, pictures, square
from .test_sav import published

WRONG = (None, 3, 1e999, 10**400, "x", [1.0], [[]], {"x": []})

RLE = dict(encode_rle(square(1, 1)))
ANNOTATION = {
    "id": 1, "image_id": 1, "category_id": 1, "segmentation": RLE, "area": 16, "bbox": [1, 1, 4, 4],
    "iscrowd": 0, "score": 0.5, "predicted_iou": 0.5, "stability_score": 0.9,
}  # fmt: skip
IMAGE = {"id": 1, "file_name": "00000.jpg", "height": HW[0], "width": HW[1], "license": 1}
CATEGORY = {"id": 1, "name": "dog", "supercategory": "animal"}
FILE = {"categories": [CATEGORY], "licenses": [{"id": 1}], "info": {"year": 2017}}

DOCUMENTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sav manual": ("sav", "sav_000001_manual.json", published("manual")),
    "sav auto": ("sav", "sav_000001_auto.json", published("auto")),
    "coco": ("coco", "annotations/instances_train.json", {**FILE, "images": [IMAGE], "annotations": [ANNOTATION]}),
    "coco polygons": (
        "coco",
        "annotations/instances_train.json",
        {**FILE, "images": [IMAGE], "annotations": [{**ANNOTATION, "segmentation": [[2.0, 1.0, 6.0, 1.0, 6.0, 5.0]]}]},
    ),
    "coco video": (
        "coco",
        "annotations/instances_train.json",
        {
            **FILE,
            "videos": [{"id": 1, "name": "lake", "fps": 24.0, "frame_count": 9}],
            "images": [{**IMAGE, "video_id": 1, "frame_id": 0}],
            "annotations": [{**ANNOTATION, "instance_id": 4}],
        },
    ),
    "sa1b": (
        "sa1b",
        "sa_1.json",
        {
            "image": {"image_id": 1, "file_name": "00000.jpg", "height": HW[0], "width": HW[1]},
            "annotations": [ANNOTATION],
        },
    ),
    "rle": (
        "rle",
        "lake.json",
        {
            "format": "masklet-rle",
            "video": {"name": "lake.mp4", "height": HW[0], "width": HW[1], "fps": 24.0, "frame_count": 2},
            "frames": [{"frame": 0, "objects": [{"object": 1, "segmentation": RLE, "predicted_iou": 0.5}]}],
        },
    ),
    "youtube-vos": (
        "youtube-vos",
        "train/meta.json",
        {"videos": {"lake": {"objects": {"1": {"category": "dog", "frames": ["00000"]}}}}},
    ),
}  # fmt: skip


def spoiled(document: Any) -> Iterator[tuple[str, Any]]:
    """The document with each key, and the first entry of each list, replaced by each wrong value in turn."""
    keys = document if isinstance(document, dict) else [0] if isinstance(document, list) and document else []
    for key in keys:
        for wrong in WRONG:
            copy = deepcopy(document)
            copy[key] = wrong
            yield f"{key}: {wrong!r:.20}", copy
        for what, inner in spoiled(document[key]):
            copy = dict(document) if isinstance(document, dict) else list(document)
            copy[key] = inner
            yield f"{key}.{what}", copy


def converted(name: str, root: Path, out: Path) -> None:
    """As `masklet convert` does it: what is raised for users is for a file or a record."""
    try:
        dataset = open_dataset(name, root)
        for entry in dataset.entries:
            try:
                record = entry.read().checked()
                open_writer(out, name).add(record)
            except (ValueError, OSError):
                pass
    except (ValueError, OSError):
        pass


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_each_value_may_be_of_a_wrong_type(name: str, tmp_path: Path):
    format_name, file, sound = DOCUMENTS[name]
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    if format_name == "youtube-vos":
        with open_writer(tmp_path, "youtube-vos") as writer:
            writer.add(_pictured(tmp_path))
    path.write_text(json.dumps(sound))
    assert list(open_dataset(format_name, tmp_path)), "the document that is spoiled must be sound"
    out = tmp_path.with_name("out")
    for number, (what, document) in enumerate(spoiled(sound)):
        path.write_text(json.dumps(document).replace("Infinity", "1e999"))
        try:
            converted(format_name, tmp_path, out / f"{number}")
            if format_name == "sav":
                assert all(isinstance(problem, str) for problem in validate(path))
        except Exception as error:
            raise AssertionError(f"{name} with {what}") from error


def _pictured(folder: Path) -> Record:
    return Record("lake", HW, 1, (masklet(1, {0: square(0, 0)}),), frames=pictures(folder / "source", 1))
