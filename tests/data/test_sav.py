from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from masklet.data.datasets import open_dataset
from masklet.data.records import Record, RecordError
from masklet.data.sav import annotation_files, extract_frames, facts, only, summary, validate, write_statistics

from .formats.samples import HW, masklet, nothing, square, video
from .formats.test_sav import FRAMES, published, write_published


def written(folder: Path, kind: str, change: dict[str, Any]) -> Path:
    write_published(folder)
    path = folder / f"sav_000001_{kind}.json"
    path.write_text(json.dumps({**published(kind), **change}).replace("Infinity", "1e999"))
    return path


def test_files_in_the_published_layout_are_sound(tmp_path: Path):
    write_published(tmp_path)
    paths = list(annotation_files([tmp_path]))
    assert [path.name for path in paths] == ["sav_000001_auto.json", "sav_000001_manual.json"]
    assert [validate(path) for path in paths] == [[], []]


def test_a_first_appearance_is_counted_in_annotated_frames(tmp_path: Path):
    rows = published("manual")["masklet"]
    late = {"masklet": [rows[1], rows[0], rows[0]], "masklet_visibility_changes": [0, 0]}
    assert validate(written(tmp_path, "manual", {**late, "masklet_first_appeared_frame": [0.0, 1.0]})) == []
    (problem,) = validate(written(tmp_path, "manual", {**late, "masklet_first_appeared_frame": [0.0, 4.0]}))
    assert problem == "masklet 1: masklet_first_appeared_frame is 4.0, but its masks say 1"


def test_environments_may_be_a_list_as_the_documentation_has_it(tmp_path: Path):
    assert validate(written(tmp_path, "manual", {"video_environment": ["Indoor", "Outdoor"]})) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"masklet_size_abs": [16.0, 20.0]}, "masklet 1: masklet_size_abs is 20.0, but its masks say 16.0"),
        ({"masklet_size_bucket": ["small", "large"]}, "masklet_size_bucket is large, but its masks say small"),
        ({"masklet_visibility_changes": [0, 1]}, "masklet_visibility_changes is 1, but its masks say 2"),
        ({"masklet_first_appeared_frame": [8, 0]}, "masklet 0: masklet_first_appeared_frame is 8"),
        ({"masklet_frame_count": [3, 2]}, "masklet_frame_count is 2, but its masks say 3"),
        ({"masklet_num": 3}, "masklet_num is 3, but there are 2 ids"),
        ({"masklet_type": ["manual", "auto"]}, "masklet_type is not always manual"),
        ({"video_id": "sav_000002"}, "video_id is 'sav_000002'"),
        ({"video_resolution": 5.0}, "video_resolution is 5.0, but 12.0 x 18.0 is 216.0"),
        ({"video_duration": 60}, "video_duration is 60 s"),
        ({"video_environment": "Space"}, "expected Indoor or Outdoor"),
        ({"video_split": 3}, "video_split is of type int"),
        ({"video_environment": 3}, "video_environment is of type int"),
        ({"masklet_type": 3}, "masklet_type is of type int"),
        ({"masklet_size_bucket": [1.0, "small"]}, "masklet 0: masklet_size_bucket is 1.0, but its masks say small"),
        ({"video_frame_count": 1e999}, "video_frame_count: expected a whole number, got 'inf'"),
        ({"video_duration": 1e999}, "video_duration is of type float"),
        ({"note": 1}, "note is no published key"),
        ({"masklet_id": [0]}, "masklet[0] has 2 masks, but there are 1 ids"),
        ({"video_frame_count": 13.0}, "3 frames are annotated; every fourth of 13.0 would be 4"),
        ({"video_frame_count": 10.0}, "its number of frames is 9, expected 10"),
    ],
)
def test_every_contradiction_is_reported_in_a_sentence(change: dict[str, Any], problem: str, tmp_path: Path):
    assert problem in "\n".join(validate(written(tmp_path, "manual", change)))


@pytest.mark.parametrize("key", ["masklet_size_rel", "video_duration", "masklet_edited_frame_count"])
def test_a_missing_key_is_reported(key: str, tmp_path: Path):
    path = written(tmp_path, "manual", {})
    path.write_text(json.dumps({name: value for name, value in published("manual").items() if name != key}))
    assert validate(path) == [f"{key} is missing"]


def test_automatic_files_have_scores_and_no_edits(tmp_path: Path):
    change = {"masklet_stability_score": None, "masklet_edited_frame_count": [0, 4]}
    problems = "\n".join(validate(written(tmp_path, "auto", change)))
    assert "masklet_stability_score is missing" in problems
    assert "automatic masklets are not edited" in problems


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"masklet": 3, "masklet_id": {}}'])
def test_files_that_are_something_else_are_reported(text: str, tmp_path: Path):
    path = tmp_path / "sav_000001_manual.json"
    path.write_text(text)
    assert validate(path)


def test_a_missing_or_different_video_is_reported(tmp_path: Path):
    path = written(tmp_path, "manual", {})
    video(tmp_path / "sav_000001.mp4", FRAMES, (24, 36), rate=30)
    assert validate(path) == [
        "sav_000001.mp4: its size is (24, 36), expected (12, 18)",
        "sav_000001.mp4: its rate is 30, expected 24",
    ]
    (tmp_path / "sav_000001.mp4").unlink()
    assert validate(path) == ["sav_000001.mp4 is missing"]


@pytest.mark.parametrize(("fps", "expected"), [(24, list(range(FRAMES))), (6, [0, 4, 8])])
def test_frames_are_numbered_as_in_the_video(fps: int, expected: list[int], tmp_path: Path):
    (record,) = open_dataset("sav", write_published(tmp_path / "in"))
    assert extract_frames(record, tmp_path / "out", fps) == len(expected)
    for frame in expected:
        with Image.open(tmp_path / "out" / "sav_000001" / f"{frame:05d}.jpg") as picture:
            assert round(picture.convert("L").getpixel((0, 0)) / 10) == frame  # type: ignore[operator]


def test_frames_of_another_rate_are_not_mixed_in(tmp_path: Path):
    (record,) = open_dataset("sav", write_published(tmp_path / "in"))
    extract_frames(record, tmp_path / "out", 24)
    with pytest.raises(RecordError, match=r"holds other pictures, like 00001\.jpg; remove them"):
        extract_frames(record, tmp_path / "out", 6)
    assert extract_frames(record, tmp_path / "out", 24) == FRAMES


def test_a_video_that_is_shorter_than_stated_is_reported(tmp_path: Path):
    source = write_published(tmp_path / "in", {"video_frame_count": 12.0})
    (record,) = open_dataset("sav", source)
    with pytest.raises(RecordError, match="too short: 3 of 12 frames are missing"):
        extract_frames(record, tmp_path / "out", 24)
    assert len(list((tmp_path / "out" / "sav_000001").iterdir())) == FRAMES


def test_frames_need_a_known_rate_and_the_video(tmp_path: Path):
    (record,) = open_dataset("sav", write_published(tmp_path, with_video=False))
    with pytest.raises(ValueError, match="expected 6 or 24"):
        extract_frames(record, tmp_path / "out", 12)
    with pytest.raises(RecordError, match=r"put sav_000001\.mp4 beside its JSON files"):
        extract_frames(record, tmp_path / "out")


def test_masklets_are_counted_by_size_and_by_return():
    returns = masklet(1, {0: square(0, 0), 1: nothing(), 2: square(0, 0)}, provenance="manual")
    leaves = masklet(2, {0: square(0, 0), 1: nothing(), 2: nothing()})
    stays = masklet(3, {0: square(0, 0, 12)})
    found = facts(Record("lake", HW, 3, (returns, leaves, stays)))
    assert [(one.area_px, one.seen_frames, one.visibility_changes, one.returns) for one in found] == [
        (16.0, 2, 2, True), (16.0, 1, 1, False), (144.0, 1, 0, False),
    ]  # fmt: skip
    totals = summary(found, videos=1)
    assert totals["disappearance_rate"] == pytest.approx(1 / 3)
    assert (totals["masklets"], totals["masklets_manual"], totals["masks"], totals["share_small"]) == (3, 1, 4, 1.0)
    assert totals["mean_area_share"] == pytest.approx((16 + 16 + 144) / 3 / 216)


def test_statistics_are_a_table_and_a_plot(tmp_path: Path):
    (record,) = open_dataset("sav", write_published(tmp_path / "in", with_video=False))
    write_statistics(facts(record), 1, tmp_path / "out")
    with (tmp_path / "out" / "masklets.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["provenance"] for row in rows] == ["manual", "manual", "auto", "auto"]
    with Image.open(tmp_path / "out" / "statistics.png") as picture:
        assert min(picture.size) > 300


def test_masklets_of_one_provenance_can_be_picked(tmp_path: Path):
    (record,) = open_dataset("sav", write_published(tmp_path, with_video=False))
    assert [one.id for one in only(record, "auto").masklets] == [2, 3]
    with pytest.raises(ValueError, match="has no auto masklets"):
        only(only(record, "manual"), "auto")
