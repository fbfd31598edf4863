"""What is evaluated: anything that answers prompts on pictures and videos.

A runner opens a video and gets a `VideoRun`, or a picture and gets functions from prompts to masks. Three kinds exist:
our own sessions, the published package `sam2`, and baselines that carry masks of prompted frames along.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from masklet.closing import Closing
from masklet.evaluation.truth import ObjectMasks
from masklet.evaluation.user import Answer
from masklet.prompts import Prompt
from masklet.video.read import FrameSource

if TYPE_CHECKING:
    from masklet.evaluation.plan import Plan


class VideoRun(Closing, ABC):
    """One video that is being prompted and followed. Closing lets go of it."""

    corrects = True
    """Clicks on a followed frame correct what was found there. Otherwise each prompted frame starts from nothing."""

    @abstractmethod
    def prompt(self, frame: int, obj: int, prompt: Prompt) -> np.ndarray:
        """The object's mask on this frame, bool (h, w), after all its prompts there."""

    @abstractmethod
    def follow(self, start: int, end: int | None = None) -> Iterator[tuple[int, ObjectMasks]]:
        """Frames from `start` to before `end` (None: all) in order, with the masks of all objects prompted so far."""


class Runner(ABC):
    """Something that segments."""

    @abstractmethod
    def open(self, frames: FrameSource, *, overlap: bool) -> VideoRun:
        """Begins with a video. Objects may share pixels if `overlap` says so."""

    @abstractmethod
    def picture(self, picture: np.ndarray) -> Callable[[], Answer]:
        """Takes a picture (h, w, 3) uint8. Each call of the result begins with one object of it."""


def make_runner(plan: Plan) -> Runner:
    """The runner of a plan, with its weights loaded.

    Raises ValueError for weights or a device that cannot be had, or when the package `sam2` is not installed.
    """
    from masklet.evaluation.baselines import MOVERS, CarriedRunner
    from masklet.model.device import chosen_device

    device = chosen_device(plan.device)
    if plan.runner == "sam2":
        from masklet.evaluation.published import PublishedRunner

        return PublishedRunner.load(plan.weights, device, corrections_condition=plan.corrections == "condition")
    from masklet.checkpoints import load_network
    from masklet.evaluation.sessions import SessionRunner

    network = load_network(plan.weights, device=device, precision=plan.precision, trades=plan.trades)
    ours = SessionRunner(network, corrections=plan.corrections, keyframes=plan.keyframes, still_below=plan.still_below)
    return CarriedRunner(ours.picture, MOVERS[plan.runner]) if plan.runner in MOVERS else ours
