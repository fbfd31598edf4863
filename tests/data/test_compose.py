"""Who owns which pixel when sprites are painted over each other."""

from __future__ import annotations

import numpy as np

from masklet.data.compose import Actor, paint_clip

SIZE = 40


def _square(colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array([*colour, 255], np.uint8), (21, 21, 4)).copy()


def _at(*centres: tuple[float, float]) -> np.ndarray:
    """Poses in pixels of a square that is 20 wide."""
    return np.array([[[20, 0, x], [0, 20, y], [0, 0, 1]] for x, y in centres], np.float64)


def _paint(actors: list[Actor], frames: int) -> tuple[np.ndarray, np.ndarray]:
    backdrops = [np.full((SIZE, SIZE, 3), 9, np.uint8) for _ in range(frames)]
    return paint_clip(backdrops, actors, np.stack([np.eye(3)] * frames))


def test_an_actor_in_front_takes_the_pixels_of_the_one_behind() -> None:
    behind = Actor([_square((200, 0, 0))], _at((20, 20), (20, 20)), 1)
    front = Actor([_square((0, 200, 0))], _at((30, 20), (20, 20)), 2)
    frames_fhwc, owners_fhw = _paint([behind, front], 2)
    assert tuple(frames_fhwc[0, 20, 14]) == (200, 0, 0)
    assert owners_fhw[0, 20, 14] == 1
    assert tuple(frames_fhwc[0, 20, 26]) == (0, 200, 0)
    assert owners_fhw[0, 20, 26] == 2
    assert not (owners_fhw[1] == 1).any()
    assert tuple(frames_fhwc[0, 2, 2]) == (9, 9, 9)
    assert owners_fhw[0, 2, 2] == 0


def test_an_actor_outside_of_the_picture_owns_nothing() -> None:
    frames_fhwc, owners_fhw = _paint([Actor([_square((200, 0, 0))], _at((-50, 20)), 1)], 1)
    assert not owners_fhw.any()
    assert (frames_fhwc == 9).all()


def test_a_shadow_darkens_but_owns_nothing() -> None:
    shadow = np.zeros((21, 21, 4), np.uint8)
    shadow[..., 3] = 200
    frames_fhwc, owners_fhw = _paint([Actor([shadow], _at((20, 20)), None)], 1)
    assert not owners_fhw.any()
    assert frames_fhwc[0, 20, 20].max() < 9


def test_an_open_shutter_smears_along_the_way_and_keeps_the_centre() -> None:
    poses = _at((14, 20), (26, 20))
    sharp, smeared = (
        _paint([Actor([_square((200, 200, 200))], poses, 1, shutter=shutter)], 2) for shutter in (0.0, 1.0)
    )
    steps = [np.abs(np.diff(frames[1, 20, :, 0].astype(int))).max() for frames, _ in (sharp, smeared)]
    assert steps[1] < steps[0] / 3
    centres = [np.argwhere(owners[1] == 1).mean(axis=0) for _, owners in (sharp, smeared)]
    assert np.allclose(centres[0], centres[1], atol=1.1)
