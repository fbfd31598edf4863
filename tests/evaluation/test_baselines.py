from __future__ import annotations

import numpy as np
import pytest

from masklet.evaluation import baselines
from masklet.evaluation.baselines import MOVERS, CarriedRunner, without_shared_pixels
from masklet.metrics import iou
from masklet.prompts import Mask, Points
from masklet.video.read import ArrayFrames

from .folders import _paint, sliding_squares, square

TRUTH = sliding_squares(2, frames=7)
FRAMES = ArrayFrames([_paint(masks) for masks in TRUTH])


def open_run(name: str, overlap: bool = True):
    return CarriedRunner(lambda picture: lambda: lambda prompt: square(4, 4), MOVERS[name]).open(
        FRAMES, overlap=overlap
    )


def test_objects_stay_where_they_were_shown():
    run = open_run("nearest")
    run.prompt(0, 1, Mask(square(4, 4)))
    assert all(np.array_equal(masks[1], square(4, 4)) for _, masks in run.follow(0))


def test_frames_get_the_mask_of_the_nearest_prompted_one():
    run = open_run("nearest")
    run.prompt(0, 1, Mask(square(4, 4)))
    run.prompt(5, 1, Mask(square(30, 4)))
    near_first = [np.array_equal(masks[1], square(4, 4)) for _, masks in run.follow(0)]
    assert near_first == [True, True, True, False, False, False, False]


def test_flow_follows_a_sliding_object_in_both_directions():
    run = open_run("flow")
    run.prompt(3, 1, Mask(TRUTH[3][1]))
    tracked = dict(run.follow(0))
    for frame in (0, 6):
        assert iou(TRUTH[frame][1], tracked[frame][1]) > 0.5 > iou(TRUTH[frame][1], TRUTH[3][1])


def test_a_new_prompt_takes_effect_on_what_was_carried_before():
    run = open_run("flow")
    run.prompt(0, 1, Mask(square(40, 28)))
    before = dict(run.follow(0))[2][1]
    run.prompt(2, 1, Mask(TRUTH[2][1]))
    assert not np.array_equal(dict(run.follow(0))[2][1], before)


class Counted(ArrayFrames):
    reads = 0

    def _read(self, index: int) -> np.ndarray:
        self.reads += 1
        return super()._read(index)


@pytest.mark.parametrize("name", ["nearest", "flow"])
def test_what_was_carried_before_a_prompt_changes_nothing_after_it(name):
    """However prompts and passes follow each other, a run that got the same prompts at once gives the same masks."""
    rng = np.random.default_rng(0)
    prompts: list[tuple[int, np.ndarray]] = []
    run = open_run(name)
    for _ in range(6):
        prompts.append((int(rng.integers(7)), square(*(int(v) for v in rng.integers(0, 30, 2)))))
        run.prompt(prompts[-1][0], 1, Mask(prompts[-1][1]))
        start = int(rng.integers(7))
        found = {frame: masks[1] for frame, masks in run.follow(start)}
        fresh = open_run(name)
        for frame, mask in prompts:
            fresh.prompt(frame, 1, Mask(mask))
        assert all(np.array_equal(masks[1], found[frame]) for frame, masks in fresh.follow(start))


def test_a_prompt_has_only_the_frames_that_it_is_nearest_to_carried_again():
    moved: list[tuple[int, int]] = []

    def mover(frames):
        return lambda start, end: lambda mask: [moved.append((start, end)), mask][1]

    run = CarriedRunner(lambda picture: pytest.fail("masks need no image model"), mover).open(FRAMES, overlap=True)
    run.prompt(0, 1, Mask(square(4, 4)))
    list(run.follow(0))
    assert moved == [(frame, frame + 1) for frame in range(6)]
    moved.clear()
    run.prompt(6, 1, Mask(square(30, 4)))
    list(run.follow(0))
    assert moved == [(6, 5), (5, 4)], "frame 3 is as near to frame 0"


def test_flow_is_computed_once_for_all_runs_of_a_video_as_far_as_it_fits(monkeypatch):
    def computed(most_bytes: int) -> tuple[int, list[np.ndarray]]:
        frames = Counted([_paint(masks) for masks in TRUTH])
        monkeypatch.setattr(baselines, "FLOW_BYTES", most_bytes)
        runner = CarriedRunner(lambda picture: pytest.fail("masks need no image model"), MOVERS["flow"])
        found = []
        for obj in (1, 2):
            with runner.open(frames, overlap=True) as run:
                run.prompt(0, obj, Mask(TRUTH[0][1]))
                found += [masks[obj] for _, masks in run.follow(0)]
        return frames.reads, found

    (few, kept), (many, again) = computed(1 << 20), computed(0)
    assert few < many
    assert all(np.array_equal(a, b) for a, b in zip(kept, again, strict=True))


def test_a_part_of_the_frames_can_be_followed():
    run = open_run("nearest")
    run.prompt(2, 1, Mask(square(4, 4)))
    assert [frame for frame, _ in run.follow(2, 4)] == [2, 3]


def test_clicks_are_answered_by_the_image_model():
    assert np.array_equal(open_run("nearest").prompt(3, 1, Points((5, 5))), square(4, 4))


def test_negative_clicks_alone_show_absence():
    assert not open_run("nearest").prompt(3, 1, Points((5, 5), [0])).any()


@pytest.mark.parametrize("overlap", [True, False])
def test_objects_share_pixels_only_if_they_may(overlap):
    run = open_run("nearest", overlap)
    run.prompt(0, 2, Mask(square(4, 4)))
    run.prompt(0, 1, Mask(square(8, 4)))
    masks = dict(run.follow(0, 1))[0]
    assert (masks[1] & masks[2]).any() == overlap
    assert np.array_equal(masks[1], square(8, 4))


def test_shared_pixels_go_to_the_lowest_number_among_three():
    masks = without_shared_pixels({3: square(0, 0), 1: square(8, 0), 2: square(4, 0)})
    assert np.sum(list(masks.values()), axis=0).max() == 1
    assert np.array_equal(masks[1], square(8, 0))
