from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from masklet.data.synthetic import Clip
from masklet.training.augment import (
    Augmentation,
    Augmented,
    Stills,
    jittered,
    luminance,
    mirrored,
    mosaic,
    unless_lost,
    warped,
)

from .conftest import moving_square

STILL = Augmentation(flip=0, reverse=0, rotation=0, shear=0, jitter=(0, 0, 0), frame_jitter=(0, 0, 0), gray=0, mosaic=0)


def bright(clip: Clip) -> np.ndarray:
    return clip.frames_fhwc[..., 0] > 140


def test_nothing_happens_without_strength():
    clip = moving_square(0)
    same = STILL(clip, np.random.default_rng(0))
    assert np.abs(same.frames_fhwc.astype(int) - clip.frames_fhwc).max() <= 1
    assert np.array_equal(same.masks_ofhw, clip.masks_ofhw)


@pytest.mark.parametrize("seed", range(6))
def test_masks_stay_on_their_objects(seed: int):
    strong = Augmentation(mosaic=0, frame_jitter=(0, 0, 0), jitter=(0, 0, 0))
    clip = strong(moving_square(seed), np.random.default_rng(seed))
    seen, mask = bright(clip), clip.masks_ofhw[0]
    assert (seen & mask).sum() / (seen | mask).sum() > 0.85


def test_the_same_seed_gives_the_same_clip():
    stream = Augmented(moving_square)
    first, again = stream(7), stream(7)
    assert np.array_equal(first.frames_fhwc, again.frames_fhwc)
    assert not np.array_equal(first.frames_fhwc, stream(8).frames_fhwc)


def two_squares() -> Clip:
    """The second object stays in the upper left corner."""
    clip = moving_square(0)
    corner = np.zeros_like(clip.masks_ofhw)
    corner[..., :3, :3] = True
    return replace(clip, masks_ofhw=np.concatenate([clip.masks_ofhw, corner]))


REVERSED = replace(STILL, reverse=1)


def test_a_clip_is_reversed_whole():
    clip = two_squares()
    turned = REVERSED(clip, np.random.default_rng(0))
    assert np.array_equal(turned.masks_ofhw, clip.masks_ofhw[:, ::-1])
    assert np.abs(turned.frames_fhwc.astype(int) - clip.frames_fhwc[::-1]).max() <= 1


def test_a_clip_is_not_reversed_where_one_of_its_objects_would_be_gone_at_first():
    clip = two_squares()
    clip.masks_ofhw[1, -1] = False
    assert np.array_equal(REVERSED(clip, np.random.default_rng(0)).masks_ofhw, clip.masks_ofhw)


def test_an_object_that_is_not_there_at_first_anyway_does_not_keep_a_clip_from_being_reversed():
    clip = two_squares()
    clip.masks_ofhw[1] = False
    assert np.array_equal(REVERSED(clip, np.random.default_rng(0)).masks_ofhw, clip.masks_ofhw[:, ::-1])


def test_a_clip_stays_straight_where_one_of_its_objects_would_leave_the_first_frame():
    clip = two_squares()
    away = warped(clip, np.array([[1.0, 0, -20], [0, 1, 0]]))
    assert away.masks_ofhw[0, 0].any()
    assert unless_lost(clip, away) is clip
    alone, moved = (replace(some, masks_ofhw=some.masks_ofhw[:1]) for some in (clip, away))
    assert unless_lost(alone, moved) is moved


def test_a_rotation_never_loses_a_small_object_in_the_corner():
    clip = two_squares()
    outcomes = [replace(STILL, rotation=25.0)(clip, np.random.default_rng(seed)).masks_ofhw for seed in range(20)]
    assert all(masks[:, 0].any(axis=(1, 2)).all() for masks in outcomes)
    kept = [np.array_equal(masks, clip.masks_ofhw) for masks in outcomes]
    assert any(kept)
    assert not all(kept)


def test_a_shear_moves_rows_along_each_other_and_keeps_them_level():
    clip = moving_square(0)
    rows = clip.masks_ofhw[0, 0].any(axis=1)
    for seed in range(5):
        sheared = replace(STILL, shear=20.0)(clip, np.random.default_rng(seed)).masks_ofhw[0, 0]
        assert np.array_equal(sheared.any(axis=1), rows)
        first, *_, last = (np.flatnonzero(sheared[y])[0] for y in np.flatnonzero(rows))
        slope = (first - last) / (rows.sum() - 1)
        assert 0 < abs(slope) < np.tan(np.deg2rad(20)) + 0.06


def test_a_mirrored_clip_is_mirrored_whole():
    clip = moving_square(0)
    assert np.array_equal(mirrored(clip).frames_fhwc[:, :, 0], clip.frames_fhwc[:, :, -1])
    assert np.array_equal(mirrored(clip).masks_ofhw[..., 0], clip.masks_ofhw[..., -1])


def test_only_one_of_four_copies_is_followed():
    clip = moving_square(0)
    for place in range(4):
        four = mosaic(clip, place)
        areas = [four.masks_ofhw[0, 0, y : y + 32, x : x + 32].sum() for y in (0, 32) for x in (0, 32)]
        assert [area > 0 for area in areas] == [index == place for index in range(4)]
        assert np.array_equal(four.frames_fhwc[:, :32, :32], four.frames_fhwc[:, 32:, 32:])


def test_colours_change_as_their_names_say():
    frames = np.random.default_rng(0).uniform(40, 120, (2, 4, 4, 3)).astype(np.float32)
    assert np.allclose(jittered(frames, np.array([[1.5, 1, 1]])), 1.5 * frames, rtol=1e-5)
    assert jittered(frames, np.array([[1, 0, 1]])).std(axis=(1, 2, 3)).max() < 1e-3
    gray = jittered(frames, np.array([[1, 1, 0]]))
    assert np.allclose(gray, luminance(frames), rtol=1e-4)


def test_a_still_is_a_frame_that_shows_all_objects():
    clip = moving_square(3)
    hidden = clip.masks_ofhw.copy()
    hidden[:, :-1] = False
    still = Stills(lambda seed: replace(clip, masks_ofhw=hidden))(5)
    assert np.array_equal(still.frames_fhwc, clip.frames_fhwc[-1:])
    assert np.array_equal(still.masks_ofhw, clip.masks_ofhw[:, -1:])
    drawn = {Stills(lambda seed: clip)(seed).frames_fhwc.tobytes() for seed in range(20)}
    assert len(drawn) > 1
    assert len(Stills(lambda seed: clip, views=3)(0).masks_ofhw) == 3 * len(clip.masks_ofhw)
