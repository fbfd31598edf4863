from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.video.read import open_frames

EXAMPLES = Path(__file__).parents[2] / "examples"
LONGEST = 70


@pytest.fixture
def run(weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs an example as its docstring says, with small weights; gives what it printed."""

    def run(name: str, *arguments: object) -> str:
        words = [str(word) for word in (EXAMPLES / name, *arguments, "--weights", weights)]
        monkeypatch.setattr(sys, "argv", words)
        runpy.run_path(words[0], run_name="__main__")
        return capsys.readouterr().out

    return run


def test_an_object_is_followed_and_corrected(run: Callable[..., str], clip: Path, tmp_path: Path):
    out = tmp_path / "overlay.mp4"
    printed = run("follow_object.py", clip, out, "--box", 0, 10, 20, 30, "--at", 3, "--not-here", 50, 40)
    assert printed.strip() == str(out)
    with open_frames(clip) as source, open_frames(out) as overlay:
        assert len(overlay) == len(source)


def test_a_click_gives_three_cut_outs_best_first(run: Callable[..., str], photo: Path, tmp_path: Path):
    printed = run("cut_out.py", photo, 10, 20, tmp_path).splitlines()
    scores = [float(line.split()[-1]) for line in printed]
    assert scores == sorted(scores, reverse=True)
    for rank in (1, 2, 3):
        cut = Image.open(tmp_path / f"{rank}.png")
        assert cut.mode == "RGBA"
        assert cut.size == Image.open(photo).size


def test_a_stream_is_followed_frame_by_frame(run: Callable[..., str], clip: Path, tmp_path: Path):
    out = tmp_path / "overlay.mp4"
    run("camera.py", clip, "--save", out)
    with open_frames(clip) as source, open_frames(out) as overlay:
        assert len(overlay) == len(source)
        assert np.asarray(overlay[0]).shape == np.asarray(source[0]).shape


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_short(path: Path):
    assert len(path.read_text().splitlines()) <= LONGEST
