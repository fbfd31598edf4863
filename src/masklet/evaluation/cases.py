"""Pictures of the worst cases: each object's worst frame while it is measured, and a gallery of the worst of all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from masklet.video.draw import draw_label, overlay

TILE_WIDTH = 400
COLUMNS = 3
EXCESS, MISSED, AGREED = 1, 2, 3
"""Red, blue and green among the colours of objects."""


@dataclass(frozen=True)
class Case:
    """One object on one frame."""

    score: float
    frame: int
    truth: np.ndarray
    prediction: np.ndarray


class Worst:
    """Keeps the worst case of every object of a sequence."""

    def __init__(self) -> None:
        self._cases: dict[int, Case] = {}

    def note(self, obj: int, score: float, frame: int, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Takes one object's answer on a frame."""
        if obj not in self._cases or score < self._cases[obj].score:
            self._cases[obj] = Case(score, frame, truth.copy(), prediction.copy())

    def save(self, folder: Path, picture_of: Callable[[int], np.ndarray], sequence: str) -> dict[int, str]:
        """Draws the cases on their pictures, and gives the file names by object."""
        folder.mkdir(parents=True, exist_ok=True)
        names: dict[int, str] = {}
        for obj, case in self._cases.items():
            names[obj] = f"{sequence}_{obj}.jpg"
            label = f"{sequence}  object {obj}  frame {case.frame}  {100 * case.score:.1f}"
            Image.fromarray(_drawn(picture_of(case.frame), case, label)).save(folder / names[obj], quality=88)
        return names


def write_gallery(files: Sequence[Path], path: Path) -> None:
    """Lays pictures out in rows, the first at the top left, and writes them as one picture."""
    tiles = [_read(file) for file in files]
    height = max(tile.shape[0] for tile in tiles)
    columns = min(COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * height, columns * TILE_WIDTH, 3), 24, dtype=np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // columns * height, number % columns * TILE_WIDTH
        sheet[y : y + tile.shape[0], x : x + TILE_WIDTH] = tile
    Image.fromarray(sheet).save(path)


def _drawn(picture: np.ndarray, case: Case, label: str) -> np.ndarray:
    masks = {
        EXCESS: case.prediction & ~case.truth,
        MISSED: case.truth & ~case.prediction,
        AGREED: case.truth & case.prediction,
    }
    height = max(round(picture.shape[0] * TILE_WIDTH / picture.shape[1]), 1)
    tile = cv2.resize(overlay(picture, masks), (TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    draw_label(tile, label, (4, 4), height_px=9)
    return tile


def _read(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))
