from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from masklet.masks import decode_rle

from .conftest import FRAMES, HEIGHT, WIDTH, write_clip

Run = Callable[..., Result]


def frames_in(path: Path) -> list[int]:
    return [frame["frame"] for frame in json.loads(path.read_text())["frames"]]


def size_and_rate(path: Path) -> tuple[int, int, int]:
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        assert stream.average_rate is not None
        return sum(1 for _ in video.decode(video=0)), stream.width, round(stream.average_rate)


def test_an_overlay_has_all_frames_at_the_rate_of_the_original_and_its_sound(clip: Path, masklet: Run, tmp_path: Path):
    out = tmp_path / "overlay.mp4"
    result = masklet("track", clip, "--click", "0:12,20", "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [str(out)]
    assert re.search(rf"{FRAMES} frames, [\d.]+ frames per second", result.stderr)
    assert size_and_rate(out) == (FRAMES, WIDTH, 10)
    with av.open(str(out)) as video:
        assert video.streams.audio


def test_accuracy_can_be_traded_for_speed(clip: Path, masklet: Run, tmp_path: Path):
    trades = ["--fast", "--pooled-memory", "2", "--keyframes", "3", "--still-below", "0.5"]
    result = masklet("track", clip, "--click", "0:12,20", "--out", tmp_path / "masks.json", *trades)
    assert result.exit_code == 0, result.output
    assert frames_in(tmp_path / "masks.json") == list(range(FRAMES))


def test_a_size_that_the_network_cannot_have_is_refused(clip: Path, masklet: Run, tmp_path: Path):
    result = masklet("track", clip, "--click", "0:12,20", "--out", tmp_path / "masks.json", "--image-size", "50")
    assert result.exit_code == 2
    assert "multiple of 32" in result.stderr


def test_several_outputs_are_written_in_one_run(clip: Path, masklet: Run, tmp_path: Path):
    names = ["masks.json", "sheet.png", "cut.webm", "ids"]
    outs = [word for name in names for word in ("--out", tmp_path / name)]
    result = masklet("track", clip, "--box", "0:2,8,22,32", "--box", "1:4,8,24,32@2", "--end", "2", *outs)
    assert result.exit_code == 0, result.output
    assert frames_in(tmp_path / "masks.json") == [0, 1, 2]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > WIDTH
    assert size_and_rate(tmp_path / "cut.webm") == (3, WIDTH, 10)
    assert sorted(path.name for path in (tmp_path / "ids").iterdir()) == ["00000.png", "00001.png", "00002.png"]


def test_formats_belong_to_the_outputs_in_their_order(clip: Path, masklet: Run, tmp_path: Path):
    outs = ["--out", tmp_path / "a", "--format", "png-objects", "--out", tmp_path / "b", "--format", "cutout-png"]
    result = masklet("track", clip, "--box", "0:2,8,22,32@3", "--end", "0", *outs)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "a" / "003" / "00000.png").is_file()
    with Image.open(tmp_path / "b" / "00000.png") as cutout:
        assert cutout.mode == "RGBA"


def test_without_a_name_the_output_is_called_after_the_video(
    clip: Path, masklet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = masklet("track", clip, "--click", "12,20", "--end", "1", "--format", "rle", "--format", "overlay")
    assert result.stdout.split() == ["clip-rle.json", "clip-overlay.mp4"]
    assert {path.name for path in tmp_path.iterdir()} == {"clip-rle.json", "clip-overlay.mp4"}


def test_backward_goes_from_the_last_prompt_to_the_beginning_and_writes_the_video_forward(
    clip: Path, masklet: Run, tmp_path: Path
):
    outs = ("--out", tmp_path / "masks.json", "--out", tmp_path / "overlay.mp4")
    result = masklet("track", clip, "--click", "1:16,20", "--click", "3:24,20", "--backward", *outs)
    assert result.exit_code == 0, result.output
    assert frames_in(tmp_path / "masks.json") == [3, 2, 1, 0]
    assert size_and_rate(tmp_path / "overlay.mp4") == (4, WIDTH, 10)


def test_start_and_end_bound_the_frames(clip: Path, masklet: Run, tmp_path: Path):
    masklet("track", clip, "--click", "0:12,20", "--start", "2", "--end", "4", "--out", tmp_path / "masks.json")
    assert frames_in(tmp_path / "masks.json") == [2, 3, 4]


def test_a_mask_is_followed_as_it_was_drawn(clip: Path, masklet: Run, tmp_path: Path):
    drawn = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    drawn[8:32, 16:48] = 255
    Image.fromarray(drawn).save(tmp_path / "drawn.png")
    result = masklet("track", clip, "--mask", f"0:{tmp_path / 'drawn.png'}", "--end", "0", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out" / "00000.png") as ids:
        agree = (np.asarray(ids) == 1) == (drawn > 0)
    assert agree.mean() > 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--click", "0:500,20"], "outside the picture, which is 64 wide and 48 high"),
        (["--click", "9:12,20"], "frame 9 does not exist; the frames are 0 to 5"),
        (["--click", "0:12,20:-"], "only negative clicks"),
        (["--click", "0:12,20", "--start", "6"], "frame 6 does not exist"),
        (["--click", "3:12,20", "--end", "1"], "--end 1 lies before frame 3, where the run begins; add --backward"),
        (["--click", "0:12,20", "--out", "masks.xyz"], "cannot tell the format"),
        (["--click", "0:12,20", "--weights", "sam2.1-hiera-tinny"], "did you mean sam2.1-hiera-tiny?"),
        (["--click", "0:12,20", "--device", "abacus"], "cannot compute on device 'abacus'"),
        (["--click", "0:1,2", "--box", "0:1,1,9,9", "--box", "0:2,2,9,9"], "object 1 has 2 boxes"),
        (["--prompts", "missing.json"], "there is no file missing.json"),
        (["--click", "0:1,2", "--out", "a.mp4", "--out", "./a.mp4"], "cannot write a.mp4, which is written already"),
        (["--click", "0:1,2", "--out", "a", "--out", "b", "--format", "png"], "one --format for each --out"),
    ],
)
def test_mistakes_end_in_one_line_and_write_nothing(
    arguments: list[str], message: str, clip: Path, masklet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    result = masklet("track", clip, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_earlier_result_stays_when_another_output_cannot_be_written(clip: Path, masklet: Run, tmp_path: Path):
    (tmp_path / "masks.json").write_text("earlier")
    result = masklet("track", clip, "--click", "0:1,2", "--out", tmp_path / "masks.json", "--out", tmp_path / "b.xyz")
    assert result.exit_code == 2
    assert (tmp_path / "masks.json").read_text() == "earlier"


def test_a_damaged_video_and_a_missing_one_are_named(masklet: Run, tmp_path: Path):
    (tmp_path / "noise.mp4").write_bytes(bytes(1000))
    for name in ("noise.mp4", "missing.mp4"):
        result = masklet("track", tmp_path / name, "--click", "0:1,2")
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: ")
        assert name in result.stderr


def test_the_video_itself_is_never_written_over(clip: Path, masklet: Run):
    before = clip.read_bytes()
    result = masklet("track", clip, "--click", "0:12,20", "--out", clip)
    assert result.exit_code == 2
    assert "which is read" in result.stderr
    assert clip.read_bytes() == before


def test_our_own_mistakes_keep_their_traceback(clip: Path, masklet: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("masklet.cli.follow.follow", lambda *_, **__: {}["missing"])
    result = masklet("track", clip, "--click", "0:12,20")
    assert isinstance(result.exception, KeyError)


def test_nothing_shown_is_an_error_that_names_the_options(clip: Path, masklet: Run):
    result = masklet("track", clip)
    assert result.exit_code == 2
    assert "Give a --click, --box, --mask or --prompts file" in result.stderr


def test_help_lists_the_formats(masklet: Run):
    assert "cutout-webm  a WebM video" in masklet("track", "--help").output


def test_ctrl_c_leaves_a_usable_video_and_says_how_to_go_on(weights: Path, tmp_path: Path):
    clip = write_clip(tmp_path / "long.mp4", 300)
    arguments = ["track", "long.mp4", "--click", "0:12,20", "--out", "overlay.mp4", "--out", "masks.json"]
    arguments += ["--weights", str(weights)]
    terminal, stderr = pty.openpty()
    fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "masklet.cli", *arguments],
        cwd=clip.parent,
        stderr=stderr,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    os.close(stderr)
    shown = read_until(terminal, r"\b[1-9]\d*/300 .*[\d.]+ frames/s")
    process.send_signal(signal.SIGINT)
    shown += read_until(terminal, r"--start \d+[^\n]*\n")
    assert process.wait(timeout=60) == 130
    os.close(terminal)
    last, next_frame = map(
        int, re.findall(r"frames 0 to (\d+) are finished.*--start (\d+)", shown.replace("\r\n", " "))[0]
    )
    assert next_frame == last + 1
    assert size_and_rate(tmp_path / "overlay.mp4")[0] == last + 1
    masks = json.loads((tmp_path / "masks.json").read_text())
    assert masks["complete"] is False
    newest = decode_rle(masks["frames"][-1]["objects"][0]["segmentation"])
    going_on = re.findall(rf"--mask {last}:(\S+)@1", shown)
    assert len(going_on) == newest.any()
    for path in going_on:
        assert np.array_equal(np.asarray(Image.open(tmp_path / path)), newest)


def read_until(terminal: int, pattern: str) -> str:
    shown = ""
    while not re.search(pattern, shown):
        assert select.select([terminal], [], [], 240)[0], f"waited in vain for {pattern}, got {shown}"
        shown += os.read(terminal, 4096).decode(errors="replace")
    return shown
