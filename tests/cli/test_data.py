from __future__ import annotations

from pathlib import Path

import av
import cv2
from click.testing import CliRunner

from masklet.cli import main

from ..training.material import SIDE, write_videos

RECIPES = Path(__file__).parents[2] / "recipes"


def test_a_preview_shows_clips_of_every_source_as_a_sheet_and_as_a_video(tmp_path: Path):
    options = [f"videos={write_videos(tmp_path / 'in', 2)}", "format=videos", "frames=3", f"size={SIDE}"]
    words = ["data", "preview", str(RECIPES / "sam2.py"), *options, "--clips", "5", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    sheet, video = map(Path, result.stdout.split())
    drawn = cv2.imread(str(sheet))
    assert drawn is not None
    assert drawn.shape == (5 * SIDE, 3 * SIDE, 3)
    with av.open(str(video)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert frames[0].shape == (2 * SIDE, 3 * SIDE, 3)
    assert len(frames) == 3 * 4
    assert abs(frames[0].astype(int) - frames[2]).max() > 50
