from __future__ import annotations

import json

import pytest

from masklet.evaluation.datasets import DATASETS, dataset_named
from masklet.evaluation.folders import annotated_videos

from .folders import (
    sliding_squares,
    write_annotations,
    write_image_set,
    write_object_folders,
    write_pictures,
    write_sequence,
)

DAVIS17 = DATASETS["davis2017"]
FRAMES = sliding_squares(1)


def names(dataset: str, root, split=None) -> list[str]:
    return [video.name for video in annotated_videos(dataset_named(dataset), root, split)]


def test_a_list_chooses_and_orders(tmp_path):
    for name in ("swan", "bear", "cat"):
        write_sequence(tmp_path, name, FRAMES)
    write_image_set(tmp_path, "2017/val", ["swan", "bear", ""])
    assert names("davis2017", tmp_path) == ["swan", "bear"]


@pytest.mark.parametrize("folder", ["2016", "480p"])
def test_davis_2016_lists_pictures_with_their_annotations(tmp_path, folder):
    write_sequence(tmp_path, "bear", FRAMES)
    lines = [f"/JPEGImages/480p/bear/{t:05d}.jpg /Annotations/480p/bear/{t:05d}.png" for t in range(5)]
    write_image_set(tmp_path, f"{folder}/val", lines)
    assert names("davis2016", tmp_path) == ["bear"]


@pytest.mark.parametrize("dataset", ["youtube-vos", "mose", "lvos"])
def test_splits_that_are_folders_may_be_named_or_passed_as_the_root(tmp_path, dataset):
    for name in ("b2", "a1"):
        write_pictures(tmp_path / "valid/JPEGImages" / name, FRAMES)
        write_annotations(tmp_path / "valid/Annotations" / name, FRAMES)
    assert names(dataset, tmp_path, "valid") == ["a1", "b2"]
    assert names(dataset, tmp_path / "valid") == ["a1", "b2"]


def test_sa_v_has_a_folder_for_each_object(tmp_path):
    base = tmp_path / "sav_test"
    write_pictures(base / "JPEGImages_24fps/sav_000002", FRAMES)
    write_object_folders(base / "Annotations_6fps/sav_000002", FRAMES)
    (base / "sav_test.txt").write_text("sav_000002\n")
    (video,) = annotated_videos(DATASETS["sa-v"], tmp_path, "test")
    with video.frames() as frames:
        files = video.annotation_files({frames.name_of(i): i for i in range(len(frames))})
    assert {obj: list(of_obj) for obj, of_obj in files.items()} == {1: [0, 4], 2: [0, 4]}


def test_the_list_of_objects_says_spans_and_seen_classes(tmp_path):
    """Palettes of YouTube-VOS lie beside its meta.json; that of LVOS is called after its split."""
    entries = {"1": {"category": "zebra", "frames": ["00000"]}, "2": {"category": "plush_toy", "frames": ["00002"]}}
    base = tmp_path / "youtube/valid"
    write_pictures(base / "JPEGImages/a1", FRAMES)
    write_annotations(base / "Annotations/a1", FRAMES)
    (base / "meta.json").write_text(json.dumps({"videos": {"a1": {"objects": entries}}}))
    for root in (tmp_path / "youtube", base):
        (video,) = annotated_videos(DATASETS["youtube-vos"], root)
        assert [video.group_of(obj) for obj in (1, 2, 3)] == ["seen", "unseen", None]
    long = tmp_path / "lvos/valid"
    long.parent.mkdir()
    base.rename(long)
    (long / "meta.json").unlink()
    spans = {"1": {"frame_range": {"start": "00000", "end": "00004", "frame_nums": "5"}}}
    (long / "valid_meta.json").write_text(json.dumps({"videos": {"a1": {"objects": spans}}}))
    (long / "unseen_videos.txt").write_text("a1\n")
    (video,) = annotated_videos(DATASETS["lvos"], long.parent)
    assert (video.spans, video.group_of(1)) == ({1: (0, 4)}, "unseen")
    (long / "valid_meta.json").write_text(json.dumps({"videos": {"a1": {"objects": {"1": {"frame_range": "all"}}}}}))
    with pytest.raises(ValueError, match="expected a start and an end"):
        annotated_videos(DATASETS["lvos"], long.parent)


def test_a_folder_of_single_pictures_is_one_sequence(tmp_path):
    root = tmp_path / "stills"
    write_pictures(root / "JPEGImages", FRAMES)
    write_annotations(root / "Annotations", FRAMES)
    assert names("folder", root) == ["stills"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="Annotations/480p"):
        names("davis2017", tmp_path)
    write_sequence(tmp_path, "bear", FRAMES)
    write_image_set(tmp_path, "2017/val", ["bear", "unicorn"])
    with pytest.raises(ValueError, match="unicorn"):
        names("davis2017", tmp_path)
    with pytest.raises(ValueError, match=r"test-dev.*lists there are val"):
        names("davis2017", tmp_path, "test-dev")
    with pytest.raises(ValueError, match="davis2016, davis2017"):
        dataset_named("davis2018")


def test_a_list_cannot_lead_outside(tmp_path):
    write_sequence(tmp_path, "bear", FRAMES)
    write_image_set(tmp_path, "2017/val", [".."])
    with pytest.raises(ValueError, match="name that can be a file's"):
        names("davis2017", tmp_path)


def test_an_annotation_without_a_picture_is_refused(tmp_path):
    write_sequence(tmp_path, "bear", FRAMES)
    write_image_set(tmp_path, "2017/val", ["bear"])
    (tmp_path / "JPEGImages/480p/bear/00003.jpg").unlink()
    (video,) = annotated_videos(DAVIS17, tmp_path)
    with pytest.raises(ValueError, match=r"00003\.png has no picture"):
        video.annotation_files({name: number for number, name in enumerate(video.picture_of())})


def test_folders_that_are_no_objects_are_refused(tmp_path):
    write_pictures(tmp_path / "JPEGImages/bear", FRAMES)
    write_annotations(tmp_path / "Annotations/bear/left", FRAMES)
    (video,) = annotated_videos(DATASETS["folder"], tmp_path)
    with pytest.raises(ValueError, match="'left'"):
        video.annotation_files({})
