"""Our own sessions as trackers to be evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from masklet.evaluation.user import ObjectMasks, SimulatedUser
from masklet.evaluation.vos import Tracker
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Prompt
from masklet.sessions.settings import VideoSettings
from masklet.sessions.video import VideoSession
from masklet.video.read import FrameSource


def session_tracker(network: SegmentationNetwork, settings: VideoSettings | None = None, **options: Any) -> Tracker:
    """A tracker that opens a VideoSession per video, with its settings or single `options` by name.

    Objects do not overlap unless told otherwise, as in annotations of the DAVIS layout.
    """
    chosen = {"non_overlap": True, **options} if settings is None else options

    def track(frames: FrameSource, user: SimulatedUser) -> Iterator[tuple[int, ObjectMasks]]:
        with VideoSession(network, frames, settings, **chosen) as session:

            def answer(frame: int, obj: int, prompt: Prompt) -> np.ndarray:
                return session.prompt(frame, obj, prompt)[obj].mask

            user.prompt(answer)
            for result in session.propagate():
                yield result.frame, dict(zip(result.objects, result.masks_ohw, strict=True))

    return track
