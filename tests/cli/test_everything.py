from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from masklet.checkpoints import load_network as load
from masklet.cli.find import mask_settings, masklet_settings
from masklet.data.datasets import open_dataset
from masklet.sessions.everything import MaskGenerator, MaskSettings
from masklet.sessions.everything.settings import OutputMode

from .conftest import FRAMES, HEIGHT, WIDTH, write_clip

Run = Callable[..., Result]
ALL = ("--iou-threshold", 0, "--stability-threshold", 0, "--box-nms", 1)


@pytest.fixture
def everything(masklet: Run, weights: Path) -> Run:
    return lambda *arguments: masklet("everything", *arguments, *ALL, "--weights", weights)


def frames_of(path: Path) -> list[dict]:
    return json.loads(path.read_text())["frames"]


def test_masks_of_a_picture_are_written_from_the_largest_to_the_smallest(photo: Path, everything: Run, tmp_path: Path):
    outs = ("--out", tmp_path / "masks.json", "--out", tmp_path / "overlay.png")
    result = everything(photo, "--points-per-side", 2, *outs)
    assert result.exit_code == 0, result.output
    (frame,) = frames_of(tmp_path / "masks.json")
    assert [entry["object"] for entry in frame["objects"]] == list(range(1, len(frame["objects"]) + 1))
    assert f"{len(frame['objects'])} masks" in result.stderr
    assert all(entry["predicted_iou"] is not None for entry in frame["objects"])
    with Image.open(tmp_path / "overlay.png") as overlay:
        assert overlay.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("mode", ["coco_rle", "uncompressed_rle"])
def test_records_of_a_picture_hold_the_published_dictionaries(
    mode: OutputMode, photo: Path, everything: Run, weights: Path, tmp_path: Path
):
    records = tmp_path / "records.json"
    kept = ("--records", records, "--output-mode", mode)
    result = everything(photo, "--points-per-side", 2, "--out", tmp_path / "overlay.png", *kept)
    assert result.exit_code == 0, result.output
    settings = MaskSettings(
        points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1, output_mode=mode
    )
    generator = MaskGenerator(load(weights), settings)
    assert sorted(map(str, json.loads(records.read_text()))) == sorted(map(str, generator.records(photo)))


def test_records_of_binary_masks_are_pictures_and_a_table(photo: Path, everything: Run, tmp_path: Path):
    folder = tmp_path / "masks"
    kept = ("--records", folder, "--output-mode", "binary_mask")
    result = everything(photo, "--points-per-side", 2, "--out", tmp_path / "overlay.png", *kept)
    assert result.exit_code == 0, result.output
    with (folder / "metadata.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        with Image.open(folder / f"{row['id']}.png") as picture:
            mask = np.asarray(picture)
        assert mask.shape == (HEIGHT, WIDTH)
        assert np.count_nonzero(mask) == int(row["area"])
        x0, y0 = np.argwhere(mask).min(axis=0)[::-1]
        assert (float(row["bbox_x0"]), float(row["bbox_y0"])) == (x0, y0)


def test_masklets_of_a_video_are_written_frame_by_frame(clip: Path, everything: Run, tmp_path: Path):
    video = ("--points-per-side", 2, "--crop-layers", 0, "--max-objects", 3, "--min-region-area", 0)
    result = everything(clip, *video, "--discover-every", 0, "--out", tmp_path / "masks.json")
    assert result.exit_code == 0, result.output
    frames = frames_of(tmp_path / "masks.json")
    assert [frame["frame"] for frame in frames] == list(range(FRAMES))
    assert all(len(frame["objects"]) <= 3 for frame in frames)
    assert f"{FRAMES} frames" in result.stderr


def test_masklets_are_written_as_a_dataset_that_says_they_are_automatic(clip: Path, everything: Run, tmp_path: Path):
    video = ("--points-per-side", 2, "--crop-layers", 0, "--max-objects", 2, "--min-region-area", 0)
    outs = ("--out", tmp_path / "masks.json", "--format", "rle", "--out", tmp_path / "sav", "--format", "sav")
    result = everything(clip, *video, "--discover-every", 0, *outs)
    assert result.exit_code == 0, result.output
    assert "not kept: SA-V annotates every fourth frame" in result.stderr
    (record,) = open_dataset("sav", tmp_path / "sav")
    objects = {entry["object"] for frame in frames_of(tmp_path / "masks.json") for entry in frame["objects"]}
    assert [(one.id, one.provenance) for one in record.masklets] == [(obj, "auto") for obj in sorted(objects)]
    shown = {entry["object"]: entry for entry in frames_of(tmp_path / "masks.json")[0]["objects"]}
    assert all(one.masks[0] == shown[one.id]["segmentation"] for one in record.masklets)


def test_what_is_written_as_sa_v_is_sound(everything: Run, masklet: Run, tmp_path: Path):
    clip = write_clip(tmp_path / "park.mp4", FRAMES + 3, rate=24)
    video = ("--points-per-side", 2, "--crop-layers", 0, "--max-objects", 4, "--discover-every", 0, "--end", 5)
    result = everything(clip, *video, "--min-region-area", 0, "--out", tmp_path, "--format", "sav")
    assert result.exit_code == 0, result.output
    result = masklet("sav", "validate", tmp_path / "park_auto.json")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("format_name", ["coco", "davis17", "youtube-vos", "sav-frames"])
def test_a_second_run_adds_to_the_dataset_or_fails_at_the_beginning(
    format_name: str, everything: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    few = ("--points-per-side", 1, "--crop-layers", 0, "--max-objects", 1, "--discover-every", 0, "--end", 0)
    lake, park = (write_clip(tmp_path / f"{name}.mp4", 2) for name in ("lake", "park"))
    for clip in (lake, park):
        assert everything(clip, *few, "--out", tmp_path / "out", "--format", format_name).exit_code == 0
    assert [record.video_id for record in open_dataset(format_name, tmp_path / "out")] == ["lake", "park"]
    monkeypatch.setattr("masklet.cli.find._begun", None)
    result = everything(park, *few, "--out", tmp_path / "out", "--format", format_name)
    assert result.exit_code == 2
    assert "a second video is called park" in result.stderr


def test_masks_of_a_picture_are_written_as_coco(photo: Path, everything: Run, tmp_path: Path):
    result = everything(photo, "--points-per-side", 1, "--out", tmp_path / "coco", "--format", "coco")
    assert result.exit_code == 0, result.output
    (record,) = open_dataset("coco", tmp_path / "coco")
    assert f"{len(record.masklets)} masks" in result.stderr
    assert record.video_id == photo.stem


def test_start_and_end_bound_the_frames(clip: Path, everything: Run, tmp_path: Path):
    video = ("--points-per-side", 1, "--crop-layers", 0, "--max-objects", 1, "--discover-every", 0)
    everything(clip, *video, "--start", 2, "--end", 3, "--out", tmp_path / "masks.json")
    assert [frame["frame"] for frame in frames_of(tmp_path / "masks.json")] == [2, 3]


@pytest.mark.parametrize("kind", ["photo", "clip"])
def test_ctrl_c_leaves_what_is_finished(
    kind: str, request: pytest.FixtureRequest, everything: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    @contextmanager
    def pressed_at_once() -> Iterator[Event]:
        asked = Event()
        asked.set()
        yield asked

    monkeypatch.setattr("masklet.cli.find.stop_on_interrupt", pressed_at_once)
    out = tmp_path / "masks.json"
    few = ("--points-per-side", 2, "--points-per-batch", 1, "--crop-layers", 0)
    result = everything(request.getfixturevalue(kind), *few, "--out", out)
    assert result.exit_code == 130, result.output
    assert "Stopped" in result.stderr
    assert [frame["frame"] for frame in frames_of(out)] == [0]
    assert json.loads(out.read_text())["complete"] is False


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-objects", "4"], "--max-objects is for videos"),
        (["--end", "4"], "--end is for videos"),
        (["--points-per-side", "2", "--crop-layers", "3", "--points-downscale", "2"], "leave none in layer 3"),
        (["--point-grids", "missing.json"], "there is no file missing.json"),
        (["--output-mode", "coco_rle"], "add --records PATH"),
        (["--records", "masks.txt"], "expected a .json file for --records with run lengths, got masks.txt"),
        (["--records", __file__, "--output-mode", "binary_mask"], "expected a new or empty folder"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], message: str, photo: Path, masklet: Run, weights: Path):
    result = masklet("everything", photo, *arguments, "--weights", weights)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_frames_that_a_video_does_not_have_are_named(clip: Path, everything: Run):
    result = everything(clip, "--start", FRAMES)
    assert result.exit_code == 2
    assert f"the video has frames 0 to {FRAMES - 1}" in result.stderr


def test_records_of_a_video_are_refused(clip: Path, everything: Run, tmp_path: Path):
    result = everything(clip, "--records", tmp_path / "records.json")
    assert result.exit_code == 2
    assert "--records is for pictures" in result.stderr


def test_own_points_are_read_from_a_file(photo: Path, everything: Run, tmp_path: Path):
    points = tmp_path / "points.json"
    points.write_text("[[[0.25, 0.4], [0.8, 0.8]]]")
    assert everything(photo, "--point-grids", points, "--out", tmp_path / "masks.json").exit_code == 0
    points.write_text('{"x": 3}')
    result = everything(photo, "--point-grids", points)
    assert result.exit_code == 2
    assert "must hold" in result.stderr


def points_by_layer(search: dict) -> list[int]:
    """Points of the whole first frame, and of each crop of the layers."""
    return [len(grid) for grid in masklet_settings(search, {}).first.grids]


def test_points_per_side_scale_the_grids_of_the_data_engine():
    assert points_by_layer({}) == [32**2, 16**2, 4**2]
    assert points_by_layer({"points_per_side": 32}) == points_by_layer({})
    assert points_by_layer({"points_per_side": 16}) == [16**2, 8**2, 2**2]
    assert points_by_layer({"points_per_side": 2}) == [4, 1, 1], "no layer is without points"


def test_points_per_side_with_a_divisor_say_all_layers():
    assert points_by_layer({"points_per_side": 16, "crop_n_points_downscale_factor": 2}) == [16**2, 8**2, 4**2]
    assert points_by_layer({"crop_n_points_downscale_factor": 1}) == [32**2] * 3


def test_more_layers_than_the_data_engine_has_need_a_divisor():
    assert points_by_layer({"crop_n_layers": 1}) == [32**2, 16**2, 4**2]
    assert len(points_by_layer({"crop_n_layers": 3, "crop_n_points_downscale_factor": 1})) == 4
    for search in ({"crop_n_layers": 3}, {"crop_n_layers": 3, "points_per_side": 16}):
        with pytest.raises(ValueError, match="--points-downscale"):
            masklet_settings(search, {})


def test_what_is_said_about_masks_holds_for_all_frames():
    asked = masklet_settings({"points_per_side": 16, "pred_iou_thresh": 0.5}, {"max_objects": 4})
    assert (asked.first.crop_n_layers, asked.max_objects) == (2, 4)
    assert asked.discovery.points_per_side == 32
    assert asked.first.pred_iou_thresh == asked.discovery.pred_iou_thresh == 0.5


def test_the_smallest_region_counts_for_all_frames():
    settings = masklet_settings({"min_mask_region_area": 50}, {})
    areas = (settings.first.min_mask_region_area, settings.discovery.min_mask_region_area, settings.min_region_area)
    assert areas == (50, 50, 50)


def test_own_points_replace_points_per_side():
    settings = mask_settings({"point_grids": (np.zeros((1, 2)),)})
    assert settings.points_per_side is None
    assert [len(grid) for grid in settings.grids] == [1]
