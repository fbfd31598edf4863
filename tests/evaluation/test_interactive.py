from __future__ import annotations

import numpy as np
import pytest

from masklet.evaluation import interactive
from masklet.evaluation.datasets import DATASETS
from masklet.evaluation.folders import annotated_videos
from masklet.evaluation.interactive import measure
from masklet.evaluation.plan import InteractiveProtocol, Plan
from masklet.evaluation.truth import Truth
from masklet.metrics import j_and_f
from masklet.prompts import Mask

from .fakes import Scripted
from .folders import VIDEO_HW, Masks, square, write_annotations, write_pictures

EMPTY = np.zeros(VIDEO_HW, dtype=bool)
TRUTH: list[Masks] = [{1: square(4 * t, 4)} for t in range(10)]
SHIFTS = (0, 1, 2, 2, 6, 2, 2, 8, 2, 6)
"""How far off a tracker is on each frame that was not prompted."""


def mistaken(frame: int, prompts: list) -> Masks:
    """Right on prompted frames, off by so many pixels on the others."""
    is_prompted = any(prompted == frame for prompted, _, _ in prompts)
    return {1: square(4 * frame, 4 + (0 if is_prompted else SHIFTS[frame]))}


def measured(root, runner, truth=TRUTH, **protocol):
    """Rounds by mode and tracker, and the runner."""
    plan = Plan("folder", str(root), None, InteractiveProtocol(**{"baselines": (), **protocol}))
    write_pictures(root / "JPEGImages/clip", truth)
    write_annotations(root / "Annotations/clip", truth)
    (video,) = annotated_videos(DATASETS["folder"], root)
    found = measure(video, runner, plan, root / "out")
    return {(track["mode"], track["tracker"]): track["rounds"] for track in found["tracks"]}


def prompted_frames(runner: Scripted, run: int = 0) -> list[int]:
    return list(dict.fromkeys(frame for frame, _, _ in runner.runs[run].prompts))


def test_offline_prompts_the_frame_of_the_lowest_iou_and_follows_from_the_beginning(tmp_path):
    runner = Scripted(TRUTH, mistaken)
    measured(tmp_path, runner, modes=("offline",), rounds=4)
    assert prompted_frames(runner) == [0, 7, 4, 9]
    assert runner.runs[0].followed == [(0, None)] * 4


def test_online_pauses_at_the_next_frame_below_the_threshold_and_follows_from_there(tmp_path):
    runner = Scripted(TRUTH, mistaken)
    measured(tmp_path, runner, modes=("online",), rounds=8, pause_below=0.6)
    assert prompted_frames(runner) == [0, 4, 7, 9]
    assert runner.runs[0].followed == [(0, None), (4, None), (7, None), (9, None)]


def test_online_prompts_change_nothing_before_them(tmp_path):
    def worse_with_every_prompt(frame: int, prompts: list) -> Masks:
        return {1: square(4 * frame, 4 + 3 * len(prompts))}

    truth = [{1: square(4 * t, 4)} for t in range(4)]
    rounds = measured(tmp_path, Scripted(truth, worse_with_every_prompt), truth, modes=("online",), rounds=2)
    first, second = rounds["online", "masklet"]
    off_by_3, off_by_6 = (j_and_f(truth[1][1], square(4, 4 + shift)).j for shift in (3, 6))
    assert first["j"] == pytest.approx((1 + 3 * off_by_3) / 4)
    assert second["j"] == pytest.approx((1 + 1 + 2 * off_by_6) / 4)


def test_the_simulated_time_is_the_published_one(tmp_path):
    """The answers are perfect, so there is one click on each prompted frame."""
    rounds = measured(tmp_path, Scripted(TRUTH, mistaken), rounds=3, pause_below=0.6)
    view = 30 * 10 / 300
    assert [r["seconds"] for r in rounds["offline", "masklet"]] == pytest.approx([n * (view + 2.5) for n in (1, 2, 3)])
    assert [r["seconds"] for r in rounds["online", "masklet"]] == pytest.approx([view + 2.5 * n for n in (1, 2, 3)])


def test_clicks_per_frame_are_bounded_and_counted(tmp_path):
    blind = Scripted([{1: EMPTY}] * 10, lambda frame, prompts: {1: EMPTY})
    rounds = measured(tmp_path, blind, modes=("offline",), rounds=2)["offline", "masklet"]
    assert [done["clicks"] for done in rounds] == [3, 6]


def test_when_nothing_is_wrong_the_last_round_is_repeated(tmp_path):
    runner = Scripted(TRUTH, lambda frame, prompts: TRUTH[frame])
    rounds = measured(tmp_path, runner, modes=("offline",), rounds=3)["offline", "masklet"]
    assert [done["prompted"] for done in rounds] == [1, 1, 1]
    assert rounds[0] == rounds[2]
    assert (rounds[0]["j"], rounds[0]["f"]) == (1.0, 1.0)


def test_frames_count_from_where_the_object_is_first_seen(tmp_path):
    truth: list[Masks] = [{}, {}, *TRUTH[2:5]]
    runner = Scripted(truth, lambda frame, prompts: {1: TRUTH[frame][1]})
    rounds = measured(tmp_path, runner, truth, modes=("online",), rounds=1)
    assert runner.runs[0].followed == [(2, None)]
    assert rounds["online", "masklet"][0]["seconds"] == pytest.approx(30 * 3 / 300 + 2.5)


def test_baselines_start_anew_on_each_frame_and_are_told_of_absence(tmp_path):
    truth: list[Masks] = [{1: square(4, 4)}, {1: square(4, 4)}, {1: EMPTY}, {1: EMPTY}]
    runner = Scripted(truth, lambda frame, prompts: {1: square(4, 4)})
    seen = []

    def picture(pixels):
        return lambda: lambda prompt: [seen.append(prompt), square(4, 4)][1]

    runner.picture = picture  # type: ignore[method-assign]
    rounds = measured(tmp_path, runner, truth, modes=("offline",), rounds=2, baselines=("nearest",))
    assert [done["j"] for done in rounds["offline", "nearest"]] == [0.5, 1.0]
    assert len(seen) == 1
    assert not any(isinstance(prompt, Mask) for prompt in seen)


def test_the_truth_is_read_once_for_all_trackers_modes_and_rounds_as_far_as_it_fits(tmp_path, monkeypatch):
    read: list[int] = []
    mask = Truth.mask
    monkeypatch.setattr(Truth, "mask", lambda truth, frame, obj: [read.append(frame), mask(truth, frame, obj)][1])

    def rounds(root, most_bytes: int):
        read.clear()
        monkeypatch.setattr(interactive, "TRUTH_BYTES", most_bytes)
        return measured(root, Scripted(TRUTH, mistaken), rounds=3, pause_below=0.6, baselines=("nearest",))

    kept = rounds(tmp_path / "kept", 1 << 20)
    assert sorted(read) == list(range(10))
    assert rounds(tmp_path / "again", 0) == kept
    assert len(read) > 40


def test_a_hidden_truth_is_refused(tmp_path):
    write_pictures(tmp_path / "JPEGImages/clip", TRUTH)
    write_annotations(tmp_path / "Annotations/clip", TRUTH[:1])
    (video,) = annotated_videos(DATASETS["folder"], tmp_path)
    plan = Plan("folder", str(tmp_path), None, InteractiveProtocol())
    with pytest.raises(ValueError, match="take a split with truth"):
        measure(video, Scripted(TRUTH, mistaken), plan, tmp_path)
