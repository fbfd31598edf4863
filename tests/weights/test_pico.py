"""What the built-in weights can do at least, on pictures drawn here: floors well below what they reach."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import masklet
from masklet.checkpoints import describe
from masklet.checkpoints.registry import PICO
from masklet.model.config import MODELS
from masklet.model.sam2 import SegmentationNetwork

HW = (240, 320)
LARGEST_MB = 40
MOST_PARAMETERS = 15_000_000


@pytest.fixture(scope="module")
def pico() -> SegmentationNetwork:
    return masklet.load()


def scene(t: int) -> tuple[np.ndarray, np.ndarray]:
    """Frame t of a striped ball that rolls to the right over cloudy ground, and its mask."""
    clouds = np.random.default_rng(0).integers(0, 255, (*HW, 3), np.uint8)
    frame = cv2.GaussianBlur(clouds, (0, 0), 9) // 2 + 40
    centre = np.array([90 + 12 * t, 120 + 4 * t])
    y, x = np.mgrid[: HW[0], : HW[1]]
    mask = np.hypot(x - centre[0], y - centre[1]) < 45
    stripes = ((x - centre[0] + y - centre[1]) // 12 % 2 == 0)[..., None]
    ball = np.where(stripes, np.array([220, 60, 40], np.uint8), np.array([240, 200, 60], np.uint8))
    return np.where(mask[..., None], ball, frame), mask


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def box_of(mask: np.ndarray) -> masklet.Box:
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    return masklet.Box(x, y, x + w, y + h)


def test_the_weights_are_small_say_their_licence_and_load_by_default(pico: SegmentationNetwork):
    assert pico.config == MODELS["pico"]
    assert PICO.size <= LARGEST_MB * 1e6
    assert sum(parameter.numel() for parameter in pico.parameters()) <= MOST_PARAMETERS
    assert describe(PICO.path)["licence"] == "Apache-2.0"


def test_a_box_and_a_click_find_the_ball(pico: SegmentationNetwork):
    frame, mask = scene(0)
    session = masklet.ImageSession(pico)
    session.set_image(frame)
    assert iou(session.predict(box=box_of(mask), candidates=False).best, mask) > 0.7
    assert iou(session.predict(masklet.Points((90, 120))).best, mask) > 0.5


@pytest.mark.parametrize("kind", ["mask", "box"])
def test_the_ball_is_followed(pico: SegmentationNetwork, kind: str):
    frames, masks = zip(*(scene(t) for t in range(0, 12, 2)), strict=True)
    with masklet.VideoSession(pico, list(frames)) as session:
        session.prompt(0, 1, masklet.Mask(masks[0]) if kind == "mask" else box_of(masks[0]))
        found = [iou(result[1].mask, masks[result.frame]) for result in session.propagate()]
    assert np.mean(found) > 0.7
