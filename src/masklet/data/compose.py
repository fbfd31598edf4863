"""Painting moving sprites over a moving backdrop, keeping track of whose pixel each one is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from masklet.data.motion import Elastic

MAX_STREAK = 21


@dataclass(frozen=True)
class Actor:
    """A sprite on its way through a clip.

    Attributes:
        sprites: premultiplied RGBA, one for all frames or one a frame.
        pose_f33: homographies from object coordinates (longest side 1, centre 0) to the world.
        label: number that its pixels get in the owner map; None for what owns nothing, such as a shadow.
        elastic: deformation in itself.
        gain_f: brightness in each frame.
        shutter: share of the time between frames that smears it (motion blur).
    """

    sprites: list[np.ndarray]
    pose_f33: np.ndarray
    label: int | None
    elastic: Elastic | None = None
    gain_f: np.ndarray | None = None
    shutter: float = 0.0

    def sprite(self, frame: int) -> np.ndarray:
        sprite = self.sprites[frame % len(self.sprites)]
        return self.elastic.apply(sprite, frame) if self.elastic else sprite

    def matrix(self, frame: int, view_33: np.ndarray) -> np.ndarray:
        """The homography from the sprite's pixels to those of the picture."""
        height, width = self.sprites[frame % len(self.sprites)].shape[:2]
        unit = 1 / max(height, width)
        centred = np.array([[unit, 0, -(width - 1) / 2 * unit], [0, unit, -(height - 1) / 2 * unit], [0, 0, 1]])
        return view_33 @ self.pose_f33[frame] @ centred

    def streak(self, frame: int, views_f33: np.ndarray) -> np.ndarray:
        """How far, in pixels (x, y), the object's centre moves while the shutter is open."""
        other = frame - 1 if frame else min(1, len(views_f33) - 1)
        here, there = (_centre(views_f33[f] @ self.pose_f33[f]) for f in (frame, other))
        way = self.shutter * (here - there)
        return way * min(1.0, MAX_STREAK / max(1e-6, np.abs(way).max()))


def _centre(matrix: np.ndarray) -> np.ndarray:
    return matrix[:2, 2] / matrix[2, 2]


def paint_clip(
    backdrops: list[np.ndarray], actors: list[Actor], views_f33: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (f, h, w, 3) with the actors, later ones in front, and the owner (f, h, w) of each pixel, 0 for none.

    `backdrops` are painted over; `views_f33` lead from the world to pixels.
    """
    owners_fhw = np.zeros((len(backdrops), *backdrops[0].shape[:2]), np.uint8)
    for frame, canvas in enumerate(backdrops):
        for actor in actors:
            _paint(canvas, owners_fhw[frame], actor, frame, views_f33)
    return np.stack(backdrops), owners_fhw


def _paint(canvas: np.ndarray, owners: np.ndarray, actor: Actor, frame: int, views_f33: np.ndarray) -> None:
    matrix = actor.matrix(frame, views_f33[frame])
    streak = actor.streak(frame, views_f33) if actor.shutter else np.zeros(2)
    matrix = _shift(-streak / 2) @ matrix
    box = _visible_box(matrix, actor.sprites[0].shape, canvas.shape, margin=int(np.abs(streak).max()) + 1)
    if box is None:
        return
    x0, y0, x1, y1 = box
    to_box = _shift(np.array([-x0, -y0])) @ matrix
    layer = cv2.warpPerspective(actor.sprite(frame), to_box, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR)
    layer = _smeared(layer, streak)
    if actor.gain_f is not None:
        gain = float(actor.gain_f[frame])
        layer = cv2.multiply(layer, (gain, gain, gain, 1.0))
    _blend(canvas[y0:y1, x0:x1], layer)
    if actor.label is not None:
        owners[y0:y1, x0:x1][layer[..., 3] > 127] = actor.label


def _shift(way: np.ndarray) -> np.ndarray:
    return np.array([[1, 0, way[0]], [0, 1, way[1]], [0, 0, 1]], np.float64)


def _visible_box(
    matrix: np.ndarray, sprite_shape: tuple[int, ...], canvas_shape: tuple[int, ...], margin: int
) -> tuple[int, int, int, int] | None:
    height, width = sprite_shape[:2]
    corners = matrix @ np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    if corners[2].min() <= 1e-3:
        return None
    points = corners[:2] / corners[2]
    low, high = np.floor(points.min(1)).astype(int) - margin, np.ceil(points.max(1)).astype(int) + margin
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, canvas_shape[1::-1])
    return (int(x0), int(y0), int(x1), int(y1)) if x1 > x0 and y1 > y0 else None


def _smeared(layer: np.ndarray, streak: np.ndarray) -> np.ndarray:
    """The mean of the layer at 2^n places along the streak: each pass averages it with itself, half as far away."""
    height, width = layer.shape[:2]
    for _ in range(int(np.ceil(np.log2(max(1.0, np.abs(streak).max()))))):
        streak = streak / 2
        x, y = (int(round(way)) for way in streak)
        shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
        moved = cv2.warpAffine(layer, shift, (width, height), flags=cv2.INTER_NEAREST)
        layer = cv2.addWeighted(layer, 0.5, moved, 0.5, 0)
    return layer


def _blend(canvas: np.ndarray, layer: np.ndarray) -> None:
    *colours, alpha = cv2.split(layer)
    kept = cv2.merge([cv2.bitwise_not(alpha)] * 3)
    canvas[:] = cv2.add(cv2.multiply(canvas, kept, scale=1 / 255), cv2.merge(colours))
