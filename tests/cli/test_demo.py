from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from .conftest import write_clip


def test_the_demo_writes_and_prints_a_video_a_sheet_and_the_speed(
    masklet: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "assets").mkdir()
    write_clip(tmp_path / "assets" / "demo.mp4", 3)
    (tmp_path / "assets" / "demo.json").write_text('[{"frame": 0, "object": 1, "box": [2, 8, 22, 32]}]')
    monkeypatch.setattr("masklet.cli.demo.resources.files", lambda _: tmp_path)
    result = masklet("demo", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    video, sheet, speed = result.stdout.splitlines()
    assert Path(video).stat().st_size
    with Image.open(sheet) as picture:
        picture.verify()
    assert re.fullmatch(r"3 frames, [\d.]+ frames per second", speed)
