"""What a camera does to pictures, one effect at a time."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from masklet.data import effects

Effect = Callable[[np.random.Generator, "list[np.ndarray]"], "list[np.ndarray]"]

EFFECTS: dict[str, Effect] = {
    "light": lambda rng, frames: effects._lit(rng, np.stack(frames)),
    "blur": effects._blurred,
    "coarse": effects._coarse,
    "noise": effects._noisy,
    "compression": effects._compressed,
}


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Three different frames of coloured patches, 40 high and 56 wide."""
    rng = np.random.default_rng(0)
    patches = rng.integers(30, 226, (3, 10, 14, 3), dtype=np.uint8)
    return [cv2.resize(patch, (56, 40), interpolation=cv2.INTER_NEAREST) for patch in patches]


def detail(frames: list[np.ndarray]) -> float:
    """Mean square of the step from one pixel to the next."""
    return float(np.mean([np.square(np.diff(frame.astype(int), axis=1)).mean() for frame in frames]))


def means(frames: list[np.ndarray]) -> np.ndarray:
    return np.array([frame.mean(axis=(0, 1)) for frame in frames])


@pytest.mark.parametrize("name", EFFECTS)
def test_each_effect_changes_pixels_and_keeps_size_and_type(name: str, frames: list[np.ndarray]) -> None:
    before = [frame.copy() for frame in frames]
    after = EFFECTS[name](np.random.default_rng(1), frames)
    assert [(frame.shape, frame.dtype) for frame in after] == [((40, 56, 3), np.uint8)] * 3
    assert all((changed != frame).mean() > 0.2 for changed, frame in zip(after, frames, strict=True))
    assert np.array_equal(before, frames), "the frames that were given must stay as they are"


@pytest.mark.parametrize("name", EFFECTS)
def test_the_same_seed_gives_the_same_effect_and_another_seed_another(name: str, frames: list[np.ndarray]) -> None:
    first, again, other = (EFFECTS[name](np.random.default_rng(seed), frames) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_light_keeps_the_order_of_brightness_in_each_channel() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    for seed in range(20):
        for frame in effects._lit(np.random.default_rng(seed), np.stack([ramp, ramp])):
            assert (np.diff(frame[0].astype(int), axis=0) >= 0).all()
            assert frame[0].max() > 100


@pytest.mark.parametrize("name", ["blur", "coarse"])
def test_blur_and_a_coarse_sensor_take_detail_and_keep_colours(name: str, frames: list[np.ndarray]) -> None:
    after = [EFFECTS[name](np.random.default_rng(seed), frames) for seed in range(10)]
    assert np.mean([detail(one) for one in after]) < 0.7 * detail(frames)
    assert all(detail(one) <= 1.02 * detail(frames) for one in after)
    assert all(np.allclose(means(one), means(frames), atol=3) for one in after)


def test_noise_is_grain_around_the_same_colours_that_differs_from_frame_to_frame(frames: list[np.ndarray]) -> None:
    for seed in range(10):
        after = effects._noisy(np.random.default_rng(seed), frames)
        grain = np.stack(after).astype(int) - np.stack(frames)
        assert 0.5 < grain.std() < 12
        assert abs(grain.mean()) < 1
        assert (grain[0] != grain[1]).mean() > 0.2


def test_compression_keeps_channels_in_order_and_pictures_alike(frames: list[np.ndarray]) -> None:
    red = np.zeros((40, 56, 3), np.uint8)
    red[..., 0] = 200
    for seed in range(10):
        (recoded, *after) = effects._compressed(np.random.default_rng(seed), [red, *frames])
        assert np.abs(recoded.astype(int) - red).max() < 16
        assert np.abs(np.stack(after).astype(int) - np.stack(frames)).mean() < 30


def test_all_together_is_one_film_of_the_same_size_by_its_seed(frames: list[np.ndarray]) -> None:
    films = [effects.filmed(np.random.default_rng(seed), np.stack(frames)) for seed in (*range(12), 0)]
    assert {(film.shape, film.dtype) for film in films} == {((3, 40, 56, 3), np.dtype(np.uint8))}
    assert np.array_equal(films[0], films[-1])
    assert len({film.tobytes() for film in films}) == 12


def test_a_film_of_some_seed_shows_each_effect(frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def noted(name: str) -> Effect:
        effect = getattr(effects, name)
        return lambda rng, given: seen.add(name) or effect(rng, given)

    names = ("_lit", "_blurred", "_coarse", "_noisy", "_compressed")
    for name in names:
        monkeypatch.setattr(effects, name, noted(name))
    for seed in range(20):
        effects.filmed(np.random.default_rng(seed), np.stack(frames))
    assert seen == set(names)
