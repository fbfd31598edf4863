"""Synthetic training clips with exact masks, made from pictures, cut-outs and a seed.

Five kinds of clip take turns: composed scenes and crowds of look-alikes (`scenes.py`), photos in which a labelled
person, a garment or a cell moves with everything around it, rendered clips, and filmed ones with masks of their own.
All of them go through a moving camera and through what cameras do to pictures (`effects.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from masklet.data.effects import filmed
from masklet.data.footage import Push, around, flow, warped
from masklet.data.material import Material
from masklet.data.motion import camera_path, drift, heavy_tailed, random_elastic, to_pixels
from masklet.data.scenes import ASPECTS, crowd, scene

MAX_AREA = 0.85
SOLID = 0.2
MAX_TRIES = 30
SLIVER = 0.1
"""Of the side of a square of the mask's area: what is thinner than twice this is no core of it."""
OF_PICTURE = (0.8, 1.25)
"""Aspects of views of a whole photo, relative to its own."""
MAX_ENLARGED = 3.0
"""Of filmed frames, so that what is small in them stays sharp."""


@dataclass(frozen=True)
class Mixture:
    """How often clips are of which kind, and how photos and cells are shown."""

    scene: float = 0.56
    crowd: float = 0.1
    photo: float = 0.2
    cells: float = 0.06
    rendered: float = 0.08
    filmed: float = 0.6
    parts: float = 0.4
    """Photos of which garments or body parts are to be told apart, instead of the person."""
    whole: float = 0.0
    """Photos and cells of which most is shown, however small what is to be told apart is, instead of what is around it.
    """
    min_area: float = 0.003
    """Of a target on its first frame, as a share of the frame."""

    def of(self, kind: str) -> float:
        """How often clips are of this kind, relative to others."""
        weight: float = getattr(self, kind)
        return weight


KINDS = ("scene", "crowd", "photo", "cells", "rendered", "filmed")


@dataclass(frozen=True)
class Clip:
    """A short video with its targets.

    Attributes:
        frames_fhwc: RGB uint8 (f, h, w, 3).
        masks_ofhw: bool (o, f, h, w), the visible pixels of each target.
        source: the kind of clip, for statistics.
        bad: records that could not be used on the way to this clip, by their paths, and why.
    """

    frames_fhwc: np.ndarray
    masks_ofhw: np.ndarray
    source: str
    bad: Mapping[Path, str] = field(default_factory=dict)


class SyntheticClips:
    """An endless set of clips: the same seed gives the same clip.

    Cheap to build and to pickle; pictures are read when first needed.

    Args:
        assets: folder described in `masklet.data.material`.
        frames: frames a clip.
        size: height and width of the frames in pixels, at least 32.
        max_objects: most targets a clip.
        cache_bytes: bound on the decoded pictures kept in memory.
        mixture: how often clips are of which kind.

    Raises:
        ValueError: for impossible numbers, or if the folder has too little in it.
    """

    def __init__(
        self,
        assets: Path,
        *,
        frames: int = 4,
        size: int = 256,
        max_objects: int = 2,
        cache_bytes: int = 1000 << 20,
        mixture: Mixture = Mixture(),
    ) -> None:
        if frames < 1 or size < 32 or max_objects < 1:
            raise ValueError(
                f"expected frames >= 1, size >= 32 and max_objects >= 1, got {frames}, {size} and {max_objects}"
            )
        self.frames, self.size, self.max_objects = frames, size, max_objects
        self.material, self.mixture = Material(assets, cache_bytes), mixture
        self.kinds = [kind for kind in KINDS if mixture.of(kind) and self._possible(kind)]
        if not self.kinds:
            raise ValueError(
                f"expected material for {mixture}, got none of it in {assets}; masklet.data.material lists it"
            )

    def __getitem__(self, seed: int) -> Clip:
        return self.clip(seed)

    def clip(self, seed: int) -> Clip:
        """The clip of this seed; every target is visible in its first frame."""
        cv2.setNumThreads(1)
        rng = np.random.default_rng(seed)
        weights = np.array([self.mixture.of(kind) for kind in self.kinds])
        kind = str(rng.choice(self.kinds, p=weights / weights.sum()))
        for _ in range(MAX_TRIES):
            frames_fhwc, masks_ofhw = self._attempt(rng, kind)
            if len(masks_ofhw):
                return Clip(filmed(rng, frames_fhwc), masks_ofhw, kind)
        raise RuntimeError(f"no target was visible in {MAX_TRIES} attempts at a clip of kind {kind} (seed {seed})")

    def _possible(self, kind: str) -> bool:
        material = self.material
        needed = {
            "photo": material.people,
            "cells": material.nuclei,
            "rendered": material.rendered,
            "filmed": material.shots,
        }
        return bool(needed.get(kind, True))

    def _attempt(self, rng: np.random.Generator, kind: str) -> tuple[np.ndarray, np.ndarray]:
        if kind in ("scene", "crowd"):
            make = scene if kind == "scene" else crowd
            frames_fhwc, owners_fhw, leads = make(rng, self.material, self.frames, self.size)
            masks_ofhw = owners_fhw == np.arange(1, leads + 1, dtype=np.uint8)[:, None, None, None]
            return frames_fhwc, self._usable(rng, masks_ofhw)
        pictures, masks = self._labelled(rng, kind)
        frames_fhwc, masks_ofhw = self._seen_by_camera(rng, pictures, masks, kind)
        return frames_fhwc, self._usable(rng, masks_ofhw)

    def _usable(self, rng: np.random.Generator, masks_ofhw: np.ndarray) -> np.ndarray:
        """Some of the masks, at most `max_objects`, all with a reasonable area in the first frame."""
        fit = np.flatnonzero([_recognisable(mask, self.mixture.min_area) for mask in masks_ofhw[:, 0]])
        return masks_ofhw[rng.permutation(fit)[: int(rng.integers(1, self.max_objects + 1))]]

    def _labelled(self, rng: np.random.Generator, kind: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Pictures (one, or one a frame), and for each the masks (o, h, w), uint8 0 or 255, of what may be tracked."""
        if kind == "photo":
            rgb, labels = self.material.person(rng)
            return [rgb], [_person_or_parts(rng, labels, self.max_objects, self.mixture.parts)]
        if kind == "cells":
            rgb, labels = self.material.cells(rng)
            return [rgb], [_masks(labels, _largest_of_some(rng, labels, self.max_objects))]
        if kind == "filmed":
            shot = self.material.shot(rng, self.frames)
            return [rgb for rgb, _ in shot], [masks for _, masks in shot]
        footage = self.material.rendering(rng, self.frames)
        chosen = _largest_of_some(rng, footage[0][1], self.max_objects)
        return [rgb for rgb, _ in footage], [_masks(labels, chosen) for _, labels in footage]

    def _seen_by_camera(
        self, rng: np.random.Generator, pictures: list[np.ndarray], masks: list[np.ndarray], kind: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pictures under a moving camera, deformed, with what is to be tracked pushed about."""
        size, aspect = self.size, float(rng.uniform(min(ASPECTS), max(ASPECTS)))
        if not masks[0][:1].any():
            return np.empty((0, size, size, 3), np.uint8), np.empty((0, self.frames, size, size), bool)
        share = heavy_tailed(rng, 0.12, 0.4, 0.35) if kind == "cells" else heavy_tailed(rng, 0.5, 0.5, 1.6)
        if kind == "filmed":
            share = min(share, 1.0, MAX_ENLARGED * max(cv2.boundingRect(masks[0][0])[2:]) / size)
        if kind in ("photo", "cells") and self.mixture.whole and rng.random() < self.mixture.whole:
            share = 0.0
            aspect = float(np.clip(aspect, *OF_PICTURE) * pictures[0].shape[1] / pictures[0].shape[0])
        placed = around(rng, pictures[0].shape[:2], aspect, masks[0][0], share)
        views_f33 = np.repeat(to_pixels(size, aspect)[None] @ placed, self.frames, axis=0)
        if kind != "filmed" or rng.random() < 0.5:
            views_f33 = to_pixels(size, aspect) @ camera_path(rng, self.frames, aspect) @ placed
        still = len(pictures) == 1
        elastic = random_elastic(rng, self.frames, heavy_tailed(rng, 0.008, 0.6, 0.03)) if still else None
        pushes = [_push(rng, mask, views_f33[0], size, self.frames) for mask in masks[0]] if still else []
        moved = []
        for frame, view in enumerate(views_f33):
            source_map = flow(view, frame, size, elastic, pushes)
            moved.append(warped(pictures[frame % len(pictures)], masks[frame % len(masks)], source_map))
        return np.stack([rgb for rgb, _ in moved]), np.stack([mask for _, mask in moved], axis=1)


def _recognisable(mask: np.ndarray, min_area: float) -> bool:
    """Whether a mask (h, w) has a reasonable area and is more than slivers."""
    area = mask.mean()
    if not min_area <= area <= MAX_AREA:
        return False
    reach = max(1, int(len(mask) * min(1 / 128, SLIVER * math.sqrt(area))))
    core = cv2.erode(mask.view(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return core.mean() > SOLID * area


def _person_or_parts(rng: np.random.Generator, labels: np.ndarray, most: int, parts: float) -> np.ndarray:
    """Garments or body parts by the given chance, at most `most`, else the whole person."""
    if rng.random() < 1 - parts:
        return (labels > 0).astype(np.uint8)[None] * 255
    return _masks(labels, _largest_of_some(rng, labels, most))


def _largest_of_some(rng: np.random.Generator, labels: np.ndarray, most: int) -> list[int]:
    """Up to `most` labels, chosen at random among those that are not tiny."""
    return [int(label) for label in rng.permutation(sizeable(labels))[:most]]


def sizeable(labels: np.ndarray) -> np.ndarray:
    """The labels but 0 that are not tiny: at least a tenth of the largest one and 30 pixels."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    return np.flatnonzero(counts >= max(30, 0.1 * counts.max(initial=0)))


def _masks(labels: np.ndarray, chosen: list[int]) -> np.ndarray:
    return (labels == np.array(chosen, dtype=labels.dtype)[:, None, None]).astype(np.uint8) * 255


def _push(rng: np.random.Generator, mask: np.ndarray, view: np.ndarray, size: int, frames: int) -> Push:
    x, y, width, height = cv2.boundingRect(mask)
    corners = np.array([[[x, y]], [[x + width, y + height]]], np.float64)
    low, high = cv2.perspectiveTransform(corners, view)[:, 0] / size
    reach = np.clip((high - low) / 2, 0.04, 0.5)
    speed = heavy_tailed(rng, 0.028, 0.8, 0.08)
    return Push((low + high) / 2, reach, np.clip(drift(rng, frames, speed, speed), -0.8 * reach, 0.8 * reach))
