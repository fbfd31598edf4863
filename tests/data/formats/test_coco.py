from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masklet.data.datasets import open_dataset
from masklet.data.formats.table import open_writer
from masklet.data.records import Record, RecordError
from masklet.masks import encode_rle

from .samples import HW, masklet, nothing, pictures, square, two_squares

POLYGON = [2.0, 1.0, 6.0, 1.0, 6.0, 5.0, 2.0, 5.0]


def annotation(number: int, segmentation: Any, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": 7, "category_id": 3, "segmentation": segmentation, "iscrowd": 0, **more}


def write_coco(root: Path, annotations: list[Any], file_name: str = "00000.jpg") -> Path:
    """One picture in the layout of the published instances."""
    pictures(root / "val2017", 1)
    document = {
        "images": [{"id": 7, "file_name": file_name, "height": HW[0], "width": HW[1]}],
        "annotations": annotations,
        "categories": [{"id": 3, "name": "dog", "supercategory": "animal"}],
    }
    path = root / "annotations" / "instances_val2017.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    return root


def test_polygons_run_lengths_and_crowds_are_read(tmp_path: Path):
    crowd = {"size": list(HW), "counts": [0, 5, HW[0] * HW[1] - 5]}
    annotations = [
        annotation(1, [POLYGON]),
        annotation(2, dict(encode_rle(square(8, 6)))),
        annotation(3, crowd, iscrowd=1, score=0.5),
    ]
    (record,) = open_dataset("coco", write_coco(tmp_path, annotations), "val2017")
    masks = record.masks_at(0)
    assert (masks[1] == square(2, 1)).all()
    assert (masks[2] == square(8, 6)).all()
    assert masks[3].sum() == 5
    assert [one.name for one in record.masklets] == ["dog"] * 3
    assert record.masklets[2].extra["coco"]["iscrowd"] == 1
    assert record.masklets[2].scores == {0: 0.5}
    with record.open_frames() as frames:
        assert len(frames) == 1


def test_polygons_and_crowds_are_written_as_they_came(tmp_path: Path):
    source = write_coco(tmp_path / "in", [annotation(1, [POLYGON], area=15.5), annotation(2, [POLYGON], iscrowd=1)])
    with open_writer(tmp_path / "out", "coco", "val2017") as writer:
        for record in open_dataset("coco", source):
            writer.add(record)
    assert writer.losses.sentences() == []
    written = json.loads((tmp_path / "out/annotations/instances_val2017.json").read_text())
    first, second = written["annotations"]
    assert (first["segmentation"], first["area"], first["bbox"]) == ([POLYGON], 15.5, [2, 1, 4, 4])
    assert second["iscrowd"] == 1
    assert written["categories"] == [{"id": 1, "name": "dog"}]
    assert (tmp_path / "out/val2017/00000.jpg").is_file()


def test_outlines_follow_the_edges_of_pixels(tmp_path: Path):
    shapes = {1: square(3, 2), 2: square(0, 0, 12), 3: square(17, 11, 1)}
    record = Record("park", HW, 1, tuple(masklet(obj, {0: mask}) for obj, mask in shapes.items()))
    with open_writer(tmp_path, "coco-polygons") as writer:
        writer.add(record)
    assert [loss for loss in writer.losses.sentences() if "outlines" in loss] == []
    (back,) = open_dataset("coco", tmp_path)
    for obj, mask in back.masks_at(0).items():
        assert (mask == shapes[obj]).all()


def test_outlines_that_lose_a_hole_are_reported(tmp_path: Path):
    ring = square(2, 2, 8) & ~square(4, 4, 3)
    with open_writer(tmp_path, "coco-polygons") as writer:
        writer.add(Record("park", HW, 1, (masklet(1, {0: ring}),)))
    assert any("holes are filled" in loss for loss in writer.losses.sentences())
    (back,) = open_dataset("coco", tmp_path)
    assert (back.masks_at(0)[1] == square(2, 2, 8)).all()


def test_videos_keep_their_objects_apart(tmp_path: Path):
    with open_writer(tmp_path, "coco") as writer:
        writer.add(Record("lake", HW, 2, two_squares([0, 1])))
        writer.add(Record("park", HW, 1, (masklet(4, {0: square(0, 0)}),)))
    by_name = {record.video_id: record for record in open_dataset("coco", tmp_path)}
    assert [one.id for one in by_name["lake"].masklets] == [1, 2]
    assert [by_name["lake"].masklets[1].is_visible(frame) for frame in (0, 1)] == [False, True]
    assert by_name["park"].frame_count == 1


def test_an_object_that_is_never_seen_is_reported(tmp_path: Path):
    with open_writer(tmp_path, "coco") as writer:
        writer.add(Record("park", HW, 1, (masklet(1, {0: nothing()}),)))
    assert any("never seen are left out" in loss for loss in writer.losses.sentences())


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 2, 3, 4]], "at least three corners"),
        ([[0, 0, 1e9, 0, 0, 1e9]], "within 72 pixels"),
        ([["0", 0, 1, 0, 0, 1]], "at least three corners"),
        ({"size": [5, 5], "counts": "0"}, r"but the image is \[12, 18\]"),
        ({"size": list(HW), "counts": [3]}, "do not add up"),
        (None, "expected a list"),
    ],
)
def test_broken_segmentations_leave_the_picture_out(segmentation: Any, message: str, tmp_path: Path):
    dataset = open_dataset("coco", write_coco(tmp_path, [annotation(1, segmentation)]))
    assert list(dataset) == []
    assert message.replace("\\", "") in next(iter(dataset.bad.values()))


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/passwd", "a/../../b.jpg", "..\\b.jpg", "C:/b.jpg", 7])
def test_a_picture_outside_of_the_folder_is_refused(name: Any, tmp_path: Path):
    (tmp_path / "secret.jpg").write_bytes(b"x")
    with pytest.raises(RecordError):
        open_dataset("coco", write_coco(tmp_path / "root", [], file_name=name))[0]


def test_several_files_without_a_split_are_named(tmp_path: Path):
    root = write_coco(tmp_path, [])
    (root / "annotations" / "instances_train2017.json").write_text("{}")
    with pytest.raises(ValueError, match="instances_train2017, instances_val2017"):
        open_dataset("coco", root)


def test_masks_of_pictures_are_not_linked_by_position(tmp_path: Path):
    record = Record("park", HW, 1, (masklet(9, {0: square(1, 1)}, name="cat"), masklet(2, {0: square(5, 5)})))
    with open_writer(tmp_path, "coco") as writer:
        writer.add(record)
    (back,) = open_dataset("coco", tmp_path)
    assert [one.name for one in back.masklets] == ["cat", None]
    assert np.array_equal(back.masks_at(0)[1], square(1, 1))
