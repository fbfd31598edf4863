from __future__ import annotations

import numpy as np
import pytest

from masklet.evaluation.user import FirstView, SimulatedUser
from masklet.prompts import Box, Mask, Points

from .folders import square

TRUTH = square(10, 20)


def prompts_of(kind, answer_with=None):
    """All (frame, object, prompt) that a user gives to a tracker that always answers the same mask."""
    given = []

    def answer(frame, obj, prompt):
        given.append((frame, obj, prompt))
        return np.zeros_like(TRUTH) if answer_with is None else answer_with

    SimulatedUser(kind, {7: FirstView(3, TRUTH)}).prompt(answer)
    return given


def test_the_mask_is_shown_on_the_frame_where_the_object_is_first_seen():
    ((frame, obj, prompt),) = prompts_of("mask")
    assert (frame, obj) == (3, 7)
    assert isinstance(prompt, Mask)
    assert np.array_equal(prompt.array, TRUTH)


def test_the_box_is_the_bounding_box():
    assert [prompt for _, _, prompt in prompts_of("box")] == [Box(10, 20, 26, 36)]


@pytest.mark.parametrize(("kind", "count"), [("1-click", 1), ("3-click", 3), ("5-click", 5)])
def test_clicks_come_one_at_a_time(kind, count):
    given = [prompt for _, _, prompt in prompts_of(kind)]
    assert len(given) == count
    assert all(isinstance(prompt, Points) and len(prompt) == 1 for prompt in given)


def test_clicks_correct_the_answer_to_the_click_before():
    first, second, _ = (prompt for _, _, prompt in prompts_of("3-click", answer_with=TRUTH | square(40, 28)))
    assert first.labels.tolist() == [1]
    assert second.labels.tolist() == [0]
    assert square(40, 28)[int(second.xy[0, 1]), int(second.xy[0, 0])]


def test_a_perfect_answer_needs_no_more_clicks():
    assert len(prompts_of("5-click", answer_with=TRUTH)) == 1


def test_unknown_prompts_are_refused():
    with pytest.raises(ValueError, match="3-click"):
        prompts_of("2-click")
