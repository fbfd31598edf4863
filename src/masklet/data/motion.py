"""How things move in synthetic clips: paths of objects and cameras, as homographies, and elastic deformation.

World coordinates: y runs from 0 to 1 over the height of the picture, x from 0 to `aspect` over its width; rotations and
scales act there, and only then is the picture squashed to the square that the model sees. Times are in frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

FOCAL = 2.5
LOST = 3.0

CAMERAS = (
    (0.0, 0.0, 0.0, 0.0, 0.0),
    (0.004, 0.003, 0.003, 0.004, 0.008),
    (0.035, 0.005, 0.004, 0.01, 0.003),
    (0.015, 0.045, 0.035, 0.03, 0.004),
)
"""Still, hand-held, panning, zooming and rolling: usual pan, zoom, roll, tilt and shake per frame."""


@dataclass(frozen=True)
class Track:
    """Where an object is in each frame: centre in the world, log scale, angle and tilt in radians."""

    centre_f2: np.ndarray
    log_scale_f: np.ndarray
    angle_f: np.ndarray
    tilt_f2: np.ndarray

    def matrices(self, extent: float) -> np.ndarray:
        """Homographies (f, 3, 3) from object coordinates (longest side 1, centre 0) to the world.

        `extent` is the longest side in world units at log scale 0.
        """
        scales_f = extent * np.exp(self.log_scale_f)
        (sin_a, sin_x, sin_y), (cos_a, cos_x, cos_y) = self._sines_and_cosines()
        flat_f33 = _eyes(len(scales_f))
        flat_f33[:, 0, 0], flat_f33[:, 0, 1], flat_f33[:, 1, 1] = cos_y, sin_y * sin_x, cos_x
        flat_f33[:, 2, 0], flat_f33[:, 2, 1] = -sin_y / FOCAL, cos_y * sin_x / FOCAL
        return similarities(self.centre_f2, scales_f * cos_a, scales_f * sin_a) @ flat_f33

    def _sines_and_cosines(self) -> tuple[np.ndarray, np.ndarray]:
        angles_3f = np.stack([self.angle_f, *self.tilt_f2.T])
        return np.sin(angles_3f), np.cos(angles_3f)


def _eyes(count: int) -> np.ndarray:
    return np.tile(np.eye(3), (count, 1, 1))


def similarities(shift_f2: np.ndarray, cos_f: np.ndarray, sin_f: np.ndarray) -> np.ndarray:
    """Matrices (f, 3, 3) that turn and scale, then shift; `cos_f` and `sin_f` carry the scale."""
    matrices_f33 = _eyes(len(shift_f2))
    matrices_f33[:, 0, 0], matrices_f33[:, 0, 1] = cos_f, -sin_f
    matrices_f33[:, 1, 0], matrices_f33[:, 1, 1] = sin_f, cos_f
    matrices_f33[:, :2, 2] = shift_f2
    return matrices_f33


def heavy_tailed(rng: np.random.Generator, median: float, spread: float, limit: float) -> float:
    """A positive number, log-normal around `median`, at most `limit`."""
    return float(min(limit, median * np.exp(spread * rng.standard_normal())))


def drift(rng: np.random.Generator, frames: int, *per_frame: float) -> np.ndarray:
    """Smooth curves (f, n) that start at 0, one for each usual change per frame: a speed, an acceleration, a swing."""
    times = np.arange(frames, dtype=np.float64)[:, None]
    speed, pull, swing = rng.standard_normal((3, len(per_frame))) * ((1.0,), (0.15,), (0.8,))
    rate, phase = rng.uniform((0.4,), (1.6,), len(per_frame)), rng.uniform(0, 2 * np.pi, len(per_frame))
    curves = speed * times + 0.5 * pull * times**2 + swing * (np.sin(rate * times + phase) - np.sin(phase))
    return curves * per_frame


def random_track(rng: np.random.Generator, frames: int, aspect: float, speed: float, stays: bool = True) -> Track:
    """A track that starts inside the picture; one that `stays` turns back at the borders.

    `speed` is the usual way per frame in picture widths.
    """
    lively, spin = heavy_tailed(rng, 1.0, 0.9, 5.0), heavy_tailed(rng, 1.0, 0.9, 6.0)
    along, across, growth, angle, tilt_x, tilt_y = drift(
        rng, frames, speed, 0.3 * speed, 0.035 * lively, 0.05 * spin, 0.06 * lively, 0.1 * lively
    ).T
    heading = rng.uniform(0, 2 * np.pi)
    cos_h, sin_h = np.cos(heading), np.sin(heading)
    steps_f2 = np.stack([along * cos_h - across * sin_h, along * sin_h + across * cos_h], axis=1)
    unit_f2 = rng.uniform(0.12, 0.88, 2) + steps_f2
    centre_f2 = (_folded(unit_f2) if stays else unit_f2) * (aspect, 1.0)
    tilt_f2 = np.clip(np.stack([tilt_x, tilt_y], axis=1), -1.0, 1.0)
    return Track(centre_f2, np.clip(growth, -1.2, 0.9), rng.normal(0, 0.2) + angle, tilt_f2)


def _folded(unit: np.ndarray, low: float = 0.02, high: float = 0.98) -> np.ndarray:
    period = 2 * (high - low)
    wrapped = np.mod(unit - low, period)
    return low + np.where(wrapped > high - low, period - wrapped, wrapped)


def follow(rng: np.random.Generator, track: Track, gap: float) -> Track:
    """A companion's track: the same movement, elsewhere (`gap` in world units) and a little different."""
    frames = len(track.angle_f)
    wobble_f2 = drift(rng, frames, 0.01, 0.01)
    heading = rng.uniform(0, 2 * np.pi)
    away = gap * np.array([np.cos(heading), np.sin(heading)])
    return replace(track, centre_f2=track.centre_f2 + away + wobble_f2, angle_f=track.angle_f + rng.normal(0, 0.1))


def crossing(rng: np.random.Generator, track: Track, aspect: float) -> Track:
    """The track of something that passes over `track` in a frame after the first."""
    frames = len(track.angle_f)
    meeting = int(rng.integers(1, max(2, frames)))
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0.12, 0.45)
    way = speed * np.array([aspect * np.cos(heading), np.sin(heading)])
    own = random_track(rng, frames, aspect, 0.0)
    times = np.arange(frames)[:, None] - meeting
    return replace(own, centre_f2=track.centre_f2[min(meeting, frames - 1)] + times * way)


def absent_for_a_while(rng: np.random.Generator, track: Track) -> Track:
    """The same track, but the object is outside of the picture for some frames after the first."""
    frames = len(track.angle_f)
    leaves = int(rng.integers(1, frames)) if frames > 1 else 1
    returns = int(rng.integers(leaves + 1, frames + 1)) if leaves < frames else frames
    centre_f2 = track.centre_f2.copy()
    centre_f2[leaves:returns, int(rng.integers(2))] += LOST * rng.choice((-1, 1))
    if rng.random() < 0.5:
        centre_f2[returns:] += rng.normal(0, 0.1, 2)
    return replace(track, centre_f2=centre_f2)


def camera_path(rng: np.random.Generator, frames: int, aspect: float) -> np.ndarray:
    """World-to-world homographies (f, 3, 3) of a moving camera: still, hand-held, panning, or zooming and rolling."""
    kind = rng.choice(4, p=(0.25, 0.25, 0.3, 0.2))
    pan, zoom, roll, tilt, shake = CAMERAS[kind]
    lively = heavy_tailed(rng, 1.0, 0.6, 3.0)
    moved = drift(rng, frames, *(lively * np.array([aspect * pan, 0.6 * pan, zoom, roll])))
    shift_f2 = moved[:, :2] + rng.normal(0, shake * lively + 1e-9, (frames, 2))
    scale_f, angle_f = np.exp(np.clip(moved[:, 2], -0.5, 0.7)), moved[:, 3]
    turned_f33 = similarities(np.zeros((frames, 2)), scale_f * np.cos(angle_f), scale_f * np.sin(angle_f))
    centre = np.array([aspect / 2, 0.5])
    turned_f33[:, :2, 2] = centre + shift_f2
    tilted_f33 = _eyes(frames)
    tilted_f33[:, :2, 2] = -centre
    tilted_f33[:, 2] += np.clip(drift(rng, frames, tilt, tilt), -0.25, 0.25) @ tilted_f33[0, :2]
    return turned_f33 @ tilted_f33


def to_pixels(size: int, aspect: float) -> np.ndarray:
    """The homography from world to the pixels of the square picture."""
    return np.diag([size / aspect, float(size), 1.0])


@dataclass(frozen=True)
class Elastic:
    """A deformation that changes over time: coarse displacement fields, in units of the picture's longest side."""

    fields_kgg2: np.ndarray
    weights_fk: np.ndarray

    def displacement(self, frame: int, height: int, width: int) -> np.ndarray:
        """Displacements (h, w, 2) in pixels for one frame."""
        coarse = np.tensordot(self.weights_fk[frame], self.fields_kgg2, axes=1).astype(np.float32)
        return cv2.resize(coarse * max(height, width), (width, height), interpolation=cv2.INTER_CUBIC)

    def apply(self, image: np.ndarray, frame: int) -> np.ndarray:
        """The deformed picture; what comes from outside of it is 0."""
        height, width = image.shape[:2]
        moved = self.displacement(frame, height, width)
        moved[..., 0] += np.arange(width, dtype=np.float32)
        moved[..., 1] += np.arange(height, dtype=np.float32)[:, None]
        xs, ys = cv2.split(moved)
        return cv2.remap(image, xs, ys, cv2.INTER_LINEAR)


def random_elastic(rng: np.random.Generator, frames: int, strength: float) -> Elastic:
    """Two random fields whose weights swing over time; `strength` is the usual displacement."""
    cells = int(rng.integers(3, 6))
    rates, phases = rng.uniform(0.3, 1.5, 2), rng.uniform(0, 2 * np.pi, 2)
    weights_fk = np.sin(np.arange(frames)[:, None] * rates + phases)
    return Elastic(strength * rng.standard_normal((2, cells, cells, 2)), weights_fk)
