"""Training clips from the records of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from masklet.data.datasets import Dataset
from masklet.data.records import Masklet, Record, RecordError
from masklet.data.synthetic import Clip
from masklet.masks import resize
from masklet.video.source import FrameSource

MAX_TRIES = 20


@dataclass(frozen=True)
class ClipSampling:
    """How a clip is taken from a video: `frames` of `hw` pixels, each `strides` annotated frames after the last.

    A video that is too short for the clip is shown to and fro; a picture stands still. `reverse_share` of the clips run
    backward. Objects are chosen among those that cover at least `min_area` of the first frame, the more likely the more
    of the clip shows them.
    """

    frames: int = 8
    hw: tuple[int, int] = (1024, 1024)
    max_objects: int = 3
    strides: tuple[int, ...] = (1,)
    reverse_share: float = 0.5
    min_area: float = 0.0001

    def __post_init__(self) -> None:
        if self.frames < 1 or min(self.hw) < 1 or self.max_objects < 1 or min(self.strides, default=0) < 1:
            raise ValueError(f"expected frames, hw, max_objects and strides of at least 1, got {self}")


def sample_clip(record: Record, rng: np.random.Generator, sampling: ClipSampling) -> Clip:
    """A clip of some annotated frames, every target visible in its first one.

    Raises RecordError when there are no frames, or no object is seen in as many tries.
    """
    for _ in range(MAX_TRIES):
        frames = choose_frames(record.annotated_frames, rng, sampling)
        chosen = choose_objects(record, frames, rng, sampling)
        masks_ofhw = _masks(chosen, frames, sampling.hw)
        seen = masks_ofhw[:, 0].any(axis=(1, 2))
        if seen.any():
            with record.open_frames() as source:
                return Clip(_pictures(source, frames, sampling.hw), masks_ofhw[seen], "video")
    raise RecordError(f"{record.video_id}: no object was seen in {MAX_TRIES} tries at a clip")


def choose_frames(annotated: Sequence[int], rng: np.random.Generator, sampling: ClipSampling) -> list[int]:
    """Frames of a clip, out of the annotated ones in order. Raises RecordError if there are none."""
    if not annotated:
        raise RecordError("expected a video with annotated frames, got none")
    needed = sampling.frames - 1
    fit = [stride for stride in sampling.strides if stride * needed < len(annotated)]
    stride = int(rng.choice(fit)) if fit else 1
    span = stride * needed
    first = int(rng.integers(0, len(annotated) - span)) if fit else 0
    places = [_bounced(first + step * stride, len(annotated)) for step in range(sampling.frames)]
    frames = [annotated[place] for place in places]
    return frames[::-1] if rng.random() < sampling.reverse_share else frames


def choose_objects(
    record: Record, frames: Sequence[int], rng: np.random.Generator, sampling: ClipSampling
) -> list[Masklet]:
    """At most `max_objects` that are annotated on all frames and seen in the first."""
    needed = sampling.min_area * record.video_hw[0] * record.video_hw[1]
    annotated = [masklet for masklet in record.masklets if all(frame in masklet.masks for frame in frames)]
    fit = [masklet for masklet in annotated if _area(masklet, frames[0]) >= max(needed, 1)]
    if not fit:
        return []
    shown = np.array([sum(masklet.is_visible(frame) for frame in frames) for masklet in fit], dtype=float)
    count = min(int(rng.integers(1, sampling.max_objects + 1)), len(fit))
    return [fit[place] for place in rng.choice(len(fit), count, replace=False, p=shown / shown.sum())]


@dataclass
class DatasetClips:
    """Clips of a dataset: the same seed gives the same clip. Bad records are noted in `dataset.bad` and skipped.

    The clip tells of them too, as what a worker process notes stays there.
    """

    dataset: Dataset
    sampling: ClipSampling = field(default_factory=ClipSampling)

    def __getitem__(self, seed: int) -> Clip:
        return self.clip(seed)

    def clip(self, seed: int) -> Clip:
        """The clip of this seed. Raises RecordError when many records in a row cannot be used."""
        cv2.setNumThreads(1)
        rng, bad = np.random.default_rng(seed), {}
        for _ in range(MAX_TRIES):
            place = int(rng.integers(len(self.dataset)))
            try:
                return replace(sample_clip(self.dataset[place], rng, self.sampling), bad=bad)
            except (ValueError, OSError) as error:
                self.dataset.note_bad(self.dataset.entries[place], error)
                bad[self.dataset.entries[place].path] = str(error)
        raise RecordError(f"{MAX_TRIES} records in a row cannot be used\n{self.dataset.report()}")


def _bounced(place: int, count: int) -> int:
    """A place beyond the last runs back: 0 1 2 1 0 1 ... for three."""
    period = max(2 * (count - 1), 1)
    return min(place % period, period - place % period) if count > 1 else 0


def _area(masklet: Masklet, frame: int) -> int:
    mask = masklet.mask(frame)
    return 0 if mask is None else int(np.count_nonzero(mask))


def _pictures(source: FrameSource, frames: Sequence[int], hw: tuple[int, int]) -> np.ndarray:
    """(f, *hw, 3) uint8. Read in ascending order, each once, as a video likes it."""
    resized = {frame: _resized(source[frame], hw) for frame in sorted(set(frames))}
    return np.stack([resized[frame] for frame in frames])


def _resized(frame: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    height, width = hw
    shrinks = height < frame.shape[0] or width < frame.shape[1]
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _masks(chosen: Sequence[Masklet], frames: Sequence[int], hw: tuple[int, int]) -> np.ndarray:
    """(o, f, *hw) bool."""
    masks_ofhw = np.zeros((len(chosen), len(frames), *hw), dtype=bool)
    for o, masklet in enumerate(chosen):
        for f, frame in enumerate(frames):
            mask = masklet.mask(frame)
            assert mask is not None
            masks_ofhw[o, f] = resize(mask, hw)
    return masks_ofhw
