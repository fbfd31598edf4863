"""Clips -> batches for the network. One row per object; ``clip_o`` says which clip a row belongs to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from masklet.data.synthetic import MIN_AREA, Clip
from masklet.model.config import IMAGENET_MEAN, IMAGENET_STD
from masklet.training.parallel import Peers


@dataclass(frozen=True)
class ClipBatch:
    """b clips of f frames with o objects in total."""

    frames_bfchw: Tensor
    """RGB, uint8."""
    masks_ofhw: Tensor
    """bool."""
    clip_o: Tensor

    @property
    def frames(self) -> int:
        """Frames per clip."""
        return self.frames_bfchw.shape[1]

    def images(self) -> Tensor:
        """All frames, normalised for the network: (b * f, 3, h, w)."""
        images = self.frames_bfchw.flatten(0, 1).contiguous(memory_format=torch.channels_last).float() / 255
        mean, std = (torch.tensor(v, device=images.device)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
        return (images - mean) / std

    def to(self, device: torch.device | str) -> ClipBatch:
        """The batch on another device."""
        return ClipBatch(self.frames_bfchw.to(device), self.masks_ofhw.to(device), self.clip_o.to(device))


def collate(clips: Sequence[Clip]) -> ClipBatch:
    """Clips of one size, with any number of objects each."""
    frames = np.stack([clip.frames_fhwc for clip in clips])
    masks = np.concatenate([clip.masks_ofhw for clip in clips])
    clip_o = [index for index, clip in enumerate(clips) for _ in range(len(clip.masks_ofhw))]
    return ClipBatch(
        frames_bfchw=torch.from_numpy(frames).permute(0, 1, 4, 2, 3),
        masks_ofhw=torch.from_numpy(masks),
        clip_o=torch.tensor(clip_o, dtype=torch.long),
    )


class SeededBatches(Dataset[ClipBatch]):
    """Batch ``i`` is a function of (seed, i) alone, so that a resumed run sees what an uninterrupted one would.

    Peers share out the clips that one process with a bigger batch would see.
    """

    def __init__(
        self,
        make_clip: Callable[[int], Clip],
        *,
        seed: int,
        clips: int,
        first: int,
        end: int,
        peers: Peers = Peers(),
    ):
        self.make_clip, self.seed, self.clips, self.peers = make_clip, seed, clips, peers
        self.steps = range(first, end)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> ClipBatch:
        step = self.steps[index]
        first = (step * self.peers.count + self.peers.rank) * self.clips
        seeds = [mixed_seed(self.seed, first + clip) for clip in range(self.clips)]
        return collate([self.make_clip(seed) for seed in seeds])


class ClipPool:
    """The first ``size`` clips of a stream, made once and kept on disk, then used again mirrored or reversed at random.

    For machines on which making a clip costs as much as learning from it.
    """

    def __init__(self, make_clip: Callable[[int], Clip], folder: Path, size: int):
        self.make_clip, self.folder, self.size = make_clip, folder, size

    def clip(self, seed: int) -> Clip:
        """A function of ``seed`` alone, like the stream's own."""
        rng = np.random.default_rng(seed)
        clip = self._kept(int(rng.integers(self.size)))
        if rng.random() < 0.5:
            clip = replace(clip, frames_fhwc=clip.frames_fhwc[:, :, ::-1], masks_ofhw=clip.masks_ofhw[..., ::-1])
        backward = replace(clip, frames_fhwc=clip.frames_fhwc[::-1], masks_ofhw=clip.masks_ofhw[:, ::-1])
        starts_visible = backward.masks_ofhw[:, 0].mean(axis=(1, 2)) >= MIN_AREA
        return backward if starts_visible.all() and rng.random() < 0.5 else clip

    def _kept(self, index: int) -> Clip:
        path = self.folder / f"{index:06d}.npz"
        if not path.exists():
            self._keep(self.make_clip(index), path)
        with np.load(path) as kept:
            masks = np.unpackbits(kept["masks"], axis=-1).astype(bool)
            return Clip(kept["frames"], masks, str(kept["source"]))

    def _keep(self, clip: Clip, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.npz")
        np.savez(beside, frames=clip.frames_fhwc, masks=np.packbits(clip.masks_ofhw, axis=-1), source=clip.source)
        beside.replace(path)


def mixed_seed(seed: int, index: int) -> int:
    """A well-spread seed for item ``index`` of the stream ``seed``."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def loader(batches: SeededBatches, workers: int) -> Iterator[ClipBatch]:
    """Batches in order, made by ``workers`` processes ahead of their use."""
    return iter(DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None))
