"""Cut-outs for synthetic clips. A sprite is RGBA uint8 (h, w, 4), its colours already multiplied by alpha."""

from __future__ import annotations

import cv2
import numpy as np

from masklet.data.material import Material


def premultiplied(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A sprite (h, w, 4) of colours (h, w, 3) and alpha (h, w), all uint8."""
    return cv2.merge([cv2.multiply(rgb, cv2.merge([alpha] * 3), scale=1 / 255), alpha])


def trimmed(phases: list[np.ndarray]) -> list[np.ndarray]:
    """The phases cut to the box that holds all that is visible in any of them."""
    x, y, width, height = cv2.boundingRect(np.max([phase[..., 3] for phase in phases], axis=0))
    return [phase[y : y + height, x : x + width] for phase in phases] if width and height else phases


def fitted(sprite: np.ndarray, longest: float) -> np.ndarray:
    """The sprite shrunk to at most `longest` pixels, with a transparent margin for soft edges and deformation."""
    sprite = shrunk(sprite, longest / max(sprite.shape[:2]))
    margin = 2 + max(sprite.shape[:2]) // 12
    return cv2.copyMakeBorder(sprite, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))


def shrunk(picture: np.ndarray, scale: float) -> np.ndarray:
    """The picture at `scale`, if that is below 1: halved while possible (exact and fast), then interpolated."""
    height, width = (max(3, round(side * scale)) for side in picture.shape[:2])
    while min(picture.shape[0] / height, picture.shape[1] / width) >= 2:
        halves = (picture.shape[1] // 2, picture.shape[0] // 2)
        picture = cv2.resize(picture[: halves[1] * 2, : halves[0] * 2], halves, interpolation=cv2.INTER_AREA)
    return cv2.resize(picture, (width, height)) if scale < 1 else picture


def still(rng: np.random.Generator, material: Material) -> list[np.ndarray]:
    """One drawn or rendered object."""
    rgba = material.object(rng)
    return trimmed([premultiplied(rgba[..., :3], rgba[..., 3])])


def animated(rng: np.random.Generator, material: Material, frames: int) -> list[np.ndarray]:
    """An object that moves in itself, one sprite a frame."""
    rgba_phwc = material.animation(rng)
    step = int(rng.choice((-2, -1, 1, 2)))
    phases = (int(rng.integers(len(rgba_phwc))) + step * np.arange(frames)) % len(rgba_phwc)
    return trimmed([premultiplied(rgba_phwc[p][..., :3], rgba_phwc[p][..., 3]) for p in phases])


def person(rng: np.random.Generator, material: Material) -> list[np.ndarray]:
    """A person cut from a photo, at times only the upper or the lower body."""
    rgb, labels = material.person(rng)
    if not labels.any():
        return still(rng, material)
    x, y, width, height = cv2.boundingRect((labels > 0).astype(np.uint8))
    box = np.s_[y : y + height, x : x + width]
    inside = cv2.erode((labels[box] > 0).astype(np.uint8) * 255, np.ones((3, 3), np.uint8))
    sprite = premultiplied(rgb[box], cv2.GaussianBlur(inside, (3, 3), 0))
    if rng.random() < 0.3:
        cut = int(sprite.shape[0] * rng.uniform(0.35, 0.7))
        sprite = sprite[:cut] if rng.random() < 0.7 else sprite[cut:]
    return trimmed([sprite])


def textured(rng: np.random.Generator, alpha: np.ndarray, picture: np.ndarray) -> list[np.ndarray]:
    """A shape (h, w) whose colours come from a random crop of a picture, softly shaded to look solid."""
    height, width = alpha.shape
    share = rng.uniform(0.12, 0.6) * min(picture.shape[0] / height, picture.shape[1] / width)
    crop_h, crop_w = max(2, int(height * share)), max(2, int(width * share))
    y = int(rng.integers(picture.shape[0] - crop_h + 1))
    x = int(rng.integers(picture.shape[1] - crop_w + 1))
    interpolation = cv2.INTER_AREA if share > 1 else cv2.INTER_CUBIC
    rgb = cv2.resize(picture[y : y + crop_h, x : x + crop_w], (width, height), interpolation=interpolation)
    return [premultiplied(_shaded(rng, rgb, alpha), alpha)]


def _shaded(rng: np.random.Generator, rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    height, width = alpha.shape
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(np.cos(angle))
    ramp = ramp + np.linspace(-1, 1, height, dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    sigma = max(1.0, min(height, width) * rng.uniform(0.04, 0.2))
    small = cv2.resize(alpha, (max(2, width // 4), max(2, height // 4)), interpolation=cv2.INTER_AREA)
    bulge = cv2.resize(cv2.GaussianBlur(small, (0, 0), sigma / 4), (width, height)).astype(np.float32) / 255
    light = 1 + np.float32(rng.uniform(0, 0.35)) * ramp + np.float32(rng.uniform(0, 0.7)) * (bulge - 0.8)
    return cv2.multiply(rgb, cv2.merge([light] * 3), dtype=cv2.CV_8U)


def blob(rng: np.random.Generator, side: int = 128) -> np.ndarray:
    """The alpha (side, side) of a random smooth, lobed or angular shape."""
    angles = np.linspace(0, 2 * np.pi, 96 if rng.random() < 0.7 else int(rng.integers(3, 9)), endpoint=False)
    radius = np.ones_like(angles)
    roughness = rng.uniform(0.05, 0.45)
    for order in range(1, 7):
        radius += roughness / order * rng.standard_normal() * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.15)
    stretch = np.array([1.0, rng.uniform(0.25, 1.0)])
    points = radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1) * stretch
    points = (points - points.min(0)) / np.ptp(points, axis=0).max() * (side - 8) + 4
    alpha = np.zeros((side, side), np.uint8)
    cv2.fillPoly(alpha, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    return alpha


def recoloured(rng: np.random.Generator, sprite: np.ndarray, strength: float) -> np.ndarray:
    """The sprite in another hue and brightness; strength 0 changes nothing, 1 may change everything."""
    hsv = cv2.cvtColor(np.ascontiguousarray(sprite[..., :3]), cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(int(rng.normal(0, 60 * strength)) % 256)
    gain_s, gain_v = np.exp(rng.normal(0, 0.35 * strength, 2))
    hsv = cv2.multiply(hsv, np.array([1, gain_s, gain_v, 1]))
    rgb = cv2.min(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), cv2.merge([sprite[..., 3]] * 3))
    return cv2.merge([rgb, sprite[..., 3]])


def harmonised(sprite: np.ndarray, scene_mean: np.ndarray, scene_std: np.ndarray, weight: float) -> np.ndarray:
    """The sprite with the mean and spread of its colours drawn towards a scene's (3,), by `weight` in 0..1."""
    sample = np.ascontiguousarray(sprite[::3, ::3])
    own_mean, own_std = (
        stat.ravel() for stat in cv2.meanStdDev(sample[..., :3], mask=(sample[..., 3] > 200).astype(np.uint8))
    )
    gain = 1 + weight * (np.clip(scene_std / np.maximum(own_std, 8), 0.4, 1.6) - 1)
    shift = (own_mean + weight * (scene_mean - own_mean) - gain * own_mean) / 255
    alpha = sprite[..., 3]
    alphas = cv2.merge([alpha] * 4)
    raised = cv2.add(cv2.multiply(sprite, np.append(gain, 1)), cv2.multiply(alphas, np.append(shift.clip(0), 0)))
    lowered = cv2.subtract(raised, cv2.multiply(alphas, np.append((-shift).clip(0), 0)))
    return cv2.min(lowered, alphas)


def softened(sprite: np.ndarray, passes: int) -> np.ndarray:
    """The sprite slightly out of focus, so that no cut edge shows."""
    for _ in range(passes):
        sprite = cv2.GaussianBlur(sprite, (3, 3), 0)
    return sprite


def shadow(sprite: np.ndarray, opacity: float) -> np.ndarray:
    """A soft black shadow of the sprite, at a fraction of its resolution."""
    alpha = shrunk(np.ascontiguousarray(sprite[..., 3]), 32 / max(sprite.shape[:2]))
    blurred = cv2.convertScaleAbs(cv2.GaussianBlur(alpha, (3, 3), 0), alpha=opacity)
    return cv2.merge([np.zeros_like(blurred)] * 3 + [blurred])
