"""Clips for a person to judge, targets outlined: a contact sheet, and a video in which all of them play."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from masklet.data.synthetic import Clip
from masklet.video.encode import VideoWriter
from masklet.video.pictures import ArrayFrames

COLOURS = ((255, 40, 40), (40, 255, 40), (80, 120, 255), (255, 220, 0))
FPS = 6
ROUNDS = 3
"""How often a clip plays to its end and back."""


def preview(clips: Sequence[Clip], out_png: Path) -> None:
    """Write a sheet, one row a clip and one column a frame. Rows of shorter clips end black.

    Raises:
        ValueError: if there are no clips, or the file cannot be written.
    """
    _require_some(clips)
    longest = max(len(clip.frames_fhwc) for clip in clips)
    sheet = np.concatenate([_row(clip, longest) for clip in clips])
    if not cv2.imwrite(str(out_png), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise ValueError(f"expected a file that can be written as a picture, got {out_png}")


def play(clips: Sequence[Clip], out_mp4: Path) -> None:
    """Write a video in which all clips, of one size, play side by side, to and fro.

    Raises:
        ValueError: if there are no clips.
    """
    _require_some(clips)
    drawn = [_drawn(clip) for clip in clips]
    longest = max(map(len, drawn))
    times = [*range(longest), *range(longest - 2, 0, -1)] * ROUNDS
    frames = [_wall([frames[min(time, len(frames) - 1)] for frames in drawn]) for time in times]
    with closing(VideoWriter(out_mp4, ArrayFrames(frames, fps=Fraction(FPS)))) as writer:
        for index, frame in enumerate(frames):
            writer.add(index, frame)


def _require_some(clips: Sequence[Clip]) -> None:
    if not clips:
        raise ValueError("expected at least one clip to draw, got none")


def _wall(pictures: list[np.ndarray]) -> np.ndarray:
    """Pictures of one size in about as many rows as columns."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    pictures = pictures + [np.zeros_like(pictures[0])] * (rows * columns - len(pictures))
    return np.concatenate(
        [np.concatenate(pictures[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    )


def _row(clip: Clip, columns: int) -> np.ndarray:
    drawn = _drawn(clip)
    drawn += [np.zeros_like(drawn[0])] * (columns - len(drawn))
    cv2.putText(drawn[0], clip.source, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate(drawn, axis=1)


def _drawn(clip: Clip) -> list[np.ndarray]:
    masks_fohw = clip.masks_ofhw.swapaxes(0, 1)
    return [_outlined(frame, masks) for frame, masks in zip(clip.frames_fhwc, masks_fohw, strict=True)]


def _outlined(frame: np.ndarray, masks_ohw: np.ndarray) -> np.ndarray:
    drawn = frame.copy()
    for index, mask in enumerate(masks_ohw):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, COLOURS[index % len(COLOURS)], 1)
    return drawn
