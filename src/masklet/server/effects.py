"""A frame with masks and effects, as the page shows it: `web/src/painter.ts` does the same on the graphics processor.

Each pixel belongs to the last object that covers it, or to the background. Background and objects are changed
independently; between the two lies a picture (text, an emoji, a photo), where there is one. Sizes are in pixels of the
video, so that preview and export do not differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

FILL, OUTLINE = 0.45, 0.95
"""Shares of the object's colour in its area and in its outline."""

DIM = 0.25
ERASED = (26, 26, 30)
SQUARES = (205, 160)
GRADIENT = ((41, 26, 115), (255, 158, 102))
LUMA = (0.2126, 0.7152, 0.0722)
DIRECTIONS = 16


@dataclass(frozen=True)
class Sizes:
    """Sizes of effects, which depend on the video's height alone."""

    cell: int
    """Side of a square that is one colour when pixelated, and of those that stand for transparency."""
    radius: int
    """Of the Gaussian blur, whose sigma is half of it."""
    line: int
    """Width of outlines."""

    @classmethod
    def of(cls, height: int) -> Sizes:
        """For a video of this height."""
        return cls(max(4, height // 36), max(2, height // 40), max(1, (height + 135) // 270))


@dataclass(frozen=True)
class Look:
    """How a session is shown. Names are those of `schemas.SetLook`."""

    background: str = "original"
    effect: str = "overlay"
    behind: np.ndarray | None = None
    """(h, w, 4) uint8 RGBA between background and objects."""

    @classmethod
    def of(cls, value: Mapping[str, Any] | None, picture: Callable[[str], np.ndarray]) -> Look:
        """From what the document says; ``picture`` reads one by its identifier."""
        if value is None:
            return cls()
        behind = None if value["behind"] is None else picture(value["behind"])
        return cls(value["background"], value["effect"], behind)


def render(
    frame: np.ndarray, masks: Iterable[tuple[np.ndarray, tuple[int, int, int]]], look: Look | None = None
) -> np.ndarray:
    """The frame (h, w, 3) uint8 with masks (h, w) bool and their RGB colours, the last one on top."""
    chosen = look or Look()
    owners_hw, colours = _owners(frame.shape[:2], masks)
    behind = change(frame, chosen.background)
    if chosen.behind is not None:
        behind = _over(behind, chosen.behind)
    is_object_hw = owners_hw > 0
    drawn = np.where(is_object_hw[..., None], change(frame, chosen.effect), behind)
    if chosen.effect == "overlay":
        _blend(drawn, is_object_hw, colours[owners_hw[is_object_hw]], FILL)
    if chosen.effect in ("overlay", "outline"):
        edge_hw = edges(owners_hw, Sizes.of(frame.shape[0]).line)
        _blend(drawn, edge_hw > 0, colours[edge_hw[edge_hw > 0]], OUTLINE)
    return drawn


def change(frame: np.ndarray, kind: str) -> np.ndarray:
    """The whole frame under one effect; those that only add something leave it as it is."""
    return _CHANGES[kind](frame) if kind in _CHANGES else frame


def edges(owners_hw: np.ndarray, line: int) -> np.ndarray:
    """The number of the object whose outline a pixel lies on, 0 for none. Outlines lie on both sides of an edge."""
    edge_hw = np.zeros_like(owners_hw)
    height, width = owners_hw.shape
    wide_hw = np.pad(owners_hw, line, mode="edge")
    for number in range(DIRECTIONS):
        angle = number * 2 * math.pi / DIRECTIONS
        dx, dy = (math.floor(value * line + 0.5) for value in (math.cos(angle), math.sin(angle)))
        other_hw = wide_hw[line + dy : line + dy + height, line + dx : line + dx + width]
        differs_hw = other_hw != owners_hw
        edge_hw[differs_hw] = np.where(owners_hw > 0, owners_hw, other_hw)[differs_hw]
    return edge_hw


def _owners(
    hw: tuple[int, ...], masks: Iterable[tuple[np.ndarray, tuple[int, int, int]]]
) -> tuple[np.ndarray, np.ndarray]:
    """(h, w) uint8 numbers from 1, 0 for the background, and (objects + 1, 3) their colours."""
    owners_hw, colours = np.zeros(hw, dtype=np.uint8), [(0, 0, 0)]
    for mask_hw, colour in masks:
        owners_hw[mask_hw] = len(colours)
        colours.append(colour)
    return owners_hw, np.array(colours, dtype=np.float32)


def _blend(frame: np.ndarray, where_hw: np.ndarray, colours_n3: np.ndarray, share: float) -> None:
    frame[where_hw] = _bytes(frame[where_hw] * np.float32(1 - share) + colours_n3 * np.float32(share))


def _over(frame: np.ndarray, picture: np.ndarray) -> np.ndarray:
    share = picture[..., 3:].astype(np.float32) / 255
    return _bytes(frame * (1 - share) + picture[..., :3] * share)


def _grey(frame: np.ndarray) -> np.ndarray:
    """(h, w, 1) float32, 0 to 255."""
    return (frame @ np.array(LUMA, dtype=np.float32))[..., None]


def _erase(frame: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.array(ERASED, dtype=np.uint8), frame.shape)


def _squares(frame: np.ndarray) -> np.ndarray:
    rows, columns = (np.arange(side) // Sizes.of(frame.shape[0]).cell for side in frame.shape[:2])
    is_dark_hw = (rows[:, None] + columns) % 2
    return np.broadcast_to(np.array(SQUARES, dtype=np.uint8)[is_dark_hw][..., None], frame.shape)


def _blur(frame: np.ndarray) -> np.ndarray:
    radius = Sizes.of(frame.shape[0]).radius
    side = 2 * radius + 1
    return cv2.GaussianBlur(frame, (side, side), radius / 2, borderType=cv2.BORDER_REPLICATE)


def _pixelate(frame: np.ndarray) -> np.ndarray:
    cell = Sizes.of(frame.shape[0]).cell
    rows, columns = (np.minimum(np.arange(side) // cell * cell + cell // 2, side - 1) for side in frame.shape[:2])
    return frame[rows][:, columns]


def _desaturate(frame: np.ndarray) -> np.ndarray:
    return np.repeat(_bytes(_grey(frame)), 3, axis=2)


def _gradient(frame: np.ndarray) -> np.ndarray:
    low, high = (np.array(colour, dtype=np.float32) for colour in GRADIENT)
    down = (np.arange(len(frame), dtype=np.float32) + 0.5)[:, None, None] / len(frame)
    share = _grey(frame) / 255 * np.float32(0.7) + down * np.float32(0.3)
    return _bytes(low * (1 - share) + high * share)


def _dim(frame: np.ndarray) -> np.ndarray:
    return _bytes(frame * np.float32(DIM))


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(values + 0.5, 0, 255).astype(np.uint8)


_CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "erase": _erase,
    "blur": _blur,
    "pixelate": _pixelate,
    "desaturate": _desaturate,
    "gradient": _gradient,
    "spotlight": _dim,
    "cut-out": _squares,
}
