from __future__ import annotations

import numpy as np
import pytest

from masklet.evaluation.plan import PromptKind, VosProtocol
from masklet.evaluation.user import correct, show
from masklet.prompts import Box, Mask, Points, Prompt

from .folders import square

TRUTH = square(10, 20)
EMPTY = np.zeros_like(TRUTH)


def prompts_of(kind: PromptKind, answer_with: np.ndarray = EMPTY) -> list[Prompt]:
    """What a user gives to a tracker that always answers the same mask."""
    given: list[Prompt] = []

    def answer(prompt: Prompt) -> np.ndarray:
        given.append(prompt)
        return answer_with

    show(kind, TRUTH, answer)
    return given


def test_the_mask_is_shown_as_it_is():
    (prompt,) = prompts_of("mask")
    assert isinstance(prompt, Mask)
    assert np.array_equal(prompt.array, TRUTH)


def test_the_box_is_the_bounding_box():
    assert prompts_of("box") == [Box(10, 20, 26, 36)]


@pytest.mark.parametrize(("kind", "count"), [("1-click", 1), ("3-click", 3), ("5-click", 5)])
def test_clicks_come_one_at_a_time(kind, count):
    given = prompts_of(kind)
    assert len(given) == count
    assert all(isinstance(prompt, Points) and len(prompt) == 1 for prompt in given)


def test_clicks_correct_the_answer_to_the_click_before():
    first, second, _ = prompts_of("3-click", answer_with=TRUTH | square(40, 28))
    assert isinstance(first, Points)
    assert isinstance(second, Points)
    assert (first.labels.tolist(), second.labels.tolist()) == ([1], [0])
    assert square(40, 28)[int(second.xy[0, 1]), int(second.xy[0, 0])]


def test_a_perfect_answer_needs_no_more_clicks():
    assert len(prompts_of("5-click", answer_with=TRUTH)) == 1


def test_corrections_begin_with_what_was_there():
    clicks: list[Prompt] = []
    answers = correct(TRUTH, TRUTH | square(40, 28), lambda click: [clicks.append(click), TRUTH][1], clicks=3)
    assert len(answers) == 1
    (click,) = clicks
    assert isinstance(click, Points)
    assert click.labels.tolist() == [0]


def test_unknown_prompts_are_refused():
    with pytest.raises(ValueError, match="3-click"):
        VosProtocol("2-click")  # type: ignore[arg-type]
