"""Clips -> batches for the network. One row per object; ``clip_o`` says which clip a row belongs to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from masklet.data.synthetic import Clip
from masklet.model.config import IMAGENET_MEAN, IMAGENET_STD
from masklet.training.parallel import ALONE, Peers

T = TypeVar("T")
MakeClip = Callable[[int], Clip]
"""Seed -> clip."""


@dataclass(frozen=True)
class Source:
    """Training material of one kind. A step takes all its clips from one source, so sources may differ in size."""

    make_clip: MakeClip
    clips: int = 4
    """Clips per batch and process."""
    weight: float = 1.0
    """How often it is chosen, relative to the others."""
    name: str = "clips"


@dataclass(frozen=True)
class ClipBatch:
    """b clips of f frames with o objects in total."""

    frames_bfchw: Tensor
    """RGB, uint8."""
    masks_ofhw: Tensor
    """bool."""
    clip_o: Tensor
    seeds: tuple[int, ...] = ()
    """One per clip, for what happens to its objects."""
    bad: Mapping[Path, str] = field(default_factory=dict)
    """Records that could not be used on the way to these clips, and why."""

    @property
    def frames(self) -> int:
        """Frames per clip."""
        return self.frames_bfchw.shape[1]

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        h, w = self.frames_bfchw.shape[-2:]
        return h, w

    def images(self) -> Tensor:
        """All frames, normalised for the network: (b * f, 3, h, w)."""
        images = self.frames_bfchw.flatten(0, 1).contiguous(memory_format=torch.channels_last).float() / 255
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        return (images - mean) / std

    def generators(self) -> list[np.random.Generator]:
        """Chance for every object, the same whatever other clips are in the batch."""
        per_clip = [np.random.default_rng(seed) for seed in self.seeds]
        return [per_clip[clip] for clip in self.clip_o.tolist()]

    def to(self, device: torch.device | str) -> ClipBatch:
        """The batch on another device."""
        return replace(
            self,
            frames_bfchw=self.frames_bfchw.to(device),
            masks_ofhw=self.masks_ofhw.to(device),
            clip_o=self.clip_o.to(device),
        )


def collate(clips: Sequence[Clip], seeds: Sequence[int] = ()) -> ClipBatch:
    """Clips of one size, with any number of objects each."""
    frames = np.stack([clip.frames_fhwc for clip in clips])
    masks = np.concatenate([clip.masks_ofhw for clip in clips])
    clip_o = [index for index, clip in enumerate(clips) for _ in range(len(clip.masks_ofhw))]
    return ClipBatch(
        frames_bfchw=torch.from_numpy(frames).permute(0, 1, 4, 2, 3),
        masks_ofhw=torch.from_numpy(masks),
        clip_o=torch.tensor(clip_o, dtype=torch.long),
        seeds=tuple(seeds),
        bad={path: reason for clip in clips for path, reason in clip.bad.items()},
    )


@dataclass(frozen=True)
class SeededBatches(Dataset[ClipBatch]):
    """Every batch is a function of (seed, its number) alone, so that a resumed run sees what an unbroken one would.

    A step has ``parts`` batches in a row. Peers and parts share out the clips of one bigger batch.
    """

    sources: Sequence[Source]
    seed: int
    steps: range
    parts: int = 1
    peers: Peers = ALONE

    def __len__(self) -> int:
        return len(self.steps) * self.parts

    def __getitem__(self, index: int) -> ClipBatch:
        step, part = self.steps[index // self.parts], index % self.parts
        source = self.source(step)
        first = ((step * self.peers.count + self.peers.rank) * self.parts + part) * source.clips
        seeds = [mixed_seed(self.seed, first + clip) for clip in range(source.clips)]
        return collate([source.make_clip(seed) for seed in seeds], seeds)

    def source(self, step: int) -> Source:
        """Where the clips of a step come from."""
        weights = np.array([source.weight for source in self.sources], dtype=np.float64)
        rng = np.random.default_rng([self.seed, step, 1])
        return self.sources[int(rng.choice(len(self.sources), p=weights / weights.sum()))]


def mixed_seed(seed: int, index: int) -> int:
    """A well-spread seed for item ``index`` of the stream ``seed``."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def timed(items: Iterable[T]) -> Iterator[tuple[T, float]]:
    """Every item with the seconds that it was waited for."""
    waited_for = iter(items)
    while True:
        started = time.perf_counter()
        try:
            item = next(waited_for)
        except StopIteration:
            return
        yield item, time.perf_counter() - started


def loader(batches: SeededBatches, workers: int) -> Iterator[list[ClipBatch]]:
    """The batches of one step after the other, made by ``workers`` processes ahead of their use."""
    made = iter(DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None))
    for _ in batches.steps:
        yield [next(made) for _ in range(batches.parts)]
