from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from .conftest import HEIGHT, WIDTH

Run = Callable[..., Result]


def test_a_cut_out_has_the_size_of_the_picture_and_alpha(photo: Path, masklet: Run, tmp_path: Path):
    out = tmp_path / "cutout.png"
    result = masklet("segment", photo, "--box", "2,8,22,32", "--format", "cutout-png", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(out)]
    with Image.open(out) as cutout:
        assert (cutout.mode, cutout.size) == ("RGBA", (WIDTH, HEIGHT))


def test_each_object_gets_its_mask_and_scores(photo: Path, masklet: Run, tmp_path: Path):
    prompts = ("--click", "12,20", "--box", "0:30,8,60,32@2", "--click", "40,20:-@2")
    result = masklet("segment", photo, *prompts, "--out", tmp_path / "masks.json")
    assert result.exit_code == 0, result.output
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["object 1", "object 2"]
    (frame,) = json.loads((tmp_path / "masks.json").read_text())["frames"]
    assert [one["object"] for one in frame["objects"]] == [1, 2]
    assert all(one["prompted"] and 0 <= one["predicted_iou"] <= 1 for one in frame["objects"])


def test_without_a_name_an_overlay_is_called_after_the_picture(
    photo: Path, masklet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert masklet("segment", photo, "--click", "12,20").stdout.split() == ["photo-overlay.png"]
    with Image.open("photo-overlay.png") as overlay:
        assert overlay.size == (WIDTH, HEIGHT)


def test_a_prompt_on_a_later_frame_is_refused(photo: Path, masklet: Run):
    result = masklet("segment", photo, "--click", "3:12,20")
    assert (result.exit_code, result.stderr) == (
        2,
        "Error: a picture has frame 0 only, got a prompt on frame 3; leave out the frame's number\n",
    )


def test_a_compiler_that_is_not_there_is_told(photo: Path, masklet: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    result = masklet("segment", photo, "--click", "12,20", "--device", "cpu", "--compiled")
    assert result.exit_code == 2
    assert "need a C++ compiler" in result.stderr


def test_a_video_is_sent_to_track(clip: Path, masklet: Run):
    result = masklet("segment", clip, "--click", "12,20")
    assert result.exit_code == 2
    assert "use `masklet track` for videos" in result.stderr
