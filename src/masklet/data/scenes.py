"""Composed scenes: sprites that move, cross, hide and return over a moving backdrop, with look-alikes among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from masklet.data import sprites
from masklet.data.compose import Actor, paint_clip
from masklet.data.footage import covering, seen
from masklet.data.material import Material
from masklet.data.motion import (
    Track,
    absent_for_a_while,
    camera_path,
    crossing,
    drift,
    follow,
    heavy_tailed,
    random_elastic,
    random_track,
    similarities,
    to_pixels,
)

ASPECTS = (1.0, 1.2, 0.85)
"""Width by height of what fills the square frames: a network that keeps shapes sees little that is stretched."""


@dataclass(frozen=True)
class Stage:
    """What everything in one scene shares."""

    rng: np.random.Generator
    material: Material
    frames: int
    size: int
    aspect: float
    backdrops: list[np.ndarray]
    views_f33: np.ndarray
    mean_and_std: tuple[np.ndarray, np.ndarray]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)


@dataclass(frozen=True)
class Role:
    """One thing in a scene before it is placed: its sprites, its size (longest side, in world units) and its track."""

    sprites: list[np.ndarray]
    extent: float
    track: Track


def scene(rng: np.random.Generator, material: Material, frames: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """A scene of one to three leading roles and others.

    Returns frames (f, h, w, 3), the owner (f, h, w) of each pixel, and the number of leading roles: owners 1 to that
    number are theirs.
    """
    stage = _stage(rng, material, frames, size)
    leads = [_role(stage) for _ in range(int(rng.choice((1, 2, 3), p=(0.45, 0.4, 0.15))))]
    casts = [_lead_actors(stage, role, label) for label, role in enumerate(leads, 1)]
    others = [_extra(stage, role) for role in leads if stage.chance(0.4) for role in _look_alikes(stage, role)]
    others += [_extra(stage, _role(stage)) for _ in range(int(rng.choice((0, 1, 2), p=(0.5, 0.3, 0.2))))]
    in_front = [_extra(stage, _occluder(stage, role)) for role in leads if stage.chance(0.3)]
    casts += others
    order = rng.permutation(len(casts))
    actors = [actor for index in order for actor in casts[index]] + [actor for cast in in_front for actor in cast]
    frames_fhwc, owners_fhw = paint_clip(stage.backdrops, actors, stage.views_f33)
    return frames_fhwc, owners_fhw, len(leads)


def crowd(rng: np.random.Generator, material: Material, frames: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Many copies of one thing that move like a flock, or each on its own; returns as `scene`."""
    stage = _stage(rng, material, frames, size)
    first = _role(stage, extent=heavy_tailed(rng, 0.2, 0.35, 0.4))
    count = int(rng.integers(3, 9))
    together = stage.chance(0.5)
    members = [first]
    for _ in range(count):
        lone = random_track(rng, frames, stage.aspect, heavy_tailed(rng, 0.03, 0.7, 0.15))
        gap = first.extent * rng.uniform(0.6, 4.0)
        members.append(_varied(stage, first, follow(rng, first.track, gap) if together else lone))
    casts = [_cast(stage, role, label) for label, role in enumerate(members, 1)]
    actors = [actor for index in rng.permutation(len(casts)) for actor in casts[index]]
    frames_fhwc, owners_fhw = paint_clip(stage.backdrops, actors, stage.views_f33)
    return frames_fhwc, owners_fhw, len(members)


def _stage(rng: np.random.Generator, material: Material, frames: int, size: int) -> Stage:
    aspect = float(rng.choice(ASPECTS))
    views_f33 = to_pixels(size, aspect) @ camera_path(rng, frames, aspect)
    filmed = material.videos and (not material.photos or rng.random() < 0.5)
    if filmed:
        pictures, zoom = material.video(rng, frames), rng.uniform(1.0, 1.5)
    else:
        picture = material.photo(rng)
        zoom = heavy_tailed(rng, 1.4, 0.35, 3.0)
        pictures = [sprites.shrunk(picture, 1.2 * zoom * size / min(picture.shape[:2]))]
    if rng.random() < 0.5:
        pictures = [cv2.flip(picture, 1) for picture in pictures]
    placed = covering(rng, pictures[0].shape[:2], aspect, max(1.0, zoom))
    if rng.random() < 0.35:
        placed = camera_path(rng, frames, aspect) @ placed
    backdrops = seen(pictures, views_f33 @ placed, size)
    colours = cv2.meanStdDev(np.ascontiguousarray(backdrops[0][::4, ::4]))
    return Stage(rng, material, frames, size, aspect, backdrops, views_f33, (colours[0].ravel(), colours[1].ravel()))


def _role(stage: Stage, extent: float | None = None) -> Role:
    rng = stage.rng
    extent = extent or max(0.09, heavy_tailed(rng, 0.48, 0.6, 1.6))
    speed = heavy_tailed(rng, 0.022, 0.95, 0.22)
    track = random_track(rng, stage.frames, stage.aspect, speed, stays=stage.chance(0.85))
    look = [sprites.fitted(sprite, 1.15 * extent * stage.size) for sprite in _appearance(stage)]
    return Role(_finished(stage, look), extent, track)


def _appearance(stage: Stage) -> list[np.ndarray]:
    rng, material = stage.rng, stage.material
    kinds = {"object": 0.22, "blob": 0.22, "shape": 0.2}
    kinds |= {"person": 0.26} if material.people else {}
    kinds |= {"animation": 0.1} if material.animations else {}
    weights = np.array(list(kinds.values()))
    kind = rng.choice(list(kinds), p=weights / weights.sum())
    if kind == "person":
        return sprites.person(rng, material)
    if kind == "animation":
        return sprites.animated(rng, material, stage.frames)
    if kind == "object":
        return sprites.still(rng, material)
    alpha = sprites.blob(rng) if kind == "blob" else np.ascontiguousarray(sprites.still(rng, material)[0][..., 3])
    picture = stage.backdrops[0] if stage.chance(0.2) else material.photo(rng)
    return sprites.textured(rng, alpha, picture)


def _finished(stage: Stage, look: list[np.ndarray]) -> list[np.ndarray]:
    rng = stage.rng
    flip, weight, passes = stage.chance(0.5), rng.uniform(0, 0.7), int(rng.integers(1, 3))
    look = [cv2.flip(sprite, 1) if flip else sprite for sprite in look]
    if stage.chance(0.6):
        look = [sprites.harmonised(sprite, *stage.mean_and_std, weight) for sprite in look]
    return [sprites.softened(sprite, passes) for sprite in look]


def _lead_actors(stage: Stage, role: Role, label: int) -> list[Actor]:
    if stage.frames > 1 and stage.chance(0.12):
        role = replace(role, track=absent_for_a_while(stage.rng, role.track))
    actors = _cast(stage, role, label)
    if stage.chance(0.2):
        actors += _second_part(stage, role, label)
    return actors


def _second_part(stage: Stage, role: Role, label: int) -> list[Actor]:
    """Something that is fixed to a role and belongs to the same target, such as a bike to its rider."""
    rng = stage.rng
    part = _role(stage, extent=role.extent * rng.uniform(0.5, 1.1))
    offset = np.eye(3)
    offset[:2, 2] = rng.normal(0, 0.12), rng.choice((-1, 1)) * rng.uniform(0.25, 0.5)
    offset[:2, :2] *= part.extent / role.extent
    turns = drift(rng, stage.frames, 0.03)[:, 0]
    spins = similarities(np.zeros((stage.frames, 2)), np.cos(turns), np.sin(turns))
    return [Actor(part.sprites, role.track.matrices(role.extent) @ offset @ spins, label)]


def _look_alikes(stage: Stage, role: Role) -> list[Role]:
    rng = stage.rng
    speed = heavy_tailed(rng, 0.025, 0.8, 0.15)
    return [
        _varied(stage, role, random_track(rng, stage.frames, stage.aspect, speed))
        for _ in range(int(rng.integers(1, 4)))
    ]


def _varied(stage: Stage, role: Role, track: Track) -> Role:
    rng = stage.rng
    look = [cv2.flip(sprite, 1) for sprite in role.sprites] if stage.chance(0.4) else role.sprites
    if stage.chance(0.4):
        seed, strength = int(rng.integers(2**31)), rng.uniform(0.2, 1.0)
        look = [sprites.recoloured(np.random.default_rng(seed), sprite, strength) for sprite in look]
    start = int(rng.integers(len(look)))
    return Role(look[start:] + look[:start], role.extent * float(np.exp(rng.normal(0, 0.15))), track)


def _occluder(stage: Stage, role: Role) -> Role:
    rng = stage.rng
    extent = role.extent * rng.uniform(0.6, 1.7)
    return replace(_role(stage, min(extent, 1.5)), track=crossing(rng, role.track, stage.aspect))


def _extra(stage: Stage, role: Role) -> list[Actor]:
    return _cast(stage, role, 255)


def _cast(stage: Stage, role: Role, label: int) -> list[Actor]:
    """The role as an actor, at times with a shadow."""
    rng, frames = stage.rng, stage.frames
    elastic = random_elastic(rng, frames, heavy_tailed(rng, 0.022, 0.6, 0.08)) if stage.chance(0.55) else None
    gain_f = np.clip(np.exp(drift(rng, frames, 0.06)[:, 0]), 0.4, 1.8) if stage.chance(0.3) else None
    shutter = float(rng.uniform(0.1, 0.8)) if stage.chance(0.4) else 0.0
    actor = Actor(role.sprites, role.track.matrices(role.extent), label, elastic, gain_f, shutter)
    return [_shadow(stage, actor), actor] if stage.chance(0.25) else [actor]


def _shadow(stage: Stage, actor: Actor) -> Actor:
    rng = stage.rng
    moved = np.eye(3)
    moved[:2, 2] = rng.normal(0, 0.06), rng.uniform(0, 0.12)
    return Actor([sprites.shadow(actor.sprites[0], rng.uniform(0.2, 0.6))], actor.pose_f33 @ moved, None)
