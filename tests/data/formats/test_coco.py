from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masklet.data.datasets import open_dataset
from masklet.data.formats.table import open_writer
from masklet.data.records import PREDICTED_IOU, SCORE, STABILITY, Record, RecordError
from masklet.masks import encode_rle

from .samples import HW, content, in_pictures, masklet, nothing, pictures, square, two_squares

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
    assert record.masklets[2].scores == {SCORE: {0: 0.5}}
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
    assert (first["id"], first["image_id"], first["category_id"]) == (1, 7, 3)
    assert written["categories"] == [{"id": 3, "name": "dog", "supercategory": "animal"}]
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


def test_outlines_that_lose_a_hole_are_reported_for_their_video(tmp_path: Path):
    ring = square(2, 2, 8) & ~square(4, 4, 3)
    with open_writer(tmp_path, "coco-polygons") as writer:
        writer.add(Record("park", HW, 1, (masklet(1, {0: ring}), masklet(2, {0: ring}))))
    assert [loss for loss in writer.losses.sentences() if "holes are filled" in loss and "(park)" in loss]
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


def written(path: Path) -> dict[str, Any]:
    return json.loads((path / "annotations" / "instances_train.json").read_text())


def copied(source: Path, target: Path, split: str | None = None) -> list[str]:
    """What is lost from COCO to COCO."""
    with open_writer(target, "coco", split) as writer:
        for record in open_dataset("coco", source):
            writer.add(record)
    return writer.losses.sentences()


def rewrite(root: Path, **change: Any) -> Path:
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    return root


def test_categories_keep_their_ids_and_what_else_is_said_of_the_file(tmp_path: Path):
    categories = [
        {"id": 9, "name": "cat", "supercategory": "animal"},
        {"id": 3, "name": "dog", "supercategory": "animal", "keypoints": ["nose"]},
        {"id": 4, "name": "dog", "supercategory": "food"},
    ]
    extra = {"categories": categories, "licenses": [{"id": 5, "name": "BY"}], "info": {"year": 2017}}
    annotations = [annotation(12, [POLYGON]), {**annotation(40, [POLYGON]), "category_id": 4, "tags": ["far"]}]
    source = rewrite(write_coco(tmp_path / "in", annotations), **extra)
    assert copied(source, tmp_path / "out") == []
    found = written(tmp_path / "out")
    assert {key: found[key] for key in extra} == extra
    assert [(one["id"], one["category_id"]) for one in found["annotations"]] == [(12, 3), (40, 4)]
    assert found["annotations"][1]["tags"] == ["far"]


def test_ids_that_are_taken_are_given_anew_and_that_is_said(tmp_path: Path):
    first = write_coco(tmp_path / "first", [annotation(1, [POLYGON])], "one.jpg")
    second = write_coco(tmp_path / "second", [annotation(1, [POLYGON])], "two.jpg")
    rewrite(second, categories=[{"id": 3, "name": "boat"}], licenses=[{"id": 1}], info={"year": 1})
    rewrite(first, licenses=[{"id": 1, "name": "BY"}], info={"year": 2})
    assert copied(first, tmp_path / "out") == ["there are no frames to write beside the masks (one)"]
    losses = "\n".join(copied(second, tmp_path / "out"))
    for what in ("ids that are taken", "licenses whose ids are taken", "only the info of the first"):
        assert what in losses
    found = written(tmp_path / "out")
    assert [(one["id"], one["name"]) for one in found["categories"]] == [(3, "dog"), (4, "boat")]
    assert [(one["id"], one["image_id"], one["category_id"]) for one in found["annotations"]] == [(1, 7, 3), (2, 8, 4)]


def test_what_is_there_is_added_to(tmp_path: Path):
    for name in ("lake", "park"):
        with open_writer(tmp_path, "coco") as writer:
            writer.add(Record(name, HW, 2, two_squares([0, 1])))
    assert [one.video_id for one in open_dataset("coco", tmp_path)] == ["lake", "park"]
    with (
        open_writer(tmp_path, "coco") as writer,
        pytest.raises(ValueError, match=r"instances_train\.json has it already"),
    ):
        writer.add(Record("Lake", HW, 2, two_squares([0, 1])))
    assert len(written(tmp_path)["videos"]) == 2


@pytest.mark.parametrize("text", ["[]", '{"images": 3}', '{"images": [{"file_name": "a.jpg"}]}'])
def test_a_file_that_cannot_be_added_to_is_refused_and_stays(text: str, tmp_path: Path):
    path = tmp_path / "annotations" / "instances_train.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match="instances_train"):
        open_writer(tmp_path, "coco")
    assert path.read_text() == text


def test_an_error_leaves_no_file_that_looks_whole(tmp_path: Path):
    record = Record("lake", HW, 2, two_squares([0, 1]))

    def add_twice() -> None:
        with open_writer(tmp_path, "coco") as writer:
            writer.add(record)
            writer.add(record)

    with pytest.raises(ValueError, match="a second video"):
        add_twice()
    assert not (tmp_path / "annotations").exists()


def test_pictures_of_annotated_frames_are_shown_at_their_pace(tmp_path: Path):
    record = in_pictures(tmp_path / "source", 9, two_squares([0, 4, 8]))
    with open_writer(tmp_path / "out", "coco") as writer:
        writer.add(replace(record, fps=Fraction(24)))
    assert not any("times are not kept" in loss for loss in writer.losses.sentences())
    (back,) = open_dataset("coco", tmp_path / "out")
    assert (back.fps, back.frame_count, back.annotated_frames) == (6, 3, [0, 1, 2])


def test_pictures_that_do_not_follow_evenly_lose_their_times_and_that_is_said(tmp_path: Path):
    record = in_pictures(tmp_path / "source", 9, two_squares([0, 4, 7]))
    with open_writer(tmp_path / "out", "coco") as writer:
        writer.add(replace(record, fps=Fraction(24)))
    assert any("times are not kept" in loss for loss in writer.losses.sentences())
    (back,) = open_dataset("coco", tmp_path / "out")
    assert back.fps is None


def test_without_pictures_frames_keep_their_numbers(tmp_path: Path):
    record = Record("lake", HW, 9, two_squares([0, 4, 7]), Fraction(30000, 1001))
    with open_writer(tmp_path, "coco") as writer:
        writer.add(record)
    (back,) = open_dataset("coco", tmp_path)
    assert (back.fps, back.frame_count, content(back)) == (record.fps, 9, content(record))


def test_several_annotations_of_an_instance_on_a_frame_are_its_parts(tmp_path: Path):
    parts = [(square(0, 0), 0.4), (square(9, 4), 0.9), (nothing(), 0.1)]
    images = [{"id": 1, "video_id": 1, "frame_id": 0, "height": HW[0], "width": HW[1], "file_name": "lake/0.jpg"}]
    shown = [
        {"id": i, "image_id": 1, "category_id": 1, "instance_id": 5, "segmentation": encode_rle(mask), "score": score}
        for i, (mask, score) in enumerate(parts)
    ]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"videos": [{"id": 1, "name": "lake"}], "images": images, "annotations": shown}))
    (record,) = open_dataset("coco", path)
    assert (record.masks_at(0)[5] == (parts[0][0] | parts[1][0])).all()
    assert record.masklets[0].scores == {SCORE: {0: 0.9}}


def test_scores_keep_their_kind_and_others_read_a_predicted_iou_as_score(tmp_path: Path):
    scores = {PREDICTED_IOU: {0: 0.75, 1: 0.5}, STABILITY: {1: 0.25}}
    record = Record("lake", HW, 2, (masklet(1, {0: square(0, 0), 1: square(1, 0)}, scores=scores),))
    with open_writer(tmp_path, "coco") as writer:
        writer.add(record)
    assert [one["score"] for one in written(tmp_path)["annotations"]] == [0.75, 0.5]
    (back,) = open_dataset("coco", tmp_path)
    assert back.masklets[0].scores == scores


@pytest.mark.parametrize("count", [1, 2])
def test_names_with_dots_stay_apart(count: int, tmp_path: Path):
    with open_writer(tmp_path, "coco") as writer:
        for name in ("a.1", "a.2", "walk.1080p"):
            writer.add(Record(name, HW, count, (masklet(1, {0: square(0, 0)}),)))
    assert [one.video_id for one in open_dataset("coco", tmp_path)] == ["a.1", "a.2", "walk.1080p"]
