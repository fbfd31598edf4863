from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from masklet.evaluation.baselines import copy_first_mask
from masklet.evaluation.davis import davis_videos
from masklet.evaluation.vos import compare, evaluate_vos
from masklet.metrics import JF, iou, j_and_f

from .folders import VIDEO_HW, sliding_squares, square, write_sequence

SPEED = 3
TRUTH = sliding_squares(SPEED)


@pytest.fixture
def videos(tmp_path):
    write_sequence(tmp_path, "slide", TRUTH)
    return davis_videos(tmp_path)


def oracle(frames, user):
    """Knows everything."""
    user.prompt(lambda frame, obj, prompt: TRUTH[frame][obj])
    yield from enumerate(TRUTH)


def evaluate(tracker, videos, **options):
    return evaluate_vos(tracker, videos, progress=False, **options)


def test_a_perfect_tracker_scores_one(videos):
    result = evaluate(oracle, videos, prompt="3-click")
    assert result.mean == JF(1.0, 1.0)
    assert result.tracked_frames == 5
    assert result.fps > 0


def test_scores_are_means_without_the_first_and_the_last_frame(videos):
    first, second = evaluate(copy_first_mask, videos).scores
    inner = [j_and_f(TRUTH[t][1], square(4, 4)) for t in (1, 2, 3)]
    assert (first.video, first.obj, first.frames) == ("slide", 1, 3)
    assert first.j == pytest.approx(np.mean([score.j for score in inner]))
    assert first.f == pytest.approx(np.mean([score.f for score in inner]))
    assert (second.obj, second.frames, second.j) == (2, 1, 1.0)


def test_only_the_first_and_last_frame_being_wrong_costs_nothing(videos):
    def wrong_at_the_ends(frames, user):
        return ((t, {} if t in (0, 4) else masks) for t, masks in enumerate(TRUTH))

    assert evaluate(wrong_at_the_ends, videos).mean.j == 1.0


def test_an_object_that_a_tracker_does_not_give_counts_as_empty(videos):
    def gives_only_the_first(frames, user):
        return ((t, {1: masks[1]}) for t, masks in enumerate(TRUTH))

    first, second = evaluate(gives_only_the_first, videos).scores
    assert (first.jf, second.jf) == (1.0, 0.0)


def test_frames_without_annotation_do_not_count(tmp_path):
    write_sequence(tmp_path, "sparse", TRUTH, every=2)
    (first,) = evaluate(copy_first_mask, davis_videos(tmp_path)).scores
    assert first.frames == 1
    assert first.j == pytest.approx(iou(TRUTH[2][1], square(4, 4)))


def test_the_mean_is_over_objects_of_all_videos(tmp_path):
    still = [{1: square(20, 20)}] * 4
    write_sequence(tmp_path, "slide", [{1: masks[1]} for masks in TRUTH])
    write_sequence(tmp_path, "still", still, binary=True)
    result = evaluate(copy_first_mask, davis_videos(tmp_path))
    slide, still_score = result.scores
    assert still_score.jf == 1.0
    assert result.mean.mean == pytest.approx((slide.jf + 1) / 2)


def test_leaving_out_a_frame_is_an_error(videos):
    with pytest.raises(ValueError, match=r"left out frames \[2, 3\] of slide"):
        evaluate(lambda frames, user: list(enumerate(TRUTH))[:2], videos)


def test_masks_of_another_size_are_an_error(videos):
    def halves(frames, user):
        return ((t, {1: np.zeros((VIDEO_HW[0] // 2, VIDEO_HW[1] // 2), bool)}) for t in range(5))

    with pytest.raises(ValueError, match="resize"):
        evaluate(halves, videos)


def test_videos_too_short_to_be_scored_are_an_error(tmp_path):
    write_sequence(tmp_path, "short", TRUTH[:2])
    with pytest.raises(ValueError, match="at least three"):
        evaluate(copy_first_mask, davis_videos(tmp_path))


def test_results_are_saved_as_csv_and_json(videos, tmp_path):
    result = evaluate(copy_first_mask, videos)
    table, summary = result.save(tmp_path / "out", "copy")
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["video"], row["obj"]) for row in rows] == [("slide", "1"), ("slide", "2")]
    assert float(rows[0]["j"]) == result.scores[0].j
    written = json.loads(summary.read_text())
    assert written["jf"] == result.mean.mean
    assert written["prompt"] == "mask"
    assert len(written["objects"]) == 2


def test_tables_show_every_object_and_the_mean(videos):
    copied, perfect = evaluate(copy_first_mask, videos), evaluate(oracle, videos)
    lines = copied.table().splitlines()
    assert lines[0].split() == ["object", "J&F", "J", "F"]
    assert lines[1].split()[:2] == ["slide", "1"]
    assert lines[-1].split()[-3:] == [f"{score:.3f}" for score in (copied.mean.mean, *copied.mean)]
    beside = compare({"copy": copied, "oracle": perfect}).splitlines()
    assert beside[0].split() == ["J&F", "copy", "oracle"]
    assert beside[-1].split()[-2:] == [f"{copied.mean.mean:.3f}", "1.000"]
