"""Fine-tuning: a network that knows how to segment learns what is special about somebody's own pictures or videos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masklet.checkpoints import load_network
from masklet.data.datasets import Dataset
from masklet.data.records import RecordError
from masklet.data.sampling import ClipSampling, DatasetClips
from masklet.model.config import NetworkConfig
from masklet.model.device import shapes_only
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.augment import Augmentation, Augmented
from masklet.training.batches import Source
from masklet.training.initial import StartFrom
from masklet.training.loop import Recipe, with_image_size
from masklet.training.losses import LossWeights
from masklet.training.optim import Cosine, Rates
from masklet.training.simulation import Simulation
from masklet.training.validation import Validation

TRUNK = "trunk."
TRUNK_SLOWNESS = 5
"""The trunk learns so many times slower than the heads, as published."""
STILLS_WEIGHT = 0.4
"""Share of the steps that learn clicks on single frames, where the rest learns to follow."""
WHOLE_PICTURES = Augmentation(mosaic=0)
PEEKED = 20
"""Records that are looked into to tell pictures from videos, and their shape."""


@dataclass(frozen=True)
class FineTuning:
    """What a person may want to choose. The defaults suit some dozen to some thousand pictures."""

    frames: int = 1
    """Per clip; 1: the network learns from still pictures alone."""
    size: int | None = None
    """Side in pixels of what is learned from; None: that which the network is used at."""
    clips: int = 2
    """Per batch."""
    parts: int = 2
    """Batches per step."""
    objects: int = 3
    """Per clip at most."""
    clicks: int = 4
    """Correction clicks per object."""
    centred_share: float = 0.5
    """Clicks in the middle of what is wrong, where people click."""
    average: float = 0.98
    """Decay per step of the moving average of the weights, which is what is watched and kept; 0: the last weights."""
    steps: int = 1000
    rate: float = 1e-4
    frozen_trunk: bool = True
    """The image encoder's layers stay as they are, which spares most of the memory and half of the time."""
    check_every: int = 50
    """Steps between two looks at what is held out."""
    patience: int = 5
    """So many looks without anything better end the run."""
    augmentation: Augmentation = WHOLE_PICTURES
    bfloat16: bool = False
    workers: int = 1
    seed: int = 1

    def __post_init__(self) -> None:
        counts = (self.frames, self.clips, self.parts, self.objects, self.clicks, self.steps)
        if min(counts) < 1 or self.rate <= 0:
            raise ValueError(f"expected frames, clips, parts, objects, clicks, steps and a rate over 0, got {self}")

    @property
    def clips_of_many_frames(self) -> int:
        """Per batch: as many frames in fewer clips."""
        return max(1, self.clips // self.frames)


def recipe_for(
    weights: str | Path, data: Dataset, settings: FineTuning, validation: Validation | None = None
) -> Recipe:
    """How the network with these weights learns from a dataset.

    Raises ValueError for weights that lack a part, and what loading them raises.
    """
    config = complete_config(load_network(weights), weights)
    used = config.for_stills if settings.frames == 1 else config
    sized = with_image_size(config, settings.size or used.image_size)
    return Recipe(
        config=sized,
        start=StartFrom(weights),
        sources=sources_of(data, settings, sized.common_canvas(some_shapes(data))),
        schedule=Cosine(settings.steps, warmup=max(1, settings.steps // 20)),
        rates=rates_of(settings),
        average=settings.average,
        simulation=Simulation(
            prompted_frames=1, corrected_frames=1, clicks=settings.clicks, centred_share=settings.centred_share
        ),
        losses=LossWeights(reduction=2),
        parts=settings.parts,
        bfloat16=settings.bfloat16,
        seed=settings.seed,
        workers=settings.workers,
        save_every=settings.check_every,
        keep=1,
        picture_every=settings.check_every,
        validation=validation,
        released_as=config,
        notes={"start": Path(weights).name, "material": f"{len(data)} records of the format {data.format}"},
    )


def complete_config(network: SegmentationNetwork, weights: str | Path) -> NetworkConfig:
    """The configuration of a network. Raises ValueError if it is not all that its configuration says."""
    with shapes_only():
        whole = SegmentationNetwork(network.config)
    if whole.state_dict().keys() != network.state_dict().keys():
        raise ValueError(f"{weights} has other parts than {network.config.name}; fine-tune a published checkpoint")
    return network.config


def rates_of(settings: FineTuning) -> Rates:
    """Learning rates; a frozen trunk sees what it always saw, so none of its blocks are skipped either way."""
    return Rates(
        heads=settings.rate,
        trunk=settings.rate / TRUNK_SLOWNESS,
        drop_path=0.0,
        frozen=(TRUNK,) if settings.frozen_trunk else (),
    )


def some_shapes(data: Dataset) -> list[tuple[int, int]]:
    """Height and width of some records, spread over the dataset. Raises RecordError if none of them can be read."""
    found = []
    for entry in data.entries[:: max(1, len(data) // PEEKED)]:
        try:
            found.append(entry.read().video_hw)
        except (ValueError, OSError) as error:
            data.note_bad(entry, error)
    if not found:
        raise RecordError(f"no record could be read\n{data.report()}")
    return found


def sources_of(data: Dataset, settings: FineTuning, canvas_hw: tuple[int, int]) -> tuple[Source, ...]:
    """Still pictures; for videos clips as well."""
    still = ClipSampling(1, canvas_hw, settings.objects)
    if settings.frames == 1:
        return (source(data, settings, still, settings.clips, "pictures"),)
    moving = ClipSampling(settings.frames, canvas_hw, settings.objects, strides=(1, 2))
    return (
        source(data, settings, moving, settings.clips_of_many_frames, "clips", 1 - STILLS_WEIGHT),
        source(data, settings, still, settings.clips, "stills", STILLS_WEIGHT),
    )


def source(
    data: Dataset, settings: FineTuning, sampling: ClipSampling, clips: int, name: str, weight: float = 1.0
) -> Source:
    """Augmented clips of a dataset."""
    return Source(Augmented(DatasetClips(data, sampling).clip, settings.augmentation), clips, weight, name)


def split(data: Dataset, share: float, seed: int = 1) -> tuple[Dataset, Dataset]:
    """Records to learn from and records to hold out, drawn by chance; always the same for the same dataset and seed.

    Raises ValueError when one of the two would be empty.
    """
    if not 0 < share < 1:
        raise ValueError(f"expected a share between 0 and 1 to hold out, got {share}")
    if len(data) < 2:
        raise ValueError(
            f"expected at least two pictures or videos in {data.root}, to learn from one and test with the other; "
            f"got {len(data)}: add some, or name others to test with"
        )
    count = min(max(1, round(share * len(data))), len(data) - 1)
    held_out = set(np.random.default_rng(seed).permutation(len(data))[:count].tolist())
    parts = [[e for i, e in enumerate(data.entries) if (i in held_out) == wanted] for wanted in (False, True)]
    learned, tested = (data.part(entries) for entries in parts)
    return learned, tested


def shows_videos(data: Dataset) -> bool:
    """Whether there is a video among the first records that can be read."""
    for entry in data.entries[:PEEKED]:
        try:
            if not entry.read().is_picture:
                return True
        except (ValueError, OSError) as error:
            data.note_bad(entry, error)
    return False
