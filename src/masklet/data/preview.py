"""A contact sheet of clips: one row a clip, one column a frame, targets outlined."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from masklet.data.synthetic import Clip

COLOURS = ((255, 40, 40), (40, 255, 40), (80, 120, 255), (255, 220, 0))


def preview(clips: Sequence[Clip], out_png: Path) -> None:
    """Write the sheet; clips with fewer frames than the longest leave their row's end black.

    Raises:
        ValueError: if there are no clips, or the file cannot be written.
    """
    if not clips:
        raise ValueError("expected at least one clip to draw, got none")
    longest = max(len(clip.frames_fhwc) for clip in clips)
    sheet = np.concatenate([_row(clip, longest) for clip in clips])
    if not cv2.imwrite(str(out_png), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise ValueError(f"expected a file that can be written as a picture, got {out_png}")


def _row(clip: Clip, columns: int) -> np.ndarray:
    masks_fohw = clip.masks_ofhw.swapaxes(0, 1)
    drawn = [_outlined(frame, masks) for frame, masks in zip(clip.frames_fhwc, masks_fohw, strict=True)]
    drawn += [np.zeros_like(drawn[0])] * (columns - len(drawn))
    cv2.putText(drawn[0], clip.source, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate(drawn, axis=1)


def _outlined(frame: np.ndarray, masks_ohw: np.ndarray) -> np.ndarray:
    drawn = frame.copy()
    for index, mask in enumerate(masks_ohw):
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, COLOURS[index % len(COLOURS)], 1)
    return drawn
