"""Runners that know the truth, or a given part of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from masklet.evaluation.runners import Runner, VideoRun
from masklet.evaluation.truth import ObjectMasks
from masklet.evaluation.user import Answer
from masklet.prompts import Mask, Prompt
from masklet.video.read import FrameSource

from .folders import Masks


class Scripted(Runner):
    """Answers prompts with the truth, and follows as told: `found(frame, prompts so far)` are the masks of a frame."""

    def __init__(self, truth: list[Masks], found: Callable[[int, list[tuple[int, int, Prompt]]], Masks]) -> None:
        self.truth = truth
        self.found = found
        self.runs: list[ScriptedRun] = []

    def open(self, frames: FrameSource, *, overlap: bool) -> ScriptedRun:
        self.runs.append(ScriptedRun(self, len(frames)))
        return self.runs[-1]

    def picture(self, picture: np.ndarray) -> Callable[[], Answer]:
        empty = np.zeros(picture.shape[:2], dtype=bool)
        return lambda: lambda prompt: prompt.array if isinstance(prompt, Mask) else empty


class ScriptedRun(VideoRun):
    """Remembers what it was asked for."""

    def __init__(self, runner: Scripted, count: int) -> None:
        self.runner = runner
        self.count = count
        self.prompts: list[tuple[int, int, Prompt]] = []
        self.followed: list[tuple[int, int | None]] = []
        self.was_closed = False

    def prompt(self, frame: int, obj: int, prompt: Prompt) -> np.ndarray:
        self.prompts.append((frame, obj, prompt))
        return self.runner.truth[frame][obj]

    def follow(self, start: int, end: int | None = None) -> Iterator[tuple[int, ObjectMasks]]:
        self.followed.append((start, end))
        for frame in range(start, self.count if end is None else end):
            yield frame, dict(self.runner.found(frame, self.prompts))

    def close(self) -> None:
        self.was_closed = True


def oracle(truth: list[Masks]) -> Scripted:
    """Knows everything."""
    return Scripted(truth, lambda frame, prompts: truth[frame])
