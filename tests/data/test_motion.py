"""Paths of objects and cameras, and elastic deformation."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from masklet.data.motion import (
    LOST,
    Elastic,
    Track,
    absent_for_a_while,
    camera_path,
    crossing,
    drift,
    follow,
    heavy_tailed,
    random_elastic,
    random_track,
    to_pixels,
)

FRAMES = 8
SEEDS = range(60)


def still(frames: int = FRAMES) -> Track:
    """An upright object in the middle of a square world."""
    flat = np.zeros(frames)
    return Track(np.full((frames, 2), 0.5), flat, flat, np.zeros((frames, 2)))


def placed(matrices_f33: np.ndarray, x: float, y: float) -> np.ndarray:
    """Where a point is in each frame: (f, 2)."""
    points_f3 = matrices_f33 @ np.array([x, y, 1.0])
    return points_f3[:, :2] / points_f3[:, 2:]


def test_a_track_puts_an_object_where_its_centre_size_and_angle_say() -> None:
    turned = Track(np.array([[0.3, 0.6]]), np.log(np.array([2.0])), np.array([np.pi / 2]), np.zeros((1, 2)))
    matrices_f33 = turned.matrices(0.1)
    assert np.allclose(placed(matrices_f33, 0, 0), [[0.3, 0.6]])
    assert np.allclose(placed(matrices_f33, 0.5, 0), [[0.3, 0.7]])
    assert np.allclose(placed(matrices_f33, 0, 0.5), [[0.2, 0.6]])


def test_tilting_makes_an_object_narrower_and_keeps_its_centre() -> None:
    tilted = Track(np.array([[0.5, 0.5]]), np.zeros(1), np.zeros(1), np.array([[0.0, 1.0]]))
    left, right, centre = (placed(tilted.matrices(1.0), x, 0)[0] for x in (-0.5, 0.5, 0))
    assert np.allclose(centre, 0.5)
    assert 0.3 < np.linalg.norm(right - left) < 0.8


def test_curves_begin_at_nothing_and_a_speed_of_nothing_stays_there() -> None:
    curves = drift(np.random.default_rng(0), FRAMES, 0.1, 0.0)
    assert curves.shape == (FRAMES, 2)
    assert np.allclose(curves[0], 0)
    assert np.abs(curves[1:, 0]).min() > 0
    assert not curves[:, 1].any()


def test_heavy_tails_end_at_their_limit() -> None:
    drawn = [heavy_tailed(np.random.default_rng(seed), 1.0, 1.0, 3.0) for seed in range(400)]
    assert 0.8 < np.median(drawn) < 1.25
    assert min(drawn) > 0
    assert max(drawn) == 3.0


@pytest.mark.parametrize("aspect", [0.85, 1.2])
def test_a_track_begins_in_the_picture_and_one_that_stays_never_leaves_it(aspect: float) -> None:
    leaves = 0
    for seed in SEEDS:
        stays, roams = (
            random_track(np.random.default_rng(seed), FRAMES, aspect, 0.3, stays=stays).centre_f2 / (aspect, 1)
            for stays in (True, False)
        )
        assert 0.02 <= stays.min() <= stays.max() <= 0.98
        assert 0.12 <= roams[0].min() <= roams[0].max() <= 0.88
        leaves += int((np.abs(roams - 0.5) > 0.5).any())
    assert leaves > 20


def test_a_companion_keeps_about_its_distance() -> None:
    for seed in SEEDS:
        track = random_track(np.random.default_rng(seed), FRAMES, 1.0, 0.1)
        gaps = follow(np.random.default_rng(seed + 1), track, 0.3).centre_f2 - track.centre_f2
        assert np.allclose(np.linalg.norm(gaps[0]), 0.3)
        assert np.abs(gaps - gaps[0]).max() < 0.5


def test_what_crosses_meets_the_track_in_a_frame_after_the_first_only() -> None:
    meetings = set()
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        track = random_track(rng, FRAMES, 1.0, 0.02)
        distances = np.linalg.norm(crossing(rng, track, 1.0).centre_f2 - track.centre_f2, axis=1)
        meetings.add(int(distances.argmin()))
        assert distances.min() < 1e-9
        assert distances[0] > 0.05
    assert meetings == set(range(1, FRAMES))


def test_an_absent_object_is_far_away_for_one_run_of_frames_after_the_first_and_often_returns() -> None:
    returns = 0
    for seed in SEEDS:
        away = absent_for_a_while(np.random.default_rng(seed), still())
        gone = np.abs(away.centre_f2 - 0.5).max(axis=1) > LOST - 1
        assert not gone[0]
        assert gone.any()
        assert np.abs(np.diff(gone.astype(int))).sum() == 2 - gone[-1]
        assert np.abs(away.centre_f2[~gone] - 0.5).max() < 1
        returns += int(not gone[-1])
    assert 20 < returns < 60


def test_a_clip_of_one_frame_hides_and_crosses_nothing() -> None:
    rng = np.random.default_rng(0)
    assert np.allclose(absent_for_a_while(rng, still(1)).centre_f2, 0.5)
    assert crossing(rng, still(1), 1.0).centre_f2.shape == (1, 2)


def test_cameras_stand_still_shake_and_pan_around_the_middle() -> None:
    ways = []
    for seed in SEEDS:
        moved = placed(camera_path(np.random.default_rng(seed), FRAMES, 1.2), 0.6, 0.5)
        assert np.abs(moved[0] - (0.6, 0.5)).max() < 0.1
        ways.append(np.abs(moved - moved[0]).max())
    assert sum(way < 1e-6 for way in ways) > 5, "some cameras stand on a tripod"
    assert sum(way > 0.1 for way in ways) > 10
    assert max(ways) < 2.5


def test_the_world_fills_the_square_picture() -> None:
    corners = np.array([[[0.0, 0.0]], [[1.2, 1.0]]])
    assert cv2.perspectiveTransform(corners, to_pixels(64, 1.2)).reshape(-1).tolist() == [0, 0, 64, 64]


def test_elastic_deformation_is_about_as_strong_as_asked_and_bounded() -> None:
    strength, side, seen = 0.05, 40, []
    for seed in SEEDS:
        elastic = random_elastic(np.random.default_rng(seed), FRAMES, strength)
        seen.append(np.stack([elastic.displacement(frame, 30, side) for frame in range(FRAMES)]) / side)
    ways = np.stack(seen)
    assert 0.4 * strength < ways.std() < 1.2 * strength
    assert np.abs(ways).max() < 6 * strength
    assert np.abs(np.diff(ways, axis=3)).max() < 1.5 * strength, "neighbours stay together"


def test_elastic_deformation_moves_the_picture_by_its_field_and_none_changes_nothing() -> None:
    picture = np.zeros((32, 32), np.uint8)
    picture[12:20, 12:20] = 255
    fields = np.zeros((1, 3, 3, 2))
    assert np.array_equal(Elastic(fields, np.ones((1, 1))).apply(picture, 0), picture)
    fields[..., 0] = 0.125
    weights_fk = np.array([[0.0], [1.0], [-1.0]])
    moved = [Elastic(fields, weights_fk).apply(picture, frame) for frame in range(3)]
    assert [int(np.argwhere(one > 127)[:, 1].min()) for one in moved] == [12, 8, 16]
    assert [int((one > 127).sum()) for one in moved] == [64] * 3
