"""Baselines: an image model on the prompted frames, whose masks are carried to the frames between them.

With masks as prompts they need no network, and are the floor that any network has to beat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from masklet.evaluation.kept import Kept, PackedMask
from masklet.evaluation.runners import Runner, VideoRun
from masklet.evaluation.truth import ObjectMasks
from masklet.evaluation.user import Answer
from masklet.prompts import Mask, Points, Prompt
from masklet.video.read import FrameSource

FLOW_BYTES = 256 << 20
"""Of optical flow that is kept for a video: some 80 frames of 854x480."""

Move = Callable[[np.ndarray], np.ndarray]
"""A mask on one frame -> the mask on another."""

Mover = Callable[[FrameSource], Callable[[int, int], Move]]
"""Frames -> a function that gives the move from a frame to one next to it."""


def stay(frames: FrameSource) -> Callable[[int, int], Move]:
    """Leaves every object where it is."""
    return lambda _start, _end: lambda mask: mask


def flow(frames: FrameSource) -> Callable[[int, int], Move]:
    """Moves masks along the DIS optical flow (Kroeger et al., ECCV 2016). It is computed once, as far as it fits."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = lru_cache(maxsize=2)(lambda frame: cv2.cvtColor(frames[frame], cv2.COLOR_RGB2GRAY))

    no_guess: Any = None  # OpenCV's type stubs demand an array

    def compute(ends: tuple[int, int]) -> np.ndarray:
        start, end = ends
        return dis.calc(grey(end), grey(start), no_guess)

    flow_of = Kept(compute, FLOW_BYTES)

    @lru_cache(maxsize=1)
    def move_between(start: int, end: int) -> Move:
        flow_hw2 = flow_of((start, end))
        y_hw, x_hw = np.mgrid[: frames.video_hw[0], : frames.video_hw[1]].astype(np.float32)
        source_x, source_y = x_hw + flow_hw2[..., 0], y_hw + flow_hw2[..., 1]
        return lambda mask: cv2.remap(mask.astype(np.float32), source_x, source_y, cv2.INTER_LINEAR) > 0.5

    return move_between


Pictures = Callable[[np.ndarray], Callable[[], Answer]]
"""A picture -> a function that begins with one object of it."""

MOVERS: dict[str, Mover] = {"nearest": stay, "flow": flow}


class CarriedRunner(Runner):
    """Segments prompted frames with `pictures`, and gives the others what `mover` brings from the nearest of them."""

    def __init__(self, pictures: Pictures, mover: Mover) -> None:
        self._pictures = pictures
        self._mover = lru_cache(maxsize=1)(mover)

    def open(self, frames: FrameSource, *, overlap: bool) -> CarriedRun:
        return CarriedRun(frames, self._pictures, self._mover(frames), overlap=overlap)

    def picture(self, picture: np.ndarray) -> Callable[[], Answer]:
        return self._pictures(picture)


@dataclass(frozen=True)
class Carried:
    """A mask that was carried to a frame."""

    origin: int
    """The prompted frame that it comes from."""
    packed: PackedMask


class CarriedRun(VideoRun):
    """Masks of prompted frames, and what was carried from them."""

    corrects = False

    def __init__(
        self,
        frames: FrameSource,
        pictures: Pictures,
        move_between: Callable[[int, int], Move],
        *,
        overlap: bool,
    ) -> None:
        self._frames = frames
        self._pictures = pictures
        self._move_between = move_between
        self._overlap = overlap
        self._answers: dict[tuple[int, int], Answer] = {}
        self._shown: dict[int, dict[int, np.ndarray]] = {}
        self._carried: dict[int, dict[int, Carried]] = {}

    def prompt(self, frame: int, obj: int, prompt: Prompt) -> np.ndarray:
        mask = prompt.array if isinstance(prompt, Mask) else self._segmented(frame, obj, prompt)
        self._shown.setdefault(obj, {})[frame] = mask
        carried = self._carried.get(obj, {})
        self._carried[obj] = {at: one for at, one in carried.items() if one.origin != frame}
        return mask

    def follow(self, start: int, end: int | None = None) -> Iterator[tuple[int, ObjectMasks]]:
        for frame in range(start, len(self._frames) if end is None else end):
            masks = {obj: self._mask(obj, frame) for obj in self._shown}
            yield frame, masks if self._overlap else without_shared_pixels(masks)

    def _segmented(self, frame: int, obj: int, prompt: Prompt) -> np.ndarray:
        key = frame, obj
        if key not in self._answers:
            if isinstance(prompt, Points) and not prompt.has_positive:
                return np.zeros(self._frames.video_hw, dtype=bool)
            self._answers[key] = self._pictures(self._frames[frame])()
        return self._answers[key](prompt)

    def _mask(self, obj: int, frame: int) -> np.ndarray:
        """Carried step by step from the prompted frame nearest in time, the earlier one of two.

        That frame is the nearest to all frames between, so what was carried there from it can be gone on with.
        """
        shown, carried = self._shown[obj], self._carried[obj]
        origin = min(shown, key=lambda prompted: (abs(prompted - frame), prompted))
        step = 1 if frame > origin else -1
        missing = [frame]
        while missing[-1] != origin and (missing[-1] not in carried or carried[missing[-1]].origin != origin):
            missing.append(missing[-1] - step)
        known = missing.pop()
        mask = shown[known] if known == origin else carried[known].packed.mask
        for to in reversed(missing):
            mask = self._move_between(to - step, to)(mask)
            carried[to] = Carried(origin, PackedMask.of(mask))
        return mask


def without_shared_pixels(masks: ObjectMasks) -> ObjectMasks:
    """Leaves each pixel to the object with the lowest number."""
    taken: np.ndarray | None = None
    apart: ObjectMasks = {}
    for obj in sorted(masks):
        apart[obj] = masks[obj] if taken is None else masks[obj] & ~taken
        taken = masks[obj] if taken is None else taken | masks[obj]
    return apart
