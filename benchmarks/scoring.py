"""How many frames of 854x480 are scored a second, J and F together, on one core.

Measured: frames per second of `masklet.metrics.j_and_f` for objects that fill about 3, 30 and 80 % of the picture, and
of a plain implementation of the same definitions (whole pictures, a distance for every pixel), one after the other in
the same run, so that their ratio means something on a busy machine. Both scores must agree to 1e-4.

Command: python benchmarks/scoring.py
Time: seconds. Expected: hundreds a second on a core of today. The last line printed is JSON; exit status 1 below 20
frames a second, or where the scores differ.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable

import click
import cv2
import numpy as np

from masklet.metrics import j_and_f

HEIGHT, WIDTH = 480, 854
RADII = {"small": 50, "medium": 160, "large": 275}
WANTED_FPS = 20
Score = Callable[[np.ndarray, np.ndarray], "tuple[float, float]"]


def plain(truth: np.ndarray, prediction: np.ndarray) -> tuple[float, float]:
    """J and F as their definitions say."""
    limit_px = math.ceil(0.008 * math.hypot(HEIGHT, WIDTH))
    a, b = plain_contour(truth), plain_contour(prediction)
    recall, precision = share_near(a, b, limit_px), share_near(b, a, limit_px)
    return (truth & prediction).sum() / (truth | prediction).sum(), 2 * precision * recall / (precision + recall)


def plain_contour(mask: np.ndarray) -> np.ndarray:
    grown = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask != grown[:-1, 1:]) | (mask != grown[1:, :-1]) | (mask != grown[1:, 1:])


def share_near(contour: np.ndarray, other: np.ndarray, limit_px: int) -> float:
    distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance[contour] <= limit_px).mean())


def star(x: float, y: float, radius: float) -> np.ndarray:
    y_hw, x_hw = np.mgrid[:HEIGHT, :WIDTH]
    dy, dx = y_hw - y, (x_hw - x) / 1.5
    return np.hypot(dy, dx) < radius * (1 + 0.1 * np.sin(9 * np.arctan2(dy, dx)))


def fps(score: Score, truth: np.ndarray, prediction: np.ndarray, runs: int) -> float:
    """By the processor time of the best run."""

    def seconds() -> float:
        begin = time.process_time()
        score(truth, prediction)
        return time.process_time() - begin

    return 1 / min(seconds() for _ in range(runs))


@click.command(help=__doc__)
@click.option("--runs", default=9, show_default=True, type=click.IntRange(min=1), help="Of each, the best counts.")
def main(runs: int) -> None:
    cv2.setNumThreads(1)
    report: dict[str, dict[str, float]] = {}
    for name, radius in RADII.items():
        truth, prediction = star(420, 240, radius), star(426, 244, 1.03 * radius)
        apart = np.abs(np.subtract(j_and_f(truth, prediction), plain(truth, prediction))).max()
        ours, theirs = (fps(score, truth, prediction, runs) for score in (j_and_f, plain))
        report[name] = {"area": truth.mean(), "fps": ours, "plain_fps": theirs, "gain": ours / theirs, "apart": apart}
        print(name, {key: round(float(value), 5) for key, value in report[name].items()}, flush=True)
    print(json.dumps({name: {key: float(value) for key, value in one.items()} for name, one in report.items()}))
    sys.exit(0 if all(one["fps"] >= WANTED_FPS and one["apart"] < 1e-4 for one in report.values()) else 1)


if __name__ == "__main__":
    main()
