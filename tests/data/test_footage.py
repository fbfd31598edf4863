"""Whole pictures under a moving camera, and the masks that go with them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from masklet.data.footage import Push, around, covering, flow, seen, warped
from masklet.data.motion import camera_path, random_elastic, to_pixels

SIZE = 48
SEEDS = range(20)


def corners(matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    points = np.array([[[0, 0]], [[width, 0]], [[width, height]], [[0, height]]], np.float64)
    return cv2.perspectiveTransform(points, matrix)[:, 0]


@pytest.mark.parametrize("aspect", [0.85, 1.2])
@pytest.mark.parametrize("picture_hw", [(30, 80), (80, 30)])
def test_a_backdrop_covers_the_world(picture_hw: tuple[int, int], aspect: float) -> None:
    for seed in SEEDS:
        placed = corners(covering(np.random.default_rng(seed), picture_hw, aspect, 1.3), *picture_hw)
        assert placed.min() <= 1e-9
        assert (placed.min(axis=0) <= 1e-9).all()
        assert (placed.max(axis=0) >= np.array([aspect, 1.0]) - 1e-9).all()


def test_a_picture_is_placed_around_its_target_and_covers_the_world_too() -> None:
    target = np.zeros((60, 90), np.uint8)
    target[20:32, 50:74] = 255
    for seed in SEEDS:
        matrix = around(np.random.default_rng(seed), (60, 90), 1.0, target, 0.5)
        placed, box = corners(matrix, 60, 90), cv2.perspectiveTransform(np.array([[[50.0, 20]], [[74, 32]]]), matrix)
        assert (placed.min(axis=0) <= 1e-9).all()
        assert (placed.max(axis=0) >= 1 - 1e-9).all()
        assert np.isclose(np.ptp(box[:, 0], axis=0).max(), 0.5)
        assert 0 <= box.mean(axis=0).min() <= box.mean(axis=0).max() <= 1


def test_pictures_take_turns_in_the_frames_of_a_clip() -> None:
    pictures = [np.full((20, 20, 3), value, np.uint8) for value in (10, 20)]
    frames = seen(pictures, np.tile(np.eye(3), (5, 1, 1)), SIZE)
    assert [int(frame.mean()) for frame in frames] == [10, 20, 10, 20, 10]
    assert {frame.shape for frame in frames} == {(SIZE, SIZE, 3)}


@pytest.mark.parametrize("size", [32, SIZE, 61])
def test_the_coarse_map_is_that_of_each_pixel(size: int) -> None:
    xs, ys = np.meshgrid(np.arange(size, dtype=np.float64), np.arange(size, dtype=np.float64))
    pixels = np.stack([xs, ys], axis=2)
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        matrix = (to_pixels(size, 1.0) @ camera_path(rng, 3, 1.0) @ covering(rng, (40, 50), 1.0, 1.2))[2]
        exact = cv2.perspectiveTransform(pixels, np.linalg.inv(matrix))
        assert np.abs(flow(matrix, 0, size, None, []) - exact).max() < 0.25


def test_a_push_moves_what_is_at_its_centre_and_leaves_what_is_far() -> None:
    push = Push(np.array([0.5, 0.5]), np.array([0.1, 0.1]), np.array([[0.0, 0.0], [0.125, 0.0]]))
    still, moved = (flow(np.eye(3), frame, SIZE, None, [push]) for frame in range(2))
    assert np.abs(still - flow(np.eye(3), 0, SIZE, None, [])).max() < 1e-3
    way = moved - still
    assert np.allclose(way[SIZE // 2, SIZE * 5 // 8], (-SIZE / 8, 0), atol=1)
    assert np.abs(way[:6]).max() < 0.01
    assert np.abs(way[..., 1]).max() < 1e-3


def test_masks_go_where_their_pixels_go() -> None:
    picture, masks_ohw, visible = np.zeros((60, 60, 3), np.uint8), np.zeros((2, 60, 60), np.uint8), 0
    for o, (x, y) in enumerate(((20, 30), (40, 28))):
        cv2.circle(masks_ohw[o], (x, y), 8, 255, -1)
        picture[masks_ohw[o] > 0, o] = 255
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        view = (to_pixels(SIZE, 1.0) @ camera_path(rng, 4, 1.0) @ covering(rng, (60, 60), 1.0, 1.1))[3]
        push = Push(np.array([0.4, 0.5]), np.array([0.2, 0.2]), rng.normal(0, 0.05, (4, 2)))
        source_map = flow(view, 3, SIZE, random_elastic(rng, 4, 0.02), [push])
        rgb, moved = warped(picture, masks_ohw, source_map)
        from_picture = ((source_map >= 0) & (source_map <= 59)).all(axis=2)
        assert moved.dtype == bool
        for o in range(2):
            shown = (rgb[..., o] > 127) & from_picture
            visible += int(moved[o].sum() > 50)
            assert np.array_equal(shown, moved[o]), "mirrored copies outside of the picture are of no object"
    assert visible > 30
