"""Whole pictures as seen by a moving camera: backdrops, and photos that move together with the masks drawn in them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from masklet.data.motion import Elastic

STEP = 4


def covering(rng: np.random.Generator, picture_hw: tuple[int, int], aspect: float, zoom: float) -> np.ndarray:
    """A homography from picture to world that covers the world, `aspect` wide and 1 high, `zoom` times over."""
    height, width = picture_hw
    scale = zoom * max(aspect / width, 1 / height)
    slack = np.array([aspect - scale * width, 1 - scale * height])
    offset = rng.uniform(0, 1, 2) * slack
    return np.array([[scale, 0, offset[0]], [0, scale, offset[1]], [0, 0, 1]])


def around(
    rng: np.random.Generator, picture_hw: tuple[int, int], aspect: float, target: np.ndarray, share: float
) -> np.ndarray:
    """As `covering`, but the mask `target` (h, w) is in the picture and its longest side takes about `share` of it."""
    height, width = picture_hw
    x, y, box_w, box_h = cv2.boundingRect(target)
    least = max(aspect / width, 1 / height)
    scale = max(1.12 * least, share / max(box_w / aspect, box_h))
    wanted = rng.uniform(0.25, 0.75, 2) * (aspect, 1.0) - scale * np.array([x + box_w / 2, y + box_h / 2])
    offset = np.clip(wanted, (aspect - scale * width, 1 - scale * height), 0)
    return np.array([[scale, 0, offset[0]], [0, scale, offset[1]], [0, 0, 1]])


def seen(pictures: list[np.ndarray], matrices_f33: np.ndarray, size: int) -> list[np.ndarray]:
    """The pictures (one, or one a frame) warped to squares; what is outside of them is mirrored."""
    return [
        cv2.warpPerspective(pictures[frame % len(pictures)], matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
        for frame, matrix in enumerate(matrices_f33)
    ]


@dataclass(frozen=True)
class Push:
    """A soft push of one region of the picture: where it is, how wide it reaches, and its way in each frame.

    All in unit coordinates of the square picture.
    """

    centre: np.ndarray
    reach: np.ndarray
    way_f2: np.ndarray

    def displacement(self, frame: int, grid: np.ndarray) -> np.ndarray:
        """Displacements (h, w, 2) from output to source at the points of a grid (h, w, 2)."""
        away = (grid - (self.centre + self.way_f2[frame]).astype(np.float32)) / self.reach.astype(np.float32)
        bell = np.exp(-0.5 * np.square(away).sum(axis=2, keepdims=True))
        return bell * -self.way_f2[frame].astype(np.float32)


def flow(matrix: np.ndarray, frame: int, size: int, elastic: Elastic | None, pushes: list[Push]) -> np.ndarray:
    """The map (h, w, 2) that says where in the source each pixel of the square comes from.

    `matrix` leads from the source to the square. The map is worked out on a grid `STEP` times coarser, one cell wider
    on each side, and interpolated: everything in it is smooth.
    """
    cells = -(-size // STEP) + 2
    ticks = ((np.arange(cells, dtype=np.float32) - 0.5) * STEP - 0.5) / size
    grid = np.stack(np.meshgrid(ticks, ticks), axis=2)
    moved = grid.copy()
    if elastic:
        moved += elastic.displacement(frame, cells, cells) / cells
    for push in pushes:
        moved += push.displacement(frame, grid)
    coarse = cv2.perspectiveTransform(moved * size, np.linalg.inv(matrix)).astype(np.float32)
    return cv2.resize(coarse, (cells * STEP, cells * STEP))[STEP : STEP + size, STEP : STEP + size]


def warped(picture: np.ndarray, masks_ohw: np.ndarray, source_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A picture and the masks (uint8, 0 or 255) drawn in it, through a map; the masks come back bool."""
    xs, ys = cv2.split(source_map)
    moved = cv2.remap(picture, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    masks = [cv2.remap(mask, xs, ys, cv2.INTER_LINEAR) > 127 for mask in masks_ohw]
    return moved, np.stack(masks)
