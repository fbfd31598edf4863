from __future__ import annotations

import numpy as np
import pytest

from masklet.model.prompt_encoder import BOX_MAX, BOX_MIN
from masklet.training.simulation import Plan, Simulation, correction, draw_plan, first_prompt

FRAMES = 8


def plans(**changes) -> list[Plan]:
    return [draw_plan(Simulation(**changes), FRAMES, np.random.default_rng(seed)) for seed in range(300)]


def test_the_first_frame_is_always_prompted_and_comes_first():
    for plan in plans():
        assert plan.order()[0] == 0
        assert sorted(plan.order()) == list(range(FRAMES))
        assert plan.order()[: len(plan.prompted)] == list(plan.prompted)


def test_masks_boxes_and_clicks_come_as_often_as_asked():
    kinds = [plan.prompted[0] for plan in plans(mask_share=0.5, box_share=0.5)]
    assert 0.4 < kinds.count("mask") / 300 < 0.6
    assert 0.15 < kinds.count("box") / 300 < 0.35


def test_frames_that_were_shown_by_masks_need_no_correction():
    for plan in plans(mask_share=1):
        assert not plan.corrected
    for plan in plans(mask_share=0):
        assert set(plan.prompted) <= plan.corrected
        assert 1 <= len(plan.prompted) <= len(plan.corrected) <= 2


def test_frames_without_prompt_are_corrected_too():
    assert any(plan.corrected - set(plan.prompted) for plan in plans(mask_share=0))


def test_a_picture_is_shown_by_box_or_click_and_corrected():
    for seed in range(50):
        plan = draw_plan(Simulation(mask_share=1), 1, np.random.default_rng(seed))
        assert plan.prompted[0] != "mask"
        assert plan.corrected == {0}


def test_no_correction_frames_means_no_corrections():
    assert not any(plan.corrected for plan in plans(mask_share=0, corrected_frames=0))


def test_only_tracked_frames_are_taught():
    taught = [plan.taught for plan in plans(taught_share=0.5)]
    assert all(not frames & set(plan.prompted) for frames, plan in zip(taught, plans(taught_share=0.5), strict=True))
    assert 2 < np.mean([len(frames) for frames in taught]) < 4.5


def test_a_plan_says_whether_the_network_meets_its_answers_as_in_use():
    assert all(plan.as_in_use for plan in plans())
    assert not any(plan.as_in_use for plan in plans(as_in_use=False))


@pytest.fixture
def truth() -> np.ndarray:
    mask = np.zeros((40, 50), dtype=bool)
    mask[10:20, 5:25] = True
    return mask


def test_a_box_is_two_corners_around_the_object(truth: np.ndarray):
    corners, labels = first_prompt("box", truth, np.random.default_rng(0))
    assert labels.tolist() == [BOX_MIN, BOX_MAX]
    assert np.abs(corners - [[5, 10], [25, 20]]).max() <= 2.1


def test_a_first_click_lies_in_the_object(truth: np.ndarray):
    for seed in range(20):
        (xy,), labels = first_prompt("click", truth, np.random.default_rng(seed))
        assert labels.tolist() == [1]
        assert truth[int(xy[1]), int(xy[0])]


def test_what_is_not_there_gets_an_empty_box_or_a_click_elsewhere():
    nothing = np.zeros((4, 4), dtype=bool)
    corners, labels = first_prompt("box", nothing, np.random.default_rng(0))
    assert corners.tolist() == [[0, 0], [0, 0]]
    assert labels.tolist() == [BOX_MIN, BOX_MAX]
    assert first_prompt("click", nothing, np.random.default_rng(0))[1].tolist() == [0]


def test_a_correction_lies_where_the_answer_is_wrong(truth: np.ndarray):
    seen = truth.copy()
    seen[10:20, 5:15] = False
    (xy,), labels = correction(truth, seen, np.random.default_rng(0))
    assert labels.tolist() == [1]
    assert xy[0] < 15


def test_as_many_clicks_as_asked_for_are_in_the_middle_of_what_is_wrong():
    truth, seen = np.zeros((40, 60), bool), np.zeros((40, 60), bool)
    truth[10:31, 20:41] = True
    rng = np.random.default_rng(0)
    shown = [correction(truth, seen, rng, centred_share=0.5)[0][0].tolist() for _ in range(400)]
    assert 150 < shown.count([30, 20]) < 250
    assert all(truth[int(y), int(x)] for x, y in shown)
    assert correction(truth, truth, rng, centred_share=1.0)[1].tolist() == [0]
