"""Results of a session as a dataset: what is checked at the beginning, and what is written at the end."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from masklet.data.datasets import open_dataset
from masklet.data.formats.results import RecordResults
from masklet.data.records import PREDICTED_IOU
from masklet.data.sav import validate
from masklet.video.read import open_frames

from .samples import HW, nothing, pictures, square, video

FRAMES = 9
Shown = Mapping[int, Mapping[int, np.ndarray]]


def results(
    source: Path, out: Path, format_name: str, shown: Shown, merged: Mapping[int, dict[int, int]] | None = None
) -> list[str]:
    """Masks by frame and object go in; scores are 0.5 and 0.75. Gives the losses."""
    with open_frames(source) as frames, RecordResults(out, frames, format_name, "auto") as writer:
        for frame, masks in shown.items():
            halves, parts = dict.fromkeys(masks, 0.5), dict.fromkeys(masks, 0.75)
            joined = (merged or {}).get(frame, {})
            writer.add(frame, frames[frame], masks, predicted_iou=halves, stability=parts, merged=joined)
    return writer.losses


def test_objects_that_enter_leave_and_end_early_make_a_sound_sav_file(tmp_path: Path):
    clip = video(tmp_path / "lake.mp4", FRAMES)
    shown = {frame: {1: square(frame, 0)} for frame in range(7)}
    for frame in range(3):
        shown[frame][2] = square(9, 4)
    for frame in range(5, 7):
        shown[frame][3] = square(0, 8)
    losses = results(clip, tmp_path / "out", "sav", shown)
    assert validate(tmp_path / "out" / "lake_auto.json") == []
    assert any("became absent there" in loss for loss in losses)
    assert any("predicted IoUs are not kept" in loss for loss in losses)


def test_an_object_that_turns_out_to_be_another_is_that_one_on_all_frames(tmp_path: Path):
    clip = video(tmp_path / "lake.mp4", FRAMES)
    one, part, other = square(0, 0), square(3, 0), square(9, 4)
    shown = {0: {1: one, 3: other}, 1: {1: one, 2: part, 3: other}, 2: {1: nothing(), 2: part, 3: other}, 3: {1: one}}
    results(clip, tmp_path / "out", "rle", shown, {3: {2: 1, 3: 1}})
    (record,) = open_dataset("rle", tmp_path / "out")
    (whole,) = record.masklets
    expected = [one | other, one | part | other, part | other, one]
    for frame, mask in enumerate(expected):
        assert (whole.mask(frame) == mask).all()
    assert whole.scores == {PREDICTED_IOU: dict.fromkeys(range(4), 0.5)}


def test_a_video_may_lie_where_it_is_written(tmp_path: Path):
    clip = video(tmp_path / "lake.mp4", FRAMES)
    before = clip.read_bytes()
    results(clip, tmp_path, "sav", {0: {1: square(0, 0)}})
    assert clip.read_bytes() == before
    assert validate(tmp_path / "lake_auto.json") == []


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png"])
def test_pictures_may_lie_where_they_are_written(suffix: str, tmp_path: Path):
    paths = pictures(tmp_path / "JPEGImages" / "480p" / "lake", 2, suffix=suffix)
    before = [path.read_bytes() for path in paths]
    results(paths[0].parent, tmp_path, "davis17", {0: {1: square(0, 0)}})
    assert [path.read_bytes() for path in paths] == before
    assert (tmp_path / "Annotations" / "480p" / "lake" / "00000.png").is_file()


def test_a_folder_of_pictures_keeps_its_whole_name(tmp_path: Path):
    source = pictures(tmp_path / "walk.1080p", 2)[0].parent
    results(source, tmp_path / "out", "davis17", {0: {1: square(0, 0)}})
    assert (tmp_path / "out" / "ImageSets" / "2017" / "train.txt").read_text() == "walk.1080p\n"


def test_of_more_objects_than_a_format_holds_the_longest_seen_are_kept(tmp_path: Path):
    clip = video(tmp_path / "lake.mp4", FRAMES)
    tiny = [np.zeros(HW, dtype=bool) for _ in range(HW[0] * HW[1])]
    for place, mask in enumerate(tiny):
        mask.flat[place] = True
    shown = {frame: {obj: tiny[obj % len(tiny)] for obj in range(1, 257)} for frame in range(2)}
    shown[0][7] = shown[0][9] = nothing()
    losses = results(clip, tmp_path / "out", "videos", shown)
    assert any("holds 254 objects: 2 that are seen on few frames are left out" in loss for loss in losses)
    assert (tmp_path / "out" / "masks" / "lake" / "00001.png").is_file()


@pytest.mark.parametrize("format_name", ["sav", "sav-frames", "coco", "davis17", "youtube-vos", "objects", "numpy"])
def test_a_name_that_cannot_be_a_files_is_refused_at_the_beginning(format_name: str, tmp_path: Path):
    clip = shutil.move(video(tmp_path / "clip.mp4", 1), tmp_path / "what?.mp4")
    with open_frames(clip) as frames, pytest.raises(ValueError, match=r"got 'what\?'; rename it"):
        RecordResults(tmp_path / "out", frames, format_name)


@pytest.mark.parametrize("format_name", ["sav", "coco", "davis17", "numpy"])
def test_a_file_in_place_of_the_folder_is_refused_at_the_beginning(format_name: str, tmp_path: Path):
    clip = video(tmp_path / "lake.mp4", 1)
    (tmp_path / "out").write_text("mine")
    with open_frames(clip) as frames, pytest.raises(ValueError, match="out is a file"):
        RecordResults(tmp_path / "out", frames, format_name)
    with open_frames(clip) as frames, pytest.raises(OSError, match="out"):
        RecordResults(tmp_path / "out" / "in", frames, format_name)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("format_name", ["sav-frames", "coco", "davis16", "youtube-vos", "mose", "lvos", "objects"])
def test_a_video_that_the_dataset_has_is_refused_at_the_beginning_and_others_are_added(
    format_name: str, tmp_path: Path
):
    lake, park = (video(tmp_path / f"{name}.mp4", 2) for name in ("lake", "park"))
    results(lake, tmp_path / "out", format_name, {0: {1: square(0, 0)}})
    with open_frames(lake) as frames, pytest.raises(ValueError, match="a second video is called lake"):
        RecordResults(tmp_path / "out", frames, format_name)
    results(park, tmp_path / "out", format_name, {0: {1: square(0, 0)}})
    assert [record.video_id for record in open_dataset(format_name, tmp_path / "out")] == ["lake", "park"]
