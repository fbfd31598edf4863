"""Cut-outs: their shapes, colours and edges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from masklet.data import sprites
from masklet.data.material import Material

SEEDS = range(30)
RED, BLUE = (220, 30, 20), (20, 30, 220)


def disc(side: int = 60, radius: int = 20) -> np.ndarray:
    return cv2.circle(np.zeros((side, side), np.uint8), (side // 2, side // 2), radius, 255, -1, cv2.LINE_AA)


def sprite(colour: tuple[int, int, int] = RED) -> np.ndarray:
    return sprites.premultiplied(np.full((60, 60, 3), colour, np.uint8), disc())


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A red cut-out, an animation whose disc grows, a red person on blue, and a photo of blue patches."""
    folder = tmp_path_factory.mktemp("assets")
    phases = np.concatenate([np.dstack([np.full((48, 48, 3), RED, np.uint8), disc(48, 6 + 4 * n)]) for n in range(4)])
    labels = np.zeros((60, 40), np.uint8)
    labels[10:50, 15:25] = 3
    photo = np.where(labels[..., None] > 0, np.array(RED), np.array(BLUE)).astype(np.uint8)
    _write(folder / "fluent3d_mit/0.webp", np.dstack([np.full((60, 60, 3), RED, np.uint8), disc()]))
    _write(folder / "fluent_anim_mit/0.webp", phases)
    _write(folder / "ccp_people_parts/0.jpg", photo)
    _write(folder / "ccp_people_parts/0.png", labels)
    _write(folder / "kodak/0.jpg", np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    return Material(folder)


def _write(path: Path, rgb: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    if rgb.ndim == 3:
        rgb = np.ascontiguousarray(rgb[..., [2, 1, 0, 3][: rgb.shape[2]]])
    assert cv2.imwrite(str(path), rgb)


def test_colours_of_a_sprite_are_multiplied_by_its_alpha() -> None:
    found = sprite()
    assert tuple(found[30, 30]) == (*RED, 255)
    assert not found[0, 0].any()
    assert np.abs(found[..., :3] - found[..., 3:] / 255 * RED).max() <= 1


def test_trimming_keeps_all_that_any_phase_shows() -> None:
    wide, high = np.zeros((2, 20, 30, 4), np.uint8)
    wide[9:11, 5:25], high[2:18, 14:16] = 255, 255
    first, second = sprites.trimmed([wide, high])
    assert first.shape == second.shape == (16, 20, 4)
    assert (first.sum(), second.sum()) == (wide.sum(), high.sum())
    empty = np.zeros((20, 30, 4), np.uint8)
    assert sprites.trimmed([empty])[0].shape == empty.shape


@pytest.mark.parametrize("longest", [12.0, 41.5, 500.0])
def test_a_fitted_sprite_is_no_longer_than_asked_and_has_a_clear_margin(longest: float) -> None:
    fitted = sprites.fitted(np.full((30, 60, 4), 255, np.uint8), longest)
    inside = fitted[..., 3] > 0
    assert inside.any(axis=0).sum() == min(60, round(longest))
    assert inside.any(axis=1).sum() == min(30, round(longest / 2))
    assert not fitted[[0, 1, -1, -2]].any()
    assert not fitted[:, [0, 1, -1, -2]].any()


def test_shrinking_keeps_the_mean_and_never_enlarges() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (80, 60, 3), dtype=np.uint8)
    small = sprites.shrunk(picture, 0.2)
    assert small.shape == (16, 12, 3)
    assert abs(small.mean() - picture.mean()) < 4
    assert np.array_equal(sprites.shrunk(picture, 1.5), picture)


def test_a_still_object_is_cut_to_what_is_seen(material: Material) -> None:
    (found,) = sprites.still(np.random.default_rng(0), material)
    assert 38 <= min(found.shape[:2]) <= max(found.shape[:2]) <= 44
    assert np.abs(found[20, 20, :3].astype(int) - RED).max() < 8


def test_an_animation_has_one_phase_a_frame_in_order(material: Material) -> None:
    for seed in range(8):
        found = sprites.animated(np.random.default_rng(seed), material, 5)
        areas = np.array([(phase[..., 3] > 127).sum() for phase in found])
        order = np.searchsorted(np.unique(areas), areas)
        assert len(found) == 5
        assert len({phase.shape for phase in found}) == 1
        assert len(set(np.diff(order) % len(np.unique(areas)))) == 1, "each step goes as far around as the others"


def test_a_person_is_cut_out_without_what_is_behind_and_at_times_in_halves(material: Material) -> None:
    heights = set()
    for seed in SEEDS:
        (found,) = sprites.person(np.random.default_rng(seed), material)
        seen = found[found[..., 3] > 200]
        heights.add(found.shape[0])
        assert seen[:, 0].mean() > 150
        assert seen[:, 2].mean() < 80
    assert max(heights) >= 38
    assert min(heights) < 30


def test_a_photo_without_a_person_gives_an_object(material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = np.zeros((60, 40, 3), np.uint8), np.zeros((60, 40), np.uint8)
    monkeypatch.setattr(material, "person", lambda rng: nobody)
    (found,) = sprites.person(np.random.default_rng(0), material)
    assert found[..., 3].any()


def test_shapes_are_of_one_piece_and_fill_their_square() -> None:
    areas = []
    for seed in SEEDS:
        alpha = sprites.blob(np.random.default_rng(seed), 96)
        pieces, _ = cv2.connectedComponents((alpha > 127).astype(np.uint8))
        x, y, width, height = cv2.boundingRect(alpha)
        areas.append((alpha > 127).mean())
        assert (alpha.shape, alpha.dtype, pieces) == ((96, 96), np.uint8, 2)
        assert 86 <= max(width, height) <= 91
        assert min(x, y) >= 3
    assert min(areas) > 0.05
    assert np.std(areas) > 0.05, "shapes differ"


@pytest.mark.parametrize("picture_hw", [(20, 30), (200, 300)])
def test_a_shape_takes_its_colours_from_a_picture_and_its_edge_from_the_shape(picture_hw: tuple[int, int]) -> None:
    picture = np.full((*picture_hw, 3), RED, np.uint8)
    for seed in SEEDS:
        (found,) = sprites.textured(np.random.default_rng(seed), disc(), picture)
        assert np.array_equal(found[..., 3], disc())
        red, blue = found[disc() == 255][:, 0].mean(), found[disc() == 255][:, 2].mean()
        assert red > 4 * blue
        assert red > 100
        assert not found[disc() == 0].any()


Change = Callable[[np.random.Generator, np.ndarray], np.ndarray]
MEAN, STD = np.array([40.0, 90.0, 160.0]), np.array([50.0, 40.0, 30.0])
CHANGES: dict[str, Change] = {
    "recoloured": lambda rng, one: sprites.recoloured(rng, one, 1.0),
    "harmonised": lambda rng, one: sprites.harmonised(one, rng.uniform(0, 255, 3), rng.uniform(0, 80, 3), 0.7),
    "softened": lambda rng, one: sprites.softened(one, 2),
}


@pytest.mark.parametrize("name", CHANGES)
def test_no_change_makes_colours_brighter_than_their_alpha_allows(name: str) -> None:
    textured = sprites.premultiplied(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8), disc())
    for seed in SEEDS:
        for one in (sprite(), textured):
            changed = CHANGES[name](np.random.default_rng(seed), one)
            assert (changed.shape, changed.dtype) == (one.shape, np.uint8)
            assert (changed[..., :3] <= changed[..., 3:]).all()
            if name != "softened":
                assert np.array_equal(changed[..., 3], one[..., 3])


def test_recolouring_changes_hue_and_none_of_it_changes_nothing() -> None:
    same = sprites.recoloured(np.random.default_rng(0), sprite(), 0.0)
    assert np.abs(same.astype(int) - sprite()).max() <= 6
    centres = [sprites.recoloured(np.random.default_rng(seed), sprite(), 1.0)[30, 30, :3] for seed in SEEDS]
    assert len({int(centre.argmax()) for centre in centres}) == 3


def test_harmony_draws_the_mean_colour_towards_the_scene() -> None:
    inside = disc() == 255
    same = sprites.harmonised(sprite(), MEAN, STD, 0.0)
    assert np.abs(same.astype(int) - sprite()).max() <= 1
    ways = [np.abs(sprites.harmonised(sprite(), MEAN, STD, w)[inside][:, :3].mean(0) - MEAN).sum() for w in (0, 0.5, 1)]
    assert ways[0] > 1.5 * ways[1] > 3 * ways[2]


def test_a_soft_edge_is_wider_and_keeps_its_place() -> None:
    soft = sprites.softened(sprite(), 2)[..., 3]
    partly = [((alpha > 20) & (alpha < 235)).sum() for alpha in (disc(), soft)]
    assert partly[1] > 1.4 * partly[0]
    assert ((soft > 127) != (disc() > 127)).mean() < 0.01


def test_a_shadow_is_black_small_and_as_dark_as_asked() -> None:
    found = sprites.shadow(sprite(), 0.5)
    assert max(found.shape[:2]) == 32
    assert not found[..., :3].any()
    assert abs(int(found[16, 16, 3]) - 127) <= 2
    assert not found[0, 0, 3]
