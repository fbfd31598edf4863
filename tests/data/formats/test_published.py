"""Small folders made by hand in the layouts that their authors publish: readers must know more than our writers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from masklet.data.datasets import open_dataset
from masklet.data.formats.table import format_of
from masklet.data.records import PREDICTED_IOU, STABILITY, Record

from .samples import HW, square, video

PALETTE = [0, 0, 0, 236, 95, 103, 249, 145, 87, 250, 200, 99, *range(252), *range(252), *range(252)]
"""Colours of other tools: what counts is the number of a colour."""

Drawn = Mapping[int, Mapping[int, np.ndarray]]
"""Frame -> object -> mask."""


def write_pictures(folder: Path, names: Sequence[str]) -> None:
    """Picture i has grey level 10 * i."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        Image.fromarray(np.full((*HW, 3), 10 * place, dtype=np.uint8)).save(folder / f"{name}.jpg")


def write_palette(path: Path, objects: Mapping[int, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    ids_hw = np.zeros(HW, dtype=np.uint8)
    for obj, mask in objects.items():
        ids_hw[mask] = obj
    picture = Image.fromarray(ids_hw)
    picture.putpalette(PALETTE)
    picture.save(path)


def write_video(base: Path, place: str, names: Sequence[str], drawn: Drawn) -> None:
    """JPEGImages/PLACE with all frames, Annotations/PLACE with those that are drawn."""
    write_pictures(base / "JPEGImages" / place, names)
    for frame, objects in drawn.items():
        write_palette(base / "Annotations" / place / f"{names[frame]}.png", objects)


def shown(record: Record) -> dict[int, list[int]]:
    """Id -> frames on which the object is seen."""
    return {one.id: [frame for frame in one.masks if one.is_visible(frame)] for one in record.masklets}


def brightness(record: Record) -> list[int]:
    with record.open_frames() as frames:
        return [round(float(frame.mean()) / 10) for frame in frames]


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    rle: Any = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


TWO = {1: square(0, 0), 2: square(9, 4)}


def test_davis_2017_lists_videos_of_a_split_beside_those_of_others(tmp_path: Path):
    names = [f"{frame:05d}" for frame in range(3)]
    for place in ("bike-packing", "dogs-jump", "bear"):
        write_video(tmp_path, f"480p/{place}", names, {0: TWO, 1: {2: square(10, 4)}, 2: {1: square(2, 0)}})
    lists = tmp_path / "ImageSets" / "2017"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("bear\n")
    (lists / "val.txt").write_text("bike-packing\ndogs-jump\n")
    assert format_of(tmp_path) == "davis17"
    records = list(open_dataset(None, tmp_path, "val"))
    assert [record.video_id for record in records] == ["bike-packing", "dogs-jump"]
    assert shown(records[0]) == {1: [0, 2], 2: [0, 1]}
    assert (records[0].masks_at(1)[2] == square(10, 4)).all()
    assert brightness(records[1]) == [0, 1, 2]


def test_davis_2017_may_have_folders_of_full_resolution_and_void_at_edges(tmp_path: Path):
    write_video(tmp_path, "Full-Resolution/bear", ["00000"], {0: {1: square(0, 0)}})
    write_video(tmp_path, "480p/bear", ["00000"], {0: {1: square(3, 3), 255: square(7, 3, 1)}})
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2017" / "train.txt").write_text("bear\n")
    (record,) = open_dataset("davis17", tmp_path, "train")
    assert list(record.masks_at(0)) == [1]
    assert (record.masks_at(0)[1] == square(3, 3)).all()


def test_youtube_vos_has_pictures_and_masks_of_every_fifth_frame(tmp_path: Path):
    train = tmp_path / "train"
    write_video(train, "0a2f2bd294", ["00000", "00005", "00010"], {0: {1: square(0, 0)}, 1: TWO, 2: {2: square(10, 4)}})
    objects = {
        "1": {"category": "giant_panda", "frames": ["00000", "00005"]},
        "2": {"category": "person", "frames": ["00005", "00010"]},
    }
    (train / "meta.json").write_text(
        json.dumps({"videos": {"0a2f2bd294": {"objects": objects}, "1b": {"objects": {}}}})
    )
    assert format_of(tmp_path) == "youtube-vos"
    for root, split in ((tmp_path, "train"), (tmp_path, None), (train, None)):
        (record,) = open_dataset(None, root, split)
        assert [(one.id, one.name) for one in record.masklets] == [(1, "giant_panda"), (2, "person")]
        assert shown(record) == {1: [0, 1], 2: [1, 2]}
        assert [record.name_of(frame) for frame in record.annotated_frames] == ["00000", "00005", "00010"]
        assert brightness(record) == [0, 1, 2]


def test_youtube_vos_with_all_frames_has_masks_of_every_fifth(tmp_path: Path):
    names = [f"{frame:05d}" for frame in range(15, 26)]
    write_video(tmp_path / "train_all_frames", "003234408d", names, {0: {1: square(0, 0)}, 5: TWO, 10: TWO})
    (record,) = open_dataset("youtube-vos", tmp_path, "train_all_frames")
    assert record.annotated_frames == [0, 5, 10]
    assert shown(record) == {1: [0, 5, 10], 2: [5, 10]}
    assert brightness(record) == list(range(11))


def test_mose_keeps_its_lists_of_objects_beside_the_splits(tmp_path: Path):
    names = [f"{frame:05d}" for frame in range(3)]
    write_video(tmp_path / "train", "002b4dce", names, {0: TWO, 1: {1: square(1, 0)}, 2: TWO})
    write_video(tmp_path / "valid", "00a2f2bd", names, {0: TWO})
    for split, place in (("train", "002b4dce"), ("valid", "00a2f2bd")):
        frames = {"frames": names if split == "valid" else names[:1] + names[2:]}
        objects = {"1": {"category": "dog", "frames": names}, "2": {"category": "cat", **frames}}
        (tmp_path / f"meta_{split}.json").write_text(json.dumps({"videos": {place: {"objects": objects}}}))
    assert format_of(tmp_path) == "mose"
    (learned,) = open_dataset(None, tmp_path, "train")
    assert [(one.id, one.name) for one in learned.masklets] == [(1, "dog"), (2, "cat")]
    assert shown(learned) == {1: [0, 1, 2], 2: [0, 2]}
    assert sorted(learned.masklets[1].masks) == [0, 1, 2]
    (tested,) = open_dataset(None, tmp_path / "valid")
    assert [(one.name, sorted(one.masks)) for one in tested.masklets] == [("dog", [0]), ("cat", [0])]
    assert brightness(tested) == [0, 1, 2]


@pytest.mark.parametrize("more", [[], ["train_expression_meta.json", "train_meta_attribute.json"]])
def test_lvos_says_in_its_meta_file_from_where_to_where_an_object_is_seen(more: list[str], tmp_path: Path):
    train = tmp_path / "train"
    names = [f"{frame:08d}" for frame in (1, 6, 11, 16)]
    write_video(train, "0tCWPOrc", names, {0: {1: square(0, 0)}, 1: TWO, 2: {2: square(10, 4)}, 3: TWO})
    ranges = {"1": {"start": names[0], "end": names[3]}, "2": {"start": names[1], "end": names[3]}}
    objects = {obj: {"frame_range": {**ends, "frame_nums": 3}} for obj, ends in ranges.items()}
    for name in ("train_meta.json", *more):
        (train / name).write_text(json.dumps({"videos": {"0tCWPOrc": {"objects": objects}}}))
    (tmp_path / "val").mkdir()
    assert format_of(tmp_path) == "lvos"
    for root, split in ((tmp_path, "train"), (train, None)):
        (record,) = open_dataset(None, root, split)
        assert shown(record) == {1: [0, 1, 3], 2: [1, 2, 3]}
        assert [record.name_of(frame) for frame in record.annotated_frames] == names
        assert brightness(record) == [0, 1, 2, 3]


def test_lvos_draws_objects_of_its_test_set_in_the_first_frame_only(tmp_path: Path):
    write_video(tmp_path / "test", "1a", ["00000001", "00000002"], {0: {1: square(0, 0)}})
    objects = {"1": {"frame_range": {"start": "00000001", "end": "00000002", "frame_nums": 2}}}
    (tmp_path / "test/test_meta.json").write_text(json.dumps({"videos": {"1a": {"objects": objects}}}))
    (record,) = open_dataset(None, tmp_path, "test")
    assert (record.frame_count, record.annotated_frames) == (2, [0])


def sa1b_annotation(number: int, mask: np.ndarray) -> dict[str, Any]:
    segmentation = run_lengths(mask)
    return {
        "bbox": [float(number) for number in coco_mask.toBbox(segmentation)],  # type: ignore[arg-type]
        "area": int(mask.sum()),
        "segmentation": segmentation,
        "predicted_iou": 0.9 + number / 1e9,
        "point_coords": [[4.6875, 2.5]],
        "crop_box": [0.0, 0.0, float(HW[1]), float(HW[0])],
        "id": 528_320_000 + number,
        "stability_score": 0.97,
    }


def test_sa_1b_has_a_json_file_with_run_lengths_beside_each_picture(tmp_path: Path):
    known = [sa1b_annotation(1, square(2, 1)), sa1b_annotation(2, square(0, 0, 9))]
    for name in ("sa_223750", "sa_223751"):
        write_pictures(tmp_path / "sa_000020", [name])
        image = {"image_id": int(name[3:]), "width": HW[1], "height": HW[0], "file_name": f"{name}.jpg"}
        document = {"image": image, "annotations": known}
        (tmp_path / "sa_000020" / f"{name}.json").write_text(json.dumps(document))
    assert format_of(tmp_path / "sa_000020") == "sa1b"
    records = list(open_dataset(None, tmp_path / "sa_000020"))
    assert [record.video_id for record in records] == ["sa_223750", "sa_223751"]
    assert brightness(records[0]) == [0]
    first, second = records[0].masklets
    assert (first.id, second.id) == (528_320_001, 528_320_002)
    assert (records[0].masks_at(0)[first.id] == square(2, 1)).all()
    assert (records[0].masks_at(0)[second.id] == square(0, 0, 9)).all()
    assert first.scores == {PREDICTED_IOU: {0: known[0]["predicted_iou"]}, STABILITY: {0: 0.97}}
    assert first.provenance == "auto"
    assert first.extra["sa1b"] == {key: known[0][key] for key in ("bbox", "area", "point_coords", "crop_box")}
    assert [one.video_id for one in open_dataset(None, tmp_path)] == ["sa_223750", "sa_223751"]


def test_videos_lie_beside_folders_of_png_for_each_frame(tmp_path: Path):
    video(tmp_path / "videos" / "lake.mp4", 4)
    video(tmp_path / "videos" / "without masks.mp4", 1)
    for frame in range(4):
        write_palette(tmp_path / "masks" / "lake" / f"{frame:05d}.png", {1: square(frame, 0), 3: square(12, 6)})
    assert format_of(tmp_path) == "videos"
    (record,) = open_dataset(None, tmp_path)
    assert (record.video_id, record.video_hw, record.frame_count, record.fps) == ("lake", HW, 4, 24)
    assert shown(record) == {1: [0, 1, 2, 3], 3: [0, 1, 2, 3]}
    assert (record.masks_at(3)[1] == square(3, 0)).all()
    assert brightness(record) == [0, 1, 2, 3]


def test_black_and_white_png_of_a_video_show_one_object_that_may_be_absent(tmp_path: Path):
    video(tmp_path / "videos" / "lake.mp4", 3)
    (tmp_path / "masks" / "lake").mkdir(parents=True)
    for frame, seen in enumerate((True, False, True)):
        grey = Image.fromarray(square(frame, 0).astype(np.uint8) * 255 * seen)
        grey.save(tmp_path / "masks" / "lake" / f"{frame}.png")
    (record,) = open_dataset(None, tmp_path)
    assert shown(record) == {1: [0, 2]}
    assert sorted(record.masklets[0].masks) == [0, 1, 2]


POLYGON = [2, 1, 6, 1, 6, 5, 2, 5]


def coco_document(*file_names: str) -> dict[str, Any]:
    """As labelling tools export it: outlines with whole numbers, ids from 0."""
    annotation = {"category_id": 0, "segmentation": [POLYGON], "area": 16, "bbox": [2, 1, 4, 4], "iscrowd": 0}
    return {
        "info": {"description": "", "date_created": "2024-01-01"},
        "licenses": [{"id": 1, "url": "", "name": "Unknown"}],
        "categories": [{"id": 0, "name": "cell", "supercategory": "none"}],
        "images": [
            {"id": place, "license": 1, "file_name": name, "height": HW[0], "width": HW[1]}
            for place, name in enumerate(file_names)
        ],
        "annotations": [{**annotation, "id": place, "image_id": place} for place in range(len(file_names))],
    }


@pytest.mark.parametrize(
    ("file", "pictures", "prefix"),
    [
        ("train.json", "", ""),
        ("train.json", "train", ""),
        ("labels.json", "images", ""),
        ("labels.json", "photos", "photos/"),
        ("annotations/instances_default.json", "images/default", ""),
        ("annotations/instances_val2017.json", "val2017", ""),
        ("train/_annotations.coco.json", "train", ""),
    ],
)
def test_a_bare_coco_file_finds_its_pictures(file: str, pictures: str, prefix: str, tmp_path: Path):
    write_pictures(tmp_path / pictures, ["a", "b"])
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(coco_document(f"{prefix}a.jpg", f"{prefix}b.jpg")))
    for name in ("coco", None):
        dataset = open_dataset(name, path)
        assert dataset.format == "coco"
        first, second = dataset
        assert [one.name for one in first.masklets] == ["cell"]
        assert (second.masks_at(0)[1] == square(2, 1)).all()
        assert [brightness(first), brightness(second)] == [[0], [1]]


@pytest.mark.parametrize(
    ("file", "pictures"),
    [
        ("instances.json", ""),
        ("annotations.json", "images"),
        ("annotations/instances_default.json", "images/default"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_a_folder_with_one_coco_file_is_recognised(file: str, pictures: str, tmp_path: Path):
    write_pictures(tmp_path / pictures, ["a"])
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(coco_document("a.jpg")))
    assert format_of(tmp_path) == "coco"
    (record,) = open_dataset(None, tmp_path, "train" if pictures == "train" else None)
    assert brightness(record) == [0]
