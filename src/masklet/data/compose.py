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

    def matrices(self, views_f33: np.ndarray) -> np.ndarray:
        """The homographies (f, 3, 3) from the sprite's pixels to those of the picture."""
        height, width = self.sprites[0].shape[:2]
        unit = 1 / max(height, width)
        centred = np.array([[unit, 0, -(width - 1) / 2 * unit], [0, unit, -(height - 1) / 2 * unit], [0, 0, 1]])
        return views_f33 @ self.pose_f33 @ centred

    def streaks(self, views_f33: np.ndarray) -> np.ndarray:
        """How far, in pixels (f, 2), the object's centre moves in each frame while the shutter is open."""
        centres_f3 = (views_f33 @ self.pose_f33)[:, :, 2]
        centres_f2 = centres_f3[:, :2] / centres_f3[:, 2:]
        ways_f2 = self.shutter * np.diff(centres_f2, axis=0, prepend=2 * centres_f2[:1] - centres_f2[1:2])
        return ways_f2 * np.minimum(1, MAX_STREAK / np.maximum(1e-6, np.abs(ways_f2).max(1, keepdims=True)))


def paint_clip(
    backdrops: list[np.ndarray], actors: list[Actor], views_f33: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (f, h, w, 3) with the actors, later ones in front, and the owner (f, h, w) of each pixel, 0 for none.

    `backdrops` are painted over; `views_f33` lead from the world to pixels.
    """
    owners_fhw = np.zeros((len(backdrops), *backdrops[0].shape[:2]), np.uint8)
    for actor in actors:
        _paint(backdrops, owners_fhw, actor, views_f33)
    return np.stack(backdrops), owners_fhw


def _paint(canvases: list[np.ndarray], owners_fhw: np.ndarray, actor: Actor, views_f33: np.ndarray) -> None:
    streaks_f2 = actor.streaks(views_f33) if actor.shutter and len(canvases) > 1 else np.zeros((len(canvases), 2))
    matrices_f33 = _shifts(-streaks_f2 / 2) @ actor.matrices(views_f33)
    margins_f = np.abs(streaks_f2).max(axis=1) + 1
    boxes_f22, shown_f = _visible_boxes(matrices_f33, actor.sprites[0].shape, canvases[0].shape, margins_f)
    to_box_f33 = _shifts(-boxes_f22[:, 0]) @ matrices_f33
    for frame in np.flatnonzero(shown_f).tolist():
        (x0, y0), (x1, y1) = boxes_f22[frame].tolist()
        layer = cv2.warpPerspective(actor.sprite(frame), to_box_f33[frame], (x1 - x0, y1 - y0))
        layer = _smeared(layer, streaks_f2[frame])
        if actor.gain_f is not None:
            layer = cv2.multiply(layer, np.append(np.repeat(actor.gain_f[frame], 3), 1))
        _blend(canvases[frame][y0:y1, x0:x1], layer)
        if actor.label is not None:
            owners_fhw[frame, y0:y1, x0:x1][layer[..., 3] > 127] = actor.label


def _shifts(ways_f2: np.ndarray) -> np.ndarray:
    shifts_f33 = np.tile(np.eye(3), (len(ways_f2), 1, 1))
    shifts_f33[:, :2, 2] = ways_f2
    return shifts_f33


def _visible_boxes(
    matrices_f33: np.ndarray, sprite_shape: tuple[int, ...], canvas_shape: tuple[int, ...], margins_f: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (f, 2, 2) in pixels, ((x0, y0), (x1, y1)), of the sprite inside the canvas, and whether they hold any."""
    height, width = sprite_shape[:2]
    corners_f34 = matrices_f33 @ np.array([[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    depth_f = corners_f34[:, 2].min(axis=1)
    points_f24 = corners_f34[:, :2] / np.maximum(corners_f34[:, 2:], 1e-3)
    low_f2 = np.floor(points_f24.min(axis=2) - margins_f[:, None])
    high_f2 = np.ceil(points_f24.max(axis=2) + margins_f[:, None])
    boxes_f22 = np.clip(np.stack([low_f2, high_f2], axis=1), 0, canvas_shape[1::-1]).astype(np.int64)
    return boxes_f22, (boxes_f22[:, 1] > boxes_f22[:, 0]).all(axis=1) & (depth_f > 1e-3)


def _smeared(layer: np.ndarray, streak: np.ndarray) -> np.ndarray:
    """The mean of the layer at 2^n places along the streak: each pass averages it with itself, half as far away."""
    height, width = layer.shape[:2]
    for _ in range(int(np.ceil(np.log2(max(1.0, np.abs(streak).max()))))):
        streak = streak / 2
        x, y = (round(way) for way in streak.tolist())
        shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
        moved = cv2.warpAffine(layer, shift, (width, height), flags=cv2.INTER_NEAREST)
        layer = cv2.addWeighted(layer, 0.5, moved, 0.5, 0)
    return layer


def _blend(canvas: np.ndarray, layer: np.ndarray) -> None:
    *colours, alpha = cv2.split(layer)
    kept = cv2.merge([cv2.bitwise_not(alpha)] * 3)
    canvas[:] = cv2.add(cv2.multiply(canvas, kept, scale=1 / 255), cv2.merge(colours))
