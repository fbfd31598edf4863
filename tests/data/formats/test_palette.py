from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.datasets import open_dataset
from masklet.data.formats.files import save_ids
from masklet.data.formats.table import open_writer
from masklet.data.records import Record

from .samples import HW, content, masklet, nothing, pictures, square, two_squares


def write_ids(path: Path, ids: Mapping[int, np.ndarray]) -> None:
    ids_hw = np.zeros(HW, dtype=np.uint8)
    for obj, mask in ids.items():
        ids_hw[mask] = obj
    save_ids(ids_hw, path)


def write_video(root: Path, name: str, annotations: Mapping[int, Mapping[int, np.ndarray]], count: int = 9) -> None:
    """JPEGImages/NAME and Annotations/NAME, some frames annotated."""
    paths = pictures(root / "JPEGImages" / name, count)
    for frame, ids in annotations.items():
        write_ids(root / "Annotations" / name / f"{paths[frame].stem}.png", ids)


def test_davis_2016_has_one_object_of_255(tmp_path: Path):
    pictures(tmp_path / "JPEGImages/480p/bear", 2)
    for frame in range(2):
        grey = Image.fromarray(square(frame, 0).astype(np.uint8) * 255)
        (tmp_path / "Annotations/480p/bear").mkdir(parents=True, exist_ok=True)
        grey.save(tmp_path / f"Annotations/480p/bear/{frame:05d}.png")
    lists = tmp_path / "ImageSets" / "2016"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png\n" * 2)
    (record,) = open_dataset(None, tmp_path, "val")
    assert content(record) == content(Record("bear", HW, 2, (masklet(1, {0: square(0, 0), 1: square(1, 0)}),)))


def test_davis_2017_numbers_objects_and_255_is_of_no_object(tmp_path: Path):
    shown = {0: {1: square(0, 0), 2: square(9, 4), 255: square(5, 8)}, 1: {255: square(5, 8)}}
    write_video(tmp_path, "dogs", shown, count=2)
    (record,) = open_dataset("davis17", tmp_path)
    assert [one.id for one in record.masklets] == [1, 2]
    assert [record.masklets[0].is_visible(frame) for frame in (0, 1)] == [True, False]


def test_a_split_that_has_no_list_names_those_there_are(tmp_path: Path):
    with open_writer(tmp_path, "davis17", "val") as writer:
        writer.add(Record("dogs", HW, 1, (masklet(1, {0: square(0, 0)}),)))
    assert len(open_dataset("davis17", tmp_path, "val")) == 1
    with pytest.raises(ValueError, match="the splits are: val"):
        open_dataset("davis17", tmp_path, "test")


def test_lists_and_objects_of_a_dataset_are_added_to(tmp_path: Path):
    record = Record("dogs.2", HW, 1, (masklet(1, {0: square(0, 0)}, name="dog"),))
    (tmp_path / "ImageSets" / "2017").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2017" / "train.txt").write_text("bear\nmy clip")
    with open_writer(tmp_path, "davis17") as writer:
        writer.add(record)
    assert (tmp_path / "ImageSets" / "2017" / "train.txt").read_text() == "bear\nmy clip\ndogs.2\n"
    published = tmp_path / "meta_train.json"
    published.write_text(json.dumps({"note": 1, "videos": {"bear": {"objects": {}}}}))
    with open_writer(tmp_path, "mose") as writer:
        writer.add(record)
    found = json.loads(published.read_text())
    assert (found["note"], list(found["videos"])) == (1, ["bear", "dogs.2"])
    assert not (tmp_path / "train" / "meta.json").exists()


def test_a_list_of_files_is_not_added_to(tmp_path: Path):
    (tmp_path / "ImageSets" / "2016").mkdir(parents=True)
    (tmp_path / "ImageSets" / "2016" / "train.txt").write_text("/JPEGImages/480p/bear/00000.jpg /Annotations/...\n")
    with pytest.raises(ValueError, match="lists files in place of videos"):
        open_writer(tmp_path, "davis16")


@pytest.mark.parametrize("text", ["[]", '{"videos": []}', "{}"])
def test_a_meta_json_that_cannot_be_added_to_is_refused(text: str, tmp_path: Path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "meta.json").write_text(text)
    with pytest.raises(ValueError, match=r"meta\.json: expected a JSON object"):
        open_writer(tmp_path, "youtube-vos")


def test_folders_of_pictures_with_dots_stay_apart(tmp_path: Path):
    for name in ("a.1", "a.2"):
        pictures(tmp_path / "videos" / name, 1)
        write_ids(tmp_path / "masks" / name / "00000.png", {1: square(0, 0)})
    assert [one.video_id for one in open_dataset("videos", tmp_path)] == ["a.1", "a.2"]


def test_youtube_vos_takes_objects_and_categories_from_its_meta_json(tmp_path: Path):
    write_video(tmp_path / "train", "003234408d", {0: {1: square(0, 0)}, 5: {1: square(1, 0), 4: square(9, 4)}})
    objects = {
        "1": {"category": "penguin", "frames": ["00000", "00005"]},
        "4": {"category": "dog", "frames": ["00005"]},
    }
    (tmp_path / "train" / "meta.json").write_text(json.dumps({"videos": {"003234408d": {"objects": objects}}}))
    (record,) = open_dataset("youtube-vos", tmp_path, "train")
    assert [(one.id, one.name) for one in record.masklets] == [(1, "penguin"), (4, "dog")]
    assert [record.masklets[1].is_visible(frame) for frame in (0, 5)] == [False, True]
    assert record.annotated_frames == [0, 5]


def test_objects_of_a_validation_set_are_not_absent_where_others_are_introduced(tmp_path: Path):
    write_video(tmp_path / "valid", "a", {0: {1: square(0, 0)}, 5: {2: square(9, 4)}})
    names = [f"{frame:05d}" for frame in range(9)]
    objects = {"1": {"category": "dog", "frames": names}, "2": {"category": "cat", "frames": names[5:]}}
    (tmp_path / "valid" / "meta.json").write_text(json.dumps({"videos": {"a": {"objects": objects}}}))
    (record,) = open_dataset("youtube-vos", tmp_path, "valid")
    assert [sorted(one.masks) for one in record.masklets] == [[0], [0, 5]]


def test_an_object_that_the_meta_json_lacks_makes_the_video_bad(tmp_path: Path):
    write_video(tmp_path / "train", "a", {0: {1: square(0, 0), 3: square(9, 4)}})
    (tmp_path / "train" / "meta.json").write_text('{"videos": {"a": {"objects": {"1": {"category": "dog"}}}}}')
    dataset = open_dataset("mose", tmp_path, "train")
    assert list(dataset) == []
    assert "shows object 3" in dataset.bad[tmp_path / "train/Annotations/a"]


def test_lvos_counts_frames_from_one_with_eight_digits(tmp_path: Path):
    with open_writer(tmp_path, "lvos", "train") as writer:
        writer.add(Record("lake", HW, 6, two_squares([0, 5])))
    names = sorted(path.name for path in (tmp_path / "train/Annotations/lake").iterdir())
    assert names == ["00000001.png", "00000006.png"]
    (record,) = open_dataset("lvos", tmp_path, "train")
    assert record.annotated_frames == [0, 5]


def test_an_annotation_without_its_picture_makes_the_video_bad(tmp_path: Path):
    write_video(tmp_path, "a", {0: {1: square(0, 0)}})
    write_ids(tmp_path / "Annotations/a/00077.png", {1: square(0, 0)})
    write_video(tmp_path, "b", {0: {1: square(0, 0)}})
    dataset = open_dataset("davis17", tmp_path)
    assert [record.video_id for record in dataset] == ["b"]
    assert "00077.png has no picture" in dataset.bad[tmp_path / "Annotations/a"]


@pytest.mark.parametrize(
    ("mode", "size", "message"),
    [("RGB", HW, "expected a palette or grey PNG"), ("L", (5, 5), "is 5x5 but the video 18x12")],
)
def test_annotations_of_another_kind_or_size_make_the_video_bad(
    mode: str, size: tuple[int, int], message: str, tmp_path: Path
):
    write_video(tmp_path, "a", {0: {1: square(0, 0)}})
    Image.new(mode, (size[1], size[0]), "red").save(tmp_path / "Annotations/a/00001.png")
    dataset = open_dataset("davis17", tmp_path)
    assert list(dataset) == []
    assert message in dataset.bad[tmp_path / "Annotations/a"]


def test_a_picture_is_one_object_where_its_mask_is_black_and_white(tmp_path: Path):
    pictures(tmp_path / "images", 3)
    (tmp_path / "masks").mkdir()
    for index, value in enumerate((255, 1)):
        grey = Image.fromarray(square(3, 3).astype(np.uint8) * value)
        grey.save(tmp_path / "masks" / f"{index:05d}.png")
    records = list(open_dataset("images", tmp_path))
    assert [one.video_id for one in records] == ["00000", "00001"]
    assert all((record.masks_at(0)[1] == square(3, 3)).all() for record in records)


def test_results_of_tracking_are_read_without_frames(tmp_path: Path):
    for obj in (1, 2):
        folder = tmp_path / f"{obj:03d}"
        folder.mkdir()
        for frame in (0, 3):
            Image.fromarray((square(obj, 0) if frame else nothing()).astype(np.uint8) * 255).save(
                folder / f"{frame:05d}.png"
            )
    (record,) = open_dataset(None, tmp_path)
    assert (record.frame_count, record.frames) == (4, None)
    assert [record.masklets[1].is_visible(frame) for frame in (0, 3)] == [False, True]
