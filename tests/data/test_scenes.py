"""Composed scenes of red things over blue: what is theirs is told from the colour."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from masklet.data import scenes, sprites
from masklet.data.compose import MAX_STREAK, Actor, paint_clip
from masklet.data.material import Material
from masklet.data.motion import random_track
from masklet.data.scenes import Role, Stage, crowd, scene

FRAMES, SIZE = 6, 64
SEEDS = range(40)
EXTRA = 255

Make = Callable[[np.random.Generator, Material, int, int], "tuple[np.ndarray, np.ndarray, int]"]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """Red cut-outs and a photo of blue patches."""
    folder = tmp_path_factory.mktemp("assets")
    (folder / "fluent3d_mit").mkdir()
    (folder / "kodak").mkdir()
    for place, axes in enumerate(((22, 22), (24, 12))):
        red = np.zeros((60, 60, 4), np.uint8)
        cv2.ellipse(red, (30, 30), axes, 0, 0, 360, (0, 0, 255, 255), -1, cv2.LINE_AA)
        red[..., 2] = 255
        assert cv2.imwrite(str(folder / f"fluent3d_mit/{place}.webp"), red, [cv2.IMWRITE_WEBP_QUALITY, 101])
    blue = np.zeros((60, 90, 3), np.uint8)
    blue[..., 0] = cv2.resize(np.random.default_rng(0).integers(120, 256, (6, 9), dtype=np.uint8), (90, 60))
    assert cv2.imwrite(str(folder / "kodak/0.jpg"), blue)
    return Material(folder)


def stage_of(seed: int, material: Material) -> Stage:
    return scenes._stage(np.random.default_rng(seed), material, FRAMES, SIZE)


def red_role(stage: Stage, extent: float = 0.4) -> Role:
    track = random_track(stage.rng, FRAMES, stage.aspect, 0.03)
    look = sprites.still(stage.rng, stage.material)
    return Role([sprites.fitted(one, 1.15 * extent * SIZE) for one in look], extent, track)


def painted(stage: Stage, actors: list[Actor]) -> tuple[np.ndarray, np.ndarray]:
    return paint_clip([backdrop.copy() for backdrop in stage.backdrops], actors, stage.views_f33)


def test_an_owner_has_the_pixels_that_are_more_than_half_of_its_colour(material: Material) -> None:
    seen = {"elastic": 0, "gain": 0, "shutter": 0, "shadow": 0}
    for seed in SEEDS:
        stage = stage_of(seed, material)
        actors = scenes._cast(stage, red_role(stage), 1)
        actor = actors[-1]
        frames_fhwc, owners_fhw = painted(stage, actors)
        gains_f = np.ones(FRAMES) if actor.gain_f is None else actor.gain_f
        for frame, gain in enumerate(gains_f.tolist()):
            difference = (frames_fhwc[frame, ..., 0] > 127 * gain) != (owners_fhw[frame] == 1)
            assert difference.mean() < 0.003, f"seed {seed}, frame {frame}"
        for what, there in (
            ("elastic", actor.elastic),
            ("gain", actor.gain_f is not None),
            ("shutter", actor.shutter),
            ("shadow", len(actors) > 1),
        ):
            seen[what] += bool(there)
    assert min(seen.values()) > 3, "each is seen in some clips, and right there too"


@pytest.mark.parametrize("make", [scene, crowd])
def test_what_is_clearly_of_an_objects_colour_is_owned_by_somebody(make: Make, material: Material) -> None:
    red = 0
    for seed in SEEDS:
        frames_fhwc, owners_fhw, _ = make(np.random.default_rng(seed), material, FRAMES, SIZE)
        clearly = (frames_fhwc[..., 0] > 235) & (frames_fhwc[..., 2] < 60)
        red += int(clearly.sum())
        assert (clearly & (owners_fhw == 0)).sum() <= 2, f"seed {seed}"
    assert red > 5_000


@pytest.mark.parametrize("make", [scene, crowd])
def test_what_is_far_from_all_owners_shows_the_backdrop_or_less_light(make: Make, material: Material) -> None:
    reach, brighter = np.ones((2 * MAX_STREAK + 3, 2 * MAX_STREAK + 3), np.uint8), []
    for seed in SEEDS:
        backdrops_fhwc = np.stack(stage_of(seed, material).backdrops)
        frames_fhwc, owners_fhw, _ = make(np.random.default_rng(seed), material, FRAMES, SIZE)
        far = np.stack([cv2.dilate((owners > 0).astype(np.uint8), reach) == 0 for owners in owners_fhw])
        brighter.append((frames_fhwc.astype(int) - backdrops_fhwc).max(axis=3)[far])
    found = np.concatenate(brighter)
    assert len(found) > 10_000
    assert (found > 2).mean() < 0.005, "only what is small and fast smears so far that it is nobody's"


def test_leading_roles_are_numbered_and_all_others_are_extras(material: Material) -> None:
    extras, leads_seen = 0, set()
    for seed in SEEDS:
        _, owners_fhw, leads = scene(np.random.default_rng(seed), material, FRAMES, SIZE)
        found = set(np.unique(owners_fhw).tolist())
        leads_seen.add(leads)
        assert found <= {0, *range(1, leads + 1), EXTRA}
        extras += EXTRA in found
    assert leads_seen == {1, 2, 3}
    assert 10 < extras < len(SEEDS), "some clips have look-alikes, others or occluders, some have none"


def test_look_alikes_have_the_look_of_the_role_and_a_way_of_their_own(material: Material) -> None:
    counts, same, recoloured = set(), 0, 0
    for seed in SEEDS:
        stage = stage_of(seed, material)
        role = red_role(stage)
        found = scenes._look_alikes(stage, role)
        counts.add(len(found))
        for one in found:
            looks = [role.sprites[0], role.sprites[0][:, ::-1]]
            assert any(np.array_equal(one.sprites[0][..., 3], look[..., 3]) for look in looks)
            exact = any(np.array_equal(one.sprites[0], look) for look in looks)
            same, recoloured = same + exact, recoloured + (not exact)
            assert 0.5 < one.extent / role.extent < 2
            assert np.abs(one.track.centre_f2 - role.track.centre_f2).max() > 0.02
    assert counts == {1, 2, 3}
    assert min(same, recoloured) > 10


def test_look_alikes_are_painted_as_extras_in_the_colour_of_the_role(material: Material) -> None:
    shown = 0
    for seed in range(20):
        stage = stage_of(seed, material)
        role = red_role(stage)
        actors = [actor for one in scenes._look_alikes(stage, role) for actor in scenes._extra(stage, one)]
        frames_fhwc, owners_fhw = painted(stage, actors)
        assert set(np.unique(owners_fhw).tolist()) <= {0, EXTRA}
        extras = frames_fhwc[owners_fhw == EXTRA]
        shown += len(extras) > 500 and bool(extras[:, 0].mean() > 100)
    assert shown > 10


def test_an_occluder_hides_a_part_of_its_role_after_the_first_frame(material: Material) -> None:
    hidden = []
    for seed in SEEDS:
        stage = stage_of(seed, material)
        role = red_role(stage)
        actors = [Actor(role.sprites, role.track.matrices(role.extent), 1)]
        _, alone_fhw = painted(stage, actors)
        actors += scenes._extra(stage, scenes._occluder(stage, role))
        _, owners_fhw = painted(stage, actors)
        before, after = ((owners == 1).sum(axis=(1, 2)) for owners in (alone_fhw, owners_fhw))
        assert (after <= before).all()
        if before.min() > 50:
            hidden.append(float((1 - after / before)[1:].max()))
    assert np.mean(np.array(hidden) > 0.3) > 0.8, "it passes over the middle"


@pytest.fixture
def casts(material: Material, monkeypatch: pytest.MonkeyPatch) -> list[list[Actor]]:
    """The actors of one scene a seed, in the order in which they are painted."""
    painted_casts = []

    def noting(backdrops: list[np.ndarray], actors: list[Actor], views_f33: np.ndarray) -> object:
        painted_casts.append(actors)
        return paint_clip(backdrops, actors, views_f33)

    monkeypatch.setattr(scenes, "paint_clip", noting)
    for seed in SEEDS:
        scene(np.random.default_rng(seed), material, FRAMES, SIZE)
    return painted_casts


def test_some_scenes_have_look_alikes_and_some_an_occluder_in_front(casts: list[list[Actor]]) -> None:
    look_alikes = occluders = 0
    for actors in casts:
        leads = [actor for actor in actors if actor.label not in (None, EXTRA)]
        extras = [actor for actor in actors if actor.label == EXTRA]
        look_alikes += any(looks_like(extra, lead) for extra in extras for lead in leads)
        occluders += any(passes_over(extra, lead) for extra in extras if extra is actors[-1] for lead in leads)
    assert 5 < look_alikes < 35
    assert 5 < occluders < 35


def looks_like(one: Actor, other: Actor) -> bool:
    alphas = one.sprites[0][..., 3], other.sprites[0][..., 3]
    return np.array_equal(*alphas) or np.array_equal(alphas[0][:, ::-1], alphas[1])


def passes_over(one: Actor, other: Actor) -> bool:
    """Whether the centres of two actors meet in a frame after the first."""
    centres_f2, others_f2 = (actor.pose_f33[:, :2, 2] / actor.pose_f33[:, 2:, 2] for actor in (one, other))
    return bool((np.abs(centres_f2 - others_f2).max(axis=1)[1:] < 1e-9).any())


def test_a_leading_role_is_at_times_absent_and_returns(material: Material) -> None:
    seen = []
    for seed in range(150):
        stage = stage_of(seed % 10, material)
        stage = replace(stage, rng=np.random.default_rng(seed))
        _, owners_fhw = painted(stage, scenes._lead_actors(stage, red_role(stage), 1))
        seen.append((owners_fhw == 1).any(axis=(1, 2)))
    gone = [row for row in np.array(seen) if row[0] and not row.all()]
    back = [row for row in gone if row[int(np.argmin(row)) :].any()]
    assert 5 < len(gone) < 60
    assert len(back) > 2


def test_a_second_part_moves_with_its_role_and_is_of_the_same_target(material: Material) -> None:
    for seed in range(10):
        stage = stage_of(seed, material)
        role = red_role(stage)
        (part,) = scenes._second_part(stage, role, 2)
        gaps = part.pose_f33[:, :2, 2] / part.pose_f33[:, 2:, 2] - role.track.centre_f2
        assert part.label == 2
        assert np.linalg.norm(gaps, axis=1).max() < 2 * role.extent * np.exp(role.track.log_scale_f).max()


def test_a_crowd_is_of_four_to_nine_that_look_alike(material: Material) -> None:
    counts = set()
    for seed in SEEDS:
        _, owners_fhw, members = crowd(np.random.default_rng(seed), material, FRAMES, SIZE)
        counts.add(members)
        assert set(np.unique(owners_fhw).tolist()) <= set(range(members + 1))
    assert counts == set(range(4, 10))


@pytest.mark.parametrize("make", [scene, crowd])
def test_a_scene_is_that_of_its_seed(make: Make, material: Material) -> None:
    first, again, other = (make(np.random.default_rng(seed), material, 2, SIZE) for seed in (3, 3, 4))
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])
