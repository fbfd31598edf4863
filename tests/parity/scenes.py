"""Deterministic test pictures: textured ellipses that move over a textured background.

``frame(seed, t, height, width)`` is picture ``t`` of scene ``seed`` as (height, width, 3) uint8 RGB.
"""

import numpy as np

SHAPES = 4


def frame(seed: int, t: int = 0, height: int = 540, width: int = 960) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64(seed))
    y, x = np.mgrid[0:height, 0:width] / height
    picture = np.empty((height, width, 3))
    for channel in range(3):
        a = rng.uniform(2, 25, size=(5, 2))
        phase = rng.uniform(0, 2 * np.pi, 5)
        picture[..., channel] = 0.45 + 0.08 * sum(np.sin(u * x + v * y + p) for (u, v), p in zip(a, phase, strict=True))
    for _ in range(SHAPES):
        cx, cy = rng.uniform(0.2, 0.8) * width / height, rng.uniform(0.2, 0.8)
        vx, vy = rng.uniform(-0.012, 0.012, 2)
        rx, ry = rng.uniform(0.08, 0.25, 2)
        angle, spin = rng.uniform(0, np.pi), rng.uniform(-0.03, 0.03)
        colour, stripe = rng.uniform(0.1, 0.9, 3), rng.uniform(20, 60)
        dx, dy = x - cx - vx * t, y - cy - vy * t
        c, s = np.cos(angle + spin * t), np.sin(angle + spin * t)
        u, v = (c * dx + s * dy) / rx, (-s * dx + c * dy) / ry
        edge = 1 / (1 + np.exp(np.minimum((np.sqrt(u * u + v * v) - 1) * 80, 60)))[..., None]
        texture = colour + 0.12 * np.sin(stripe * u)[..., None]
        picture = picture * (1 - edge) + texture * edge
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)
