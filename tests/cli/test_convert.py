"""``masklet convert`` and ``masklet sav``, from the command line to the files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from masklet.data.datasets import open_dataset
from masklet.masks import encode_rle
from masklet.video.read import open_frames

FRAMES, HW = 5, (16, 24)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two videos in the layout of DAVIS 2017: a square that slides, and one that is seen on the first frame only."""
    root = tmp_path / "DAVIS"
    for name in ("lake", "park"):
        for folder, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".png")):
            (root / folder / "480p" / name).mkdir(parents=True)
            for frame in range(FRAMES):
                ids = np.zeros(HW, dtype=np.uint8)
                if name == "lake" or frame == 0:
                    ids[4:10, 2 + frame : 8 + frame] = 1
                picture = Image.fromarray(ids * 100 if suffix == ".jpg" else ids)
                picture.save(root / folder / "480p" / name / f"{frame:05d}{suffix}")
    (root / "ImageSets" / "2017").mkdir(parents=True)
    (root / "ImageSets" / "2017" / "val.txt").write_text("lake\n")
    return root


@pytest.fixture
def sav(masklet: Callable[..., Result], dataset: Path, tmp_path: Path) -> Path:
    """The same as SA-V training files."""
    masklet("convert", dataset, tmp_path / "sav", "--to", "sav")
    return tmp_path / "sav"


def test_a_dataset_is_converted_and_losses_are_listed(masklet: Callable[..., Result], dataset: Path, tmp_path: Path):
    result = masklet("convert", dataset, tmp_path / "out", "--to", "sav")
    assert result.exit_code == 0, result.output
    assert "2 of 2 written, 0 left out" in result.stdout
    assert "every fourth frame" in result.stderr
    (lake, park) = open_dataset("sav", tmp_path / "out")
    assert lake.annotated_frames == park.annotated_frames == [0, 4]
    assert [park.masklets[0].is_visible(frame) for frame in (0, 4)] == [True, False]


def test_a_split_becomes_one_overlay_file(masklet: Callable[..., Result], dataset: Path, tmp_path: Path):
    result = masklet("convert", dataset, tmp_path / "out.mp4", "--split", "val")
    assert result.exit_code == 0, result.output
    with open_frames(tmp_path / "out.mp4") as frames:
        assert (len(frames), frames.video_hw) == (FRAMES, HW)


def test_bad_videos_are_named_and_left_out(
    masklet: Callable[..., Result], dataset: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    (dataset / "Annotations/480p/park/00002.png").write_bytes(b"no picture")
    result = masklet("convert", dataset, tmp_path / "out", "--to", "coco")
    assert result.exit_code == 1
    assert "1 of 2 written, 1 left out" in result.stdout
    assert "00002.png cannot be read" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{set}", "{out}"), "cannot tell the format of"),
        (("{set}", "{set}/out", "--to", "coco"), "which is read"),
        (("{set}/nothing", "{out}", "--to", "coco"), "there is no file or folder"),
        (("{out}", "{out}/a", "--to", "coco"), "which is read"),
        (("{set}", "{out}", "--to", "coco", "--split", "../.."), "a name that can be a file's, got '../..'"),
        (("{set}", "{out}", "--to", "coco", "--from", "sa1b"), "holds nothing of the format sa1b"),
        (("{set}", "{out}", "--to", "picture"), "is not one of"),
    ],
)
def test_impossible_conversions_end_in_a_sentence(
    arguments: tuple[str, ...], message: str, masklet: Callable[..., Result], dataset: Path, tmp_path: Path
):
    result = masklet("convert", *(text.format(set=dataset, out=tmp_path / "out") for text in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


def test_what_track_writes_can_be_converted(masklet: Callable[..., Result], tmp_path: Path):
    mask = np.zeros(HW, dtype=bool)
    mask[:4, :4] = True
    document = {
        "format": "masklet-rle",
        "version": 1,
        "video": {"name": None, "height": HW[0], "width": HW[1], "fps": 24.0, "frame_count": 2},
        "frames": [{"frame": 0, "objects": [{"object": 1, "segmentation": encode_rle(mask), "predicted_iou": 0.9}]}],
    }
    (tmp_path / "masks.json").write_text(json.dumps(document))
    result = masklet("convert", tmp_path / "masks.json", tmp_path / "out", "--to", "objects")
    assert result.exit_code == 0, result.output
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out/Annotations/masks/001/00000.png")) > 0, mask)


def test_sav_validate_tells_sound_files_from_others(masklet: Callable[..., Result], sav: Path):
    result = masklet("sav", "validate", sav)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "2 checked, 0 with problems")
    path = sav / "lake_manual.json"
    path.write_text(path.read_text().replace('"small"', '"large"'))
    result = masklet("sav", "validate", path)
    assert result.exit_code == 1
    assert "masklet_size_bucket is large, but its masks say small" in result.stdout


def test_sav_validate_checks_folders_of_val_and_test(masklet: Callable[..., Result], sav: Path, tmp_path: Path):
    masklet("convert", sav, tmp_path / "val", "--to", "sav-frames")
    result = masklet("sav", "validate", tmp_path / "val")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "3 checked, 0 with problems")
    (tmp_path / "val" / "JPEGImages_24fps" / "lake" / "00004.jpg").unlink()
    result = masklet("sav", "validate", tmp_path / "val")
    assert result.exit_code == 1
    assert "lake: 1 problems" in result.stdout
    assert "  object 001: 1 masks have no picture of the same name; the first is 00004.png" in result.stdout


def test_an_interrupted_conversion_leaves_no_index(
    masklet: Callable[..., Result], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("masklet.data.datasets.Dataset.note_bad", stopped)
    (dataset / "Annotations/480p/park/00002.png").write_bytes(b"no picture")
    result = masklet("convert", dataset, tmp_path / "out", "--to", "coco")
    assert result.exit_code == 130
    assert "1 of 2 written, but no list or index of them" in result.stderr
    assert not (tmp_path / "out" / "annotations").exists()


def test_datasets_are_put_together(masklet: Callable[..., Result], dataset: Path, sav: Path, tmp_path: Path):
    assert (
        masklet("convert", dataset, tmp_path / "out", "--to", "coco", "--split", "val", "--to-split", "train").exit_code
        == 0
    )
    result = masklet("convert", sav, tmp_path / "out", "--to", "coco")
    assert "1 of 2 written, 1 left out" in result.stdout
    assert [record.video_id for record in open_dataset("coco", tmp_path / "out")] == ["lake", "park"]


def test_sav_frames_takes_annotated_frames(masklet: Callable[..., Result], sav: Path, tmp_path: Path):
    result = masklet("sav", "frames", sav, "-o", tmp_path / "frames", "--fps", "6")
    assert result.stdout.splitlines() == ["lake: 2 frames", "park: 2 frames"]
    assert sorted(path.name for path in (tmp_path / "frames/lake").iterdir()) == ["00000.jpg", "00004.jpg"]


def test_sav_frames_without_videos_fails(masklet: Callable[..., Result], sav: Path, tmp_path: Path):
    (sav / "lake.mp4").unlink()
    result = masklet("sav", "frames", sav, "-o", tmp_path / "frames")
    assert result.exit_code == 1
    assert "1 of 2 left out" in result.stderr


def test_sav_stats_counts_masklets_of_any_dataset(masklet: Callable[..., Result], dataset: Path, tmp_path: Path):
    result = masklet("sav", "stats", dataset, "-o", tmp_path / "stats")
    assert result.exit_code == 0, result.output
    counted = dict(line.split() for line in result.stdout.splitlines()[:-1])
    assert (counted["videos"], counted["masklets"], counted["masks"]) == ("2", "2", "6")
    assert (tmp_path / "stats" / "statistics.png").is_file()


def test_sav_show_draws_a_video_and_a_sheet(masklet: Callable[..., Result], sav: Path, tmp_path: Path):
    outputs = ("-o", tmp_path / "lake.mp4", "-o", tmp_path / "lake.png")
    result = masklet("sav", "show", sav, "lake", "--only", "manual", *outputs)
    assert result.exit_code == 0, result.output
    with open_frames(tmp_path / "lake.mp4") as frames:
        assert len(frames) == 2
    assert (tmp_path / "lake.png").is_file()
    assert "has no auto masklets" in masklet("sav", "show", sav, "lake", "--only", "auto").stderr
    assert "it has 2: lake, park" in masklet("sav", "show", sav, "river").stderr
