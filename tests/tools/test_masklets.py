"""Masks of objects that a list of prompts shows in folders of frames."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

BALL = [[40, 30], [60, 30], [60, 50], [40, 50]]


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A dark square that crosses a light picture in eight frames: from 40 to 68 pixels from the left."""
    folder = tmp_path / "videos" / "clip"
    folder.mkdir(parents=True)
    for frame in range(8):
        picture = np.full((80, 128, 3), 220, np.uint8)
        picture[30:50, 40 + 4 * frame : 60 + 4 * frame] = (30, 60, 90)
        assert cv2.imwrite(str(folder / f"{frame:04d}.jpg"), picture)
    return folder.parent


def follow(tool: ModuleType, videos: Path, clips: dict[str, Any]) -> Result:
    listed = videos.parent / "prompts.json"
    listed.write_text(json.dumps(clips))
    return CliRunner().invoke(tool.main, [str(listed), str(videos), str(videos.parent / "out"), "--image-size", "128"])


def read(path: Path, flag: int = cv2.IMREAD_GRAYSCALE) -> np.ndarray:
    image = cv2.imread(str(path), flag)
    assert image is not None
    return image


def test_masks_are_written_for_the_frames_that_are_kept_before_and_after_the_prompt(tool: ModuleType, videos: Path):
    moved = [[x + 16, y] for x, y in BALL]
    shown = {"spans": [[1, 2], [4, 7]], "prompts": [{"frame": 4, "outlines": [moved]}]}
    result = follow(tool, videos, {"clip": {"ball": shown}})
    assert result.exit_code == 0, result.output
    out = videos.parent / "out"
    found = {path.stem: read(path) for path in (out / "clip/ball").iterdir()}
    assert sorted(found) == ["0001", "0002", "0004", "0005", "0006", "0007"]
    for frame, mask in found.items():
        assert set(np.unique(mask)) == {0, 255}
        left = 40 + 4 * int(frame)
        inside = mask[30:50, left : left + 20]
        assert inside.sum() / mask.sum() > 0.6
        assert inside.mean() > 0.6 * 255
    assert read(out / "clip.png", cv2.IMREAD_COLOR).shape == (256, 6 * 256, 3)


def test_boxes_and_clicks_show_objects_too(tool: ModuleType, videos: Path):
    prompts = [{"frame": 0, "box": [38, 28, 62, 52], "positive": [[50, 40]], "negative": [[80, 40]]}]
    assert follow(tool, videos, {"clip": {"ball": {"spans": [[0, 0]], "prompts": prompts}}}).exit_code == 0
    mask = read(videos.parent / "out/clip/ball/0000.png") > 0
    assert mask[30:50, 40:60].mean() > 0.8
    assert mask[:, 70:].mean() < 0.05


def test_each_object_of_a_folder_of_photos_is_shown_on_its_own_one(tool: ModuleType, videos: Path):
    assert cv2.imwrite(str(videos / "clip/0008.jpg"), np.full((40, 30, 3), 200, np.uint8))
    corner = [[0, 0], [15, 0], [15, 20], [0, 20]]
    shown = {
        name: {"spans": [[frame, frame]], "prompts": [{"frame": frame, "outlines": [outline]}]}
        for name, frame, outline in (("ball", 0, BALL), ("corner", 8, corner))
    }
    assert follow(tool, videos, {"clip": shown}).exit_code == 0
    found = {path.parent.name: read(path) > 0 for path in (videos.parent / "out/clip").glob("*/*.png")}
    assert found["ball"].shape == (80, 128)
    assert found["ball"][30:50, 40:60].mean() > 0.9
    assert found["corner"].shape == (40, 30)
    assert found["corner"].mean() == pytest.approx(0.25, abs=0.1)


def test_lists_that_do_not_fit_the_videos_are_refused(tool: ModuleType, videos: Path):
    shown = {"spans": [[0, 8]], "prompts": [{"frame": 0, "outlines": [BALL]}]}
    result = follow(tool, videos, {"clip": {"ball": shown}})
    assert result.exit_code == 1
    assert "expected spans within 0 to 7, got [[0, 8]]" in result.output
    result = follow(tool, videos, {"other": {}})
    assert result.exit_code == 1
    assert "tells of other, which is not in" in result.output
