"""Masks for frames that the network does not look at: those of the frame before, as they are or moved.

A trade of accuracy for speed, off unless ``VideoSettings.keyframes`` or ``VideoSettings.still_below`` asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from masklet.sessions.settings import VideoSettings
from masklet.video.source import FrameSource

SEEN_PX = 256
"""Side of the square that frames are compared at."""

Move = Callable[[Tensor], Tensor]
"""Low-res logits (o, 1, h, w) of one frame -> those of the next."""


class Carrier:
    """Decides which frames can do without the network, and how masks get there."""

    def __init__(self, frames: FrameSource, settings: VideoSettings):
        self._keyframes = settings.keyframes
        self._still_below = settings.still_below
        self._looked: tuple[int, bool] | None = None
        self._grey = lru_cache(maxsize=3)(lambda frame: _grey(frames[frame]))
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def looked(self, frame: int, reverse: bool) -> None:
        """The network looked at a frame, going this way."""
        self._looked = frame, reverse

    def move(self, frame: int, reverse: bool) -> Move | None:
        """How masks get to a frame from the one before it, on the way. None: the network has to look."""
        if self._looked is None or self._looked[1] != reverse:
            return None
        age = (self._looked[0] - frame) if reverse else (frame - self._looked[0])
        if age < 1:
            return None
        if self._still_below and self._difference(self._looked[0], frame) < self._still_below:
            return lambda logits_o1hw: logits_o1hw
        return self._by_flow(frame, frame + 1 if reverse else frame - 1) if age < self._keyframes else None

    def _difference(self, first: int, second: int) -> float:
        return float(cv2.absdiff(self._grey(first), self._grey(second)).mean())

    def _by_flow(self, frame: int, behind: int) -> Move:
        """Along the DIS optical flow (Kroeger et al., ECCV 2016)."""
        no_guess: Any = None  # OpenCV's type stubs demand an array
        return lambda logits_o1hw: moved(
            logits_o1hw, self._dis.calc(self._grey(frame), self._grey(behind), no_guess) / SEEN_PX
        )


def moved(logits_o1hw: Tensor, flow_hw2: np.ndarray) -> Tensor:
    """Logits taken from where ``flow_hw2`` points: offsets (x, y) as shares of the sides, at any size."""
    h, w = logits_o1hw.shape[-2:]
    offsets_hw2 = cv2.resize(flow_hw2, (w, h), interpolation=cv2.INTER_AREA) * np.array((w, h), np.float32)
    y_hw, x_hw = np.mgrid[:h, :w].astype(np.float32)
    x_hw, y_hw = x_hw + offsets_hw2[..., 0], y_hw + offsets_hw2[..., 1]
    maps = [
        cv2.remap(logits_hw, x_hw, y_hw, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for logits_hw in logits_o1hw[:, 0].float().cpu().numpy()
    ]
    return torch.from_numpy(np.stack(maps))[:, None].to(logits_o1hw)


def _grey(frame: np.ndarray) -> np.ndarray:
    small = cv2.resize(frame, (SEEN_PX, SEEN_PX), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
