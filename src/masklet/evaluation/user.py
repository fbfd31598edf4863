"""The simulated user of semi-supervised evaluation: shows every object once, then only watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from masklet.clicks import next_click
from masklet.masks import bounding_box
from masklet.prompts import Box, Mask, Prompt

PromptKind = Literal["mask", "box", "1-click", "3-click", "5-click"]

ObjectMasks = dict[int, np.ndarray]
"""Object number -> bool mask (h, w)."""

Answer = Callable[[int, int, Prompt], np.ndarray]
"""(frame, object, prompt) -> the mask that the tracker now has of this object on this frame."""


@dataclass(frozen=True)
class FirstView:
    """Where an object was seen first."""

    frame: int
    truth: np.ndarray


@dataclass(frozen=True)
class SimulatedUser:
    """Knows the objects' true masks on the frames where they are first seen."""

    kind: PromptKind
    first_views: dict[int, FirstView]

    def __post_init__(self) -> None:
        if self.kind not in get_args(PromptKind):
            raise ValueError(f"prompt must be one of {', '.join(get_args(PromptKind))}, got {self.kind!r}")

    def prompt(self, answer: Answer) -> None:
        """Shows all objects to a tracker: its mask, its bounding box, or clicks where its answers are most wrong."""
        for obj, view in self.first_views.items():
            if self.kind == "mask":
                answer(view.frame, obj, Mask(view.truth))
            elif self.kind == "box":
                answer(view.frame, obj, Box.of(_bounds(view.truth)))
            else:
                self._click(answer, obj, view)

    def _click(self, answer: Answer, obj: int, view: FirstView) -> None:
        prediction = np.zeros_like(view.truth)
        for _ in range(int(self.kind.removesuffix("-click"))):
            click = next_click(view.truth, prediction)
            if click is None:
                return
            prediction = answer(view.frame, obj, click)


def _bounds(truth: np.ndarray) -> tuple[int, int, int, int]:
    bounds = bounding_box(truth)
    assert bounds is not None, "an object is first seen where it has pixels"
    return bounds
