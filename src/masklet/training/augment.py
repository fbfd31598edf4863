"""What happens to clips of real footage before they are learned from.

Kinds and strengths are those of SAM 2 (arXiv 2408.00714, appendix D.2.2, and its published training configuration).
Everything here is a function of a clip and a generator, so that the same seed gives the same clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from masklet.data.synthetic import Clip

BORDER_GRAY = 128


@dataclass(frozen=True)
class Augmentation:
    """Chances and strengths; angles in degrees."""

    flip: float = 0.5
    reverse: float = 0.5
    rotation: float = 25.0
    shear: float = 20.0
    """Rows are moved along each other, before the rotation."""
    jitter: tuple[float, float, float] = (0.1, 0.03, 0.03)
    """Brightness, contrast and saturation, drawn once per clip."""
    frame_jitter: tuple[float, float, float] = (0.1, 0.05, 0.05)
    """The same, drawn for every frame."""
    gray: float = 0.05
    mosaic: float = 0.1
    """Clips that are put beside three copies of themselves, of which only one is to be followed."""

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """A clip of the same size."""
        if rng.random() < self.reverse:
            clip = unless_lost(clip, backward(clip))
        if rng.random() < self.flip:
            clip = mirrored(clip)
        clip = unless_lost(clip, warped(clip, self._matrix(clip.frames_fhwc.shape[1:3], rng)))
        if rng.random() < self.mosaic:
            clip = mosaic(clip, int(rng.integers(4)))
        return self._recoloured(clip, rng)

    def _matrix(self, hw: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        angle, shear = np.deg2rad([rng.uniform(-reach, reach) for reach in (self.rotation, self.shear)])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = turn @ np.array([[1, np.tan(shear)], [0, 1]])
        centre = (np.array(hw[::-1]) - 1) / 2
        return np.column_stack([linear, centre - linear @ centre])

    def _recoloured(self, clip: Clip, rng: np.random.Generator) -> Clip:
        frames = clip.frames_fhwc.astype(np.float32)
        frames = jittered(frames, draw(self.jitter, 1, rng))
        frames = jittered(frames, draw(self.frame_jitter, len(frames), rng))
        if rng.random() < self.gray:
            frames = np.repeat(luminance(frames), 3, axis=-1)
        return replace(clip, frames_fhwc=frames.round().clip(0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Augmented:
    """A stream of clips, each changed by chance."""

    make_clip: Callable[[int], Clip]
    augmentation: Augmentation = Augmentation()

    def __call__(self, seed: int) -> Clip:
        return self.augmentation(self.make_clip(seed), np.random.default_rng([seed, 2]))


@dataclass(frozen=True)
class Stills:
    """One frame of each clip of a stream, drawn by chance among those that show all objects, if there are any.

    Every object comes ``views`` times, to be prompted in as many ways: the picture is encoded once for all of them.
    """

    make_clip: Callable[[int], Clip]
    views: int = 1

    def __call__(self, seed: int) -> Clip:
        clip = self.make_clip(seed)
        complete = np.flatnonzero(clip.masks_ofhw.any((2, 3)).all(0))
        frame = int(np.random.default_rng([seed, 3]).choice(complete)) if len(complete) else 0
        masks = np.repeat(clip.masks_ofhw[:, frame, None], self.views, axis=0)
        return replace(clip, frames_fhwc=clip.frames_fhwc[frame, None], masks_ofhw=masks)


def unless_lost(clip: Clip, changed: Clip) -> Clip:
    """The changed clip, unless an object that is to be followed from the first frame on would be missing there."""
    seen_o, still_seen_o = (some.masks_ofhw[:, 0].any(axis=(1, 2)) for some in (clip, changed))
    return clip if (seen_o & ~still_seen_o).any() else changed


def backward(clip: Clip) -> Clip:
    """The last frame first."""
    return replace(clip, frames_fhwc=clip.frames_fhwc[::-1], masks_ofhw=clip.masks_ofhw[:, ::-1])


def mirrored(clip: Clip) -> Clip:
    """Left and right exchanged."""
    return replace(clip, frames_fhwc=clip.frames_fhwc[:, :, ::-1], masks_ofhw=clip.masks_ofhw[..., ::-1])


def warped(clip: Clip, matrix_23: np.ndarray) -> Clip:
    """All frames through one affine map; gray where nothing is known."""
    h, w = clip.frames_fhwc.shape[1:3]
    gray = (BORDER_GRAY,) * 3
    frames = [cv2.warpAffine(np.ascontiguousarray(f), matrix_23, (w, h), borderValue=gray) for f in clip.frames_fhwc]
    flat = np.ascontiguousarray(clip.masks_ofhw).reshape(-1, h, w).view(np.uint8)
    masks = [cv2.warpAffine(mask, matrix_23, (w, h), flags=cv2.INTER_NEAREST) for mask in flat]
    return replace(
        clip, frames_fhwc=np.stack(frames), masks_ofhw=np.stack(masks).astype(bool).reshape(clip.masks_ofhw.shape)
    )


def mosaic(clip: Clip, place: int) -> Clip:
    """Four copies of the clip in a 2 x 2 grid; the objects of copy ``place`` stay the targets, the rest look alike."""
    h, w = clip.frames_fhwc.shape[1:3]
    half_h, half_w = h // 2, w // 2
    small = np.stack([cv2.resize(f, (half_w, half_h), interpolation=cv2.INTER_AREA) for f in clip.frames_fhwc])
    frames = np.full_like(clip.frames_fhwc, BORDER_GRAY)
    frames[:, : 2 * half_h, : 2 * half_w] = np.tile(small, (1, 2, 2, 1))
    masks = np.zeros_like(clip.masks_ofhw)
    y, x = (place // 2) * half_h, (place % 2) * half_w
    for index, mask_fhw in enumerate(clip.masks_ofhw):
        for frame, mask in enumerate(mask_fhw):
            part = cv2.resize(mask.astype(np.uint8), (half_w, half_h), interpolation=cv2.INTER_NEAREST)
            masks[index, frame, y : y + half_h, x : x + half_w] = part
    return replace(clip, frames_fhwc=frames, masks_ofhw=masks)


def draw(strengths: tuple[float, float, float], many: int, rng: np.random.Generator) -> np.ndarray:
    """Factors (many, 3) around 1."""
    return 1 + rng.uniform(-1, 1, (many, 3)) * np.array(strengths)


def jittered(frames_fhwc: np.ndarray, factors_f3: np.ndarray) -> np.ndarray:
    """Brightness, contrast (around the frame's mean) and saturation (around its luminance), one row per frame."""
    brightness, contrast, saturation = (factors_f3[:, i, None, None, None].astype(np.float32) for i in range(3))
    frames = frames_fhwc * brightness
    middle = luminance(frames).mean(axis=(1, 2), keepdims=True)
    frames = middle + (frames - middle) * contrast
    light = luminance(frames)
    return light + (frames - light) * saturation


def luminance(frames_fhwc: np.ndarray) -> np.ndarray:
    """Weighted mean of the colours (f, h, w, 1). Source: ITU-R BT.601."""
    return (frames_fhwc @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
