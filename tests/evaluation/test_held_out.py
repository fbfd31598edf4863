from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from masklet.data.datasets import open_dataset
from masklet.evaluation.held_out import FOLLOWED, TILE_HEIGHT, HeldOut, sheet, table
from masklet.evaluation.runners import Runner, VideoRun
from masklet.evaluation.truth import ObjectMasks
from masklet.evaluation.user import Answer
from masklet.prompts import Prompt
from masklet.video.source import FrameSource

from ..training.material import write_pictures, write_videos

Look = Callable[[np.ndarray], np.ndarray]


class Looking(Runner):
    """Finds the same in a picture whatever it is shown."""

    def __init__(self, look: Look) -> None:
        self.look = look

    def open(self, frames: FrameSource, *, overlap: bool) -> LookingRun:
        return LookingRun(self.look, frames)

    def picture(self, picture: np.ndarray) -> Callable[[], Answer]:
        return lambda: lambda prompt: self.look(picture)


class LookingRun(VideoRun):
    def __init__(self, look: Look, frames: FrameSource) -> None:
        self.look, self.frames = look, frames

    def prompt(self, frame: int, obj: int, prompt: Prompt) -> np.ndarray:
        return self.look(self.frames[frame])

    def follow(self, start: int, end: int | None = None) -> Iterator[tuple[int, ObjectMasks]]:
        assert end is not None
        yield from ((frame, {1: self.look(self.frames[frame])}) for frame in range(start, end))


seeing = Looking(lambda picture: picture[..., 0] > 200)
blind = Looking(lambda picture: np.zeros(picture.shape[:2], dtype=bool))


def test_one_who_sees_the_objects_scores_one_and_the_blind_nothing(tmp_path: Path):
    held_out = HeldOut(open_dataset("images", write_pictures(tmp_path, 3)))
    before, after = held_out.measure(blind), held_out.measure(seeing)
    assert after.means() == {"IoU after 1 click": 1, "IoU after 3 clicks": 1, "IoU after 5 clicks": 1}
    assert (before.score(), after.score()) == (0, 1)
    assert [len(scores) for scores in after.scores.values()] == [3, 3, 3]
    lines = [line.split() for line in table(before, after).splitlines()]
    assert lines[0] == ["before", "after", "gain", "objects"]
    assert lines[1][-4:] == ["0.0", "100.0", "+100.0", "3"]


def test_objects_of_videos_are_clicked_on_and_followed(tmp_path: Path):
    held_out = HeldOut(open_dataset("videos", write_videos(tmp_path, 2)))
    measured = held_out.measure(seeing)
    assert measured.means()[FOLLOWED] == 1
    assert len(measured.scores["IoU after 1 click"]) == 2
    assert [example.name for example in measured.examples] == ["0, frame 3", "1, frame 3"]


def test_clicking_and_following_count_alike(tmp_path: Path):
    held_out = HeldOut(open_dataset("videos", write_videos(tmp_path, 1)))
    measured = held_out.measure(seeing)
    measured.scores[FOLLOWED] = [0.5]
    assert measured.score() == 0.75


def test_a_number_of_objects_is_spread_over_the_records(tmp_path: Path):
    dataset = open_dataset("images", write_pictures(tmp_path, 9))
    names = [record.video_id for record, _ in HeldOut(dataset, most=3).cases]
    assert names == ["0", "4", "8"]


def test_what_cannot_be_read_is_left_out_and_said(tmp_path: Path):
    write_pictures(tmp_path, 2)
    (tmp_path / "images/1.png").write_bytes(b"no picture")
    dataset = open_dataset("images", tmp_path)
    assert len(HeldOut(dataset).measure(seeing).scores["IoU after 1 click"]) == 1
    assert [path.name for path in dataset.bad] == ["1.png"]
    (tmp_path / "images/0.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"nothing in .* can be tested with"):
        HeldOut(dataset).measure(seeing)


def test_the_sheet_has_a_row_for_each_example_with_truth_before_and_after(tmp_path: Path):
    held_out = HeldOut(open_dataset("images", write_pictures(tmp_path, 2)))
    drawn = sheet(held_out.measure(blind), held_out.measure(seeing))
    assert drawn.shape[0] == pytest.approx(2 * TILE_HEIGHT, abs=10)
    assert drawn.shape[1] == pytest.approx(3 * TILE_HEIGHT, abs=20)
