"""Trackers without a network, the floor that any network has to beat. They take masks and boxes on any frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np

from masklet.evaluation.user import ObjectMasks, SimulatedUser
from masklet.prompts import Box, Mask, Prompt
from masklet.video.read import FrameSource


def copy_first_mask(frames: FrameSource, user: SimulatedUser) -> Iterator[tuple[int, ObjectMasks]]:
    """Leaves every object where it was first shown."""
    return _carry_along(frames, user, lambda _before, _now: lambda mask: mask)


def follow_flow(frames: FrameSource, user: SimulatedUser) -> Iterator[tuple[int, ObjectMasks]]:
    """Moves each mask from frame to frame along the DIS optical flow (Kroeger et al., ECCV 2016)."""
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def mover(before: np.ndarray, now: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        grey_now, grey_before = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (now, before))
        no_guess: Any = None  # OpenCV's type stubs demand an array
        flow_hw2 = dis.calc(grey_now, grey_before, no_guess)
        y_hw, x_hw = np.mgrid[: now.shape[0], : now.shape[1]].astype(np.float32)
        source_x, source_y = x_hw + flow_hw2[..., 0], y_hw + flow_hw2[..., 1]
        return lambda mask: cv2.remap(mask.astype(np.float32), source_x, source_y, cv2.INTER_LINEAR) > 0.5

    return _carry_along(frames, user, mover)


def _carry_along(
    frames: FrameSource,
    user: SimulatedUser,
    mover: Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], np.ndarray]],
) -> Iterator[tuple[int, ObjectMasks]]:
    """Yields each frame's masks; `mover(before, now)` gives the function that takes a mask one frame on."""
    shown: dict[int, ObjectMasks] = {}

    def answer(frame: int, obj: int, prompt: Prompt) -> np.ndarray:
        mask = _as_mask(prompt, frames.video_hw)
        shown.setdefault(frame, {})[obj] = mask
        return mask

    user.prompt(answer)
    masks: ObjectMasks = {}
    before = frames[0]
    for frame, now in enumerate(frames):
        if masks:
            move = mover(before, now)
            masks = {obj: move(mask) for obj, mask in masks.items()}
        masks = masks | shown.get(frame, {})
        yield frame, masks
        before = now


def _as_mask(prompt: Prompt, video_hw: tuple[int, int]) -> np.ndarray:
    if isinstance(prompt, Mask):
        return prompt.array
    if isinstance(prompt, Box):
        mask = np.zeros(video_hw, dtype=bool)
        mask[round(prompt.y0) : round(prompt.y1), round(prompt.x0) : round(prompt.x1)] = True
        return mask
    raise ValueError("the baselines cannot segment from clicks; evaluate them with the prompt 'mask' or 'box'")
