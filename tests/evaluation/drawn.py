"""Masks and videos drawn from seeds, alike wherever Python runs: what tests/evaluation/golden.json has scores of."""

from __future__ import annotations

from random import Random

import numpy as np

KINDS = ("empty", "full", "pixel", "corner", "edges", "blob", "rough", "lines")
VIDEO_HW = (60, 80)
FRAMES = 31


def mask_of(kind: str, seed: int, hw: tuple[int, int]) -> np.ndarray:
    """Bool (h, w) of one of the KINDS."""
    random, (height, width) = Random(seed), hw  # noqa: S311 - no secret
    mask = np.zeros(hw, dtype=bool)
    y, x = int(random.random() * height), int(random.random() * width)
    if kind == "full":
        mask[:] = True
    elif kind == "pixel":
        mask[y, x] = True
    elif kind == "corner":
        mask[-1, -1] = True
    elif kind == "edges":
        mask[: y + 1, -x - 1 :] = True
    elif kind == "lines":
        mask[y], mask[:, x] = True, True
    elif kind in ("blob", "rough"):
        for _ in range(1 + seed % 4):
            mask |= ellipse(hw, *(random.random() for _ in range(4)))
    if kind == "rough":
        mask &= np.array([[random.random() < 0.9 for _ in range(width)] for _ in range(height)])
    return mask


def ellipse(hw: tuple[int, int], across: float, down: float, wide: float, high: float) -> np.ndarray:
    """All four from 0 to 1: the centre in parts of the picture, and the axes from a twentieth to a quarter of it."""
    y, x = np.mgrid[: hw[0], : hw[1]]
    from_x = (x - across * hw[1]) / ((0.05 + 0.2 * wide) * hw[1])
    from_y = (y - down * hw[0]) / ((0.05 + 0.2 * high) * hw[0])
    return from_x * from_x + from_y * from_y <= 1


def moved(mask: np.ndarray, down: int, right: int) -> np.ndarray:
    """What stays in the picture, nothing where something comes in."""
    height, width = mask.shape
    result = np.zeros_like(mask)
    result[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = mask[
        max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return result


def pair_of(case: dict) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction of a case: `prediction` is a kind with a seed of its own, or how far the truth is moved."""
    hw = (case["hw"][0], case["hw"][1])
    truth = mask_of(case["truth"], case["seed"], hw)
    if isinstance(case["prediction"], str):
        return truth, mask_of(case["prediction"], case["seed"] + 1, hw)
    return truth, moved(truth, *case["prediction"])


def video_of(seed: int, seen: list[list[int]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """True and predicted object numbers (h, w) uint8 of FRAMES frames. `seen` says from when to when each object is.

    Predictions are off by up to some pixels, miss some frames and hold on to the object for a while when it is gone.
    """
    random = Random(seed)  # noqa: S311 - no secret
    truths = [np.zeros(VIDEO_HW, dtype=np.uint8) for _ in range(FRAMES)]
    predictions = [np.zeros(VIDEO_HW, dtype=np.uint8) for _ in range(FRAMES)]
    for obj, (first, last) in enumerate(seen, start=1):
        start, goal, wide, high = ([random.random(), random.random()] for _ in range(4))
        for frame in range(first, min(last + 4, FRAMES)):
            at = [a + (b - a) * frame / FRAMES for a, b in zip(start, goal, strict=True)]
            shape = ellipse(VIDEO_HW, at[0], at[1], wide[0], high[0])
            if frame <= last:
                truths[frame][shape] = obj
            if random.random() < 0.9:
                off = [int(random.random() * 9) - 4 for _ in range(2)]
                predictions[frame][moved(shape, *off)] = obj
    return truths, predictions
