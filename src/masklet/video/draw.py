"""Drawing masks and prompts on frames. Everything takes and gives RGB uint8 arrays (h, w, 3)."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

FILL = 0.45
"""Share of the object's colour in the filled area."""

_COLOURS = (
    (255, 89, 94),
    (25, 160, 255),
    (138, 201, 38),
    (255, 183, 3),
    (176, 108, 255),
    (0, 201, 177),
    (255, 122, 0),
    (255, 105, 180),
    (106, 137, 255),
    (201, 173, 99),
    (120, 222, 255),
    (222, 76, 207),
)
_WHITE = (255, 255, 255)
_INK = (24, 24, 27)
_REFERENCE_SIDE = 480


@dataclass(frozen=True)
class PromptMarks:
    """What a user showed on a frame: clicks (x, y) with labels 1 or 0, and a box (x0, y0, x1, y1), in pixels."""

    object_id: int
    points_px_xy: Sequence[Sequence[float]] = ()
    labels: Sequence[int] = ()
    box_px_xyxy: Sequence[float] | None = None


def colour_of(object_id: int) -> tuple[int, int, int]:
    """The RGB colour of an object, the same everywhere. The first twelve are chosen, later hues spread evenly."""
    if 1 <= object_id <= len(_COLOURS):
        return _COLOURS[object_id - 1]
    hue = object_id * 0.6180339887 % 1
    r, g, b = colorsys.hsv_to_rgb(hue, 0.72, 1.0)
    return round(r * 255), round(g * 255), round(b * 255)


def overlay(
    frame: np.ndarray,
    masks: Mapping[int, np.ndarray],
    prompts: Sequence[PromptMarks] = (),
    *,
    fill: float = FILL,
    colours: Mapping[int, tuple[int, int, int]] | None = None,
) -> np.ndarray:
    """A copy of the frame with each object filled in its colour and outlined, and the prompts on top.

    `masks` maps object ids to bool arrays (h, w), `colours` to RGB in place of `colour_of`. Raises ValueError if a mask
    is not of the frame's size.
    """
    chosen = {object_id: colour_of(object_id) for object_id in masks} | dict(colours or {})
    drawn = frame.copy()
    for object_id, mask in sorted(masks.items()):
        check_mask(mask, frame.shape[:2], object_id)
        _fill(drawn, mask, chosen[object_id], fill)
    for object_id, mask in sorted(masks.items()):
        _outline(drawn, mask, chosen[object_id])
    for marks in prompts:
        draw_prompts(drawn, marks)
    return drawn


def draw_prompts(frame: np.ndarray, marks: PromptMarks) -> None:
    """Draws clicks, a plus or a minus in a disc, and the box into the frame."""
    colour = colour_of(marks.object_id)
    if marks.box_px_xyxy is not None:
        _draw_box(frame, marks.box_px_xyxy, colour)
    for (x, y), label in zip(marks.points_px_xy, marks.labels, strict=True):
        _draw_click(frame, x, y, colour, positive=bool(label))


def draw_label(frame: np.ndarray, text: str, at_xy: tuple[int, int], height_px: int = 14) -> None:
    """Writes white text on a dark plate whose top left corner is at `at_xy`, into the frame."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    scale = cv2.getFontScaleFromHeight(font, height_px, 1)
    (width, height), below = cv2.getTextSize(text, font, scale, 1)
    x, y = at_xy
    gap = max(height_px // 3, 2)
    corner = (x + width + 2 * gap, y + height + below + gap)
    cv2.rectangle(frame, (x, y), corner, _INK, cv2.FILLED)
    cv2.putText(frame, text, (x + gap, y + gap // 2 + height), font, scale, _WHITE, 1, cv2.LINE_AA)


def check_mask(mask: np.ndarray, frame_hw: tuple[int, ...], object_id: int) -> None:
    """Raises ValueError unless a mask is bool and of the frame's size."""
    if not isinstance(mask, np.ndarray) or mask.dtype != bool:
        got = getattr(mask, "dtype", type(mask).__name__)
        raise ValueError(f"mask of object {object_id} must be a bool array, got {got}; pass `mask > 0`")
    if mask.shape != tuple(frame_hw):
        (mask_h, mask_w), (h, w) = mask.shape[:2], frame_hw
        raise ValueError(
            f"mask of object {object_id} is {mask_h}x{mask_w} but the frame is {h}x{w}; resize it with masks.resize"
        )


def _fill(frame: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], amount: float) -> None:
    """Blends the colour in with a soft edge, only within the rectangle around the mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if width == 0:
        return
    area = np.s_[max(y - 2, 0) : y + height + 2, max(x - 2, 0) : x + width + 2]
    share = cv2.GaussianBlur(mask[area].astype(np.float32) * amount, (3, 3), 0)
    part = frame[area]
    part[:] = cv2.blendLinear(np.full_like(part, colour), part, share, 1 - share)


def _outline(frame: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """A line in the colour over a wider dark one, so that it is seen on any ground."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    thickness = max(round(1.5 * _scale(frame)), 1)
    cv2.drawContours(frame, contours, -1, tuple(c // 4 for c in colour), thickness + 2, cv2.LINE_AA)
    cv2.drawContours(frame, contours, -1, colour, thickness, cv2.LINE_AA)


def _draw_box(frame: np.ndarray, box_px_xyxy: Sequence[float], colour: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = (round(edge) for edge in box_px_xyxy)
    thickness = max(round(2 * _scale(frame)), 1)
    cv2.rectangle(frame, (x0, y0), (x1, y1), _WHITE, thickness + 2, cv2.LINE_AA)
    cv2.rectangle(frame, (x0, y0), (x1, y1), colour, thickness, cv2.LINE_AA)


def _draw_click(frame: np.ndarray, x: float, y: float, colour: tuple[int, int, int], *, positive: bool) -> None:
    centre = (round(x), round(y))
    radius = max(round(8 * _scale(frame)), 4)
    stroke = max(radius // 4, 1)
    cv2.circle(frame, centre, radius + stroke, _WHITE, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(frame, centre, radius, colour if positive else _INK, cv2.FILLED, cv2.LINE_AA)
    arm = radius // 2 + 1
    cv2.line(frame, (centre[0] - arm, centre[1]), (centre[0] + arm, centre[1]), _WHITE, stroke, cv2.LINE_AA)
    if positive:
        cv2.line(frame, (centre[0], centre[1] - arm), (centre[0], centre[1] + arm), _WHITE, stroke, cv2.LINE_AA)


def _scale(frame: np.ndarray) -> float:
    return min(frame.shape[:2]) / _REFERENCE_SIDE
