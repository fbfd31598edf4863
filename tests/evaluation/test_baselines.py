from __future__ import annotations

import numpy as np
import pytest

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
