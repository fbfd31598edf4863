"""Our own sessions as a runner."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from masklet.evaluation.runners import Runner, VideoRun
from masklet.evaluation.truth import ObjectMasks
from masklet.evaluation.user import Answer
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Box, Mask, Points, Prompt
from masklet.sessions.image import ImageSession
from masklet.sessions.video import VideoSession
from masklet.video.read import FrameSource


class SessionRunner(Runner):
    """Opens an ImageSession or a VideoSession; `options` are single settings of the latter by name."""

    def __init__(self, network: SegmentationNetwork, **options: Any) -> None:
        self.network = network
        self.options = options

    def open(self, frames: FrameSource, *, overlap: bool) -> SessionRun:
        options = {"non_overlap": not overlap, **self.options}
        return SessionRun(VideoSession(self.network, frames, **options))

    def picture(self, picture: np.ndarray) -> Callable[[], Answer]:
        session = ImageSession(self.network)
        session.set_image(picture)
        return lambda: PictureClicks(session).answer


class SessionRun(VideoRun):
    """A VideoSession."""

    def __init__(self, session: VideoSession) -> None:
        self._session = session

    def prompt(self, frame: int, obj: int, prompt: Prompt) -> np.ndarray:
        return self._session.prompt(frame, obj, prompt)[obj].mask

    def follow(self, start: int, end: int | None = None) -> Iterator[tuple[int, ObjectMasks]]:
        for result in self._session.propagate(start, None if end is None else end - 1):
            yield result.frame, dict(zip(result.objects, result.masks_ohw, strict=True))

    def close(self) -> None:
        self._session.close()


class PictureClicks:
    """One object of a picture: each answer is fed back with the next click, and the first click gets candidates."""

    def __init__(self, session: ImageSession) -> None:
        self._session = session
        self._points: Points | None = None
        self._box: Box | None = None
        self._previous: Mask | np.ndarray | None = None

    def answer(self, prompt: Prompt) -> np.ndarray:
        if isinstance(prompt, Points):
            self._points = prompt if self._points is None else self._points + prompt
        elif isinstance(prompt, Box):
            self._box = prompt
        else:
            self._previous = prompt
        is_ambiguous = self._points is not None and len(self._points) == 1 and self._box is None
        result = self._session.predict(self._points, self._box, self._previous, candidates=is_ambiguous)
        self._previous = result.best_low_res
        return result.best
