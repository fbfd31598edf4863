"""The simulated user: shows objects, and clicks where an answer is most wrong."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from masklet.clicks import next_click
from masklet.evaluation.plan import PromptKind
from masklet.masks import bounding_box
from masklet.prompts import Box, Mask, Prompt

Answer = Callable[[Prompt], np.ndarray]
"""A prompt for an object -> its mask now, bool (h, w). Clicks add to earlier ones."""


def show(kind: PromptKind, truth: np.ndarray, answer: Answer) -> None:
    """Shows an object that is seen: its mask, its bounding box, or clicks where the answers are most wrong."""
    if kind == "mask":
        answer(Mask(truth))
    elif kind == "box":
        bounds = bounding_box(truth)
        assert bounds is not None, "an object is shown where it has pixels"
        answer(Box.of(bounds))
    else:
        correct(truth, np.zeros_like(truth), answer, int(kind.removesuffix("-click")))


def correct(truth: np.ndarray, prediction: np.ndarray, answer: Answer, clicks: int) -> list[np.ndarray]:
    """Clicks up to so many times, each time where the answer before (at first `prediction`) is most wrong.

    Gives all answers; fewer than `clicks` when nothing was wrong any more.
    """
    answers: list[np.ndarray] = []
    while len(answers) < clicks:
        click = next_click(truth, answers[-1] if answers else prediction)
        if click is None:
            break
        answers.append(answer(click))
    return answers
