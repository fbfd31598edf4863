"""SAM 2.1 on pictures and videos together, the full stage of the published training (arXiv 2408.00714, appendix D.2).

Command: torchrun --nproc-per-node 8 -m masklet.cli train recipes/sam2.py videos=SA-V pictures=SA-1B --out runs/tiny
(several machines: torchrun's --nnodes and --rdzv-endpoint; with --resume it goes on from the last checkpoint)
Hardware: published with 256 GPUs of 80 GB. ``parts`` makes up for GPUs that are missing: processes times ``parts``
should be 256.
Time: days on those. Not run by us at this size.
Expected: SAM 2.1 tiny was published with J&F 75.2 on SA-V val and 71.8 on MOSE val.

The second stage, on longer clips, is the same recipe: weights=runs/tiny/weights.safetensors frames=16 steps=50000
frozen_trunk=yes. Fine-tuning of a published network as its authors did it on MOSE: weights=sam2.1-hiera-base-plus
network=sam2.1-hiera-base-plus videos=MOSE format=mose rate=5e-6 trunk_rate=3e-6 steps=60000 warmup=0 and no pictures.

Losses, their gradients and the optimizer's groups follow the published training code. What still departs from it:
- Clips are made square before they are rotated and sheared, not after, and the border is gray, not of the mean colour.
  Brightness, contrast and saturation change in this order, not in any, and graying comes last.
- 1 to ``objects`` objects of a video are followed, those that are seen longer the more likely, instead of as many as
  there may be with the same chance each. Short videos run to and fro instead of being left out.
- Whether a click ignores the answer is drawn for each object instead of once for all of a batch. Boxes end beside their
  last pixel instead of in it. Where an object is absent, its box has no extent instead of being the picture inside out.
- Frames that are shown by masks are not judged, which takes a constant from the loss.
- Fine-tuning also reverses clips and shows mosaics, and skips base-plus blocks with 0.2, where MOSE was learned without
  and with 0.1.
"""

from __future__ import annotations

from pathlib import Path

from masklet.data.datasets import open_dataset
from masklet.data.sampling import ClipSampling, DatasetClips
from masklet.model.config import MODELS
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.augment import Augmentation, Augmented
from masklet.training.batches import Source
from masklet.training.initial import StartFrom
from masklet.training.loop import Recipe, with_image_size
from masklet.training.losses import LossWeights
from masklet.training.optim import Cosine, Rates
from masklet.training.simulation import Simulation

LAYER_DECAY = {"tiny": 0.8, "small": 0.8, "base-plus": 0.9, "large": 0.925}
DROP_PATH = {"tiny": 0.1, "small": 0.1, "base-plus": 0.2, "large": 0.3}
PICTURES = 8
"""Pictures in a batch, so that it shows as many frames as a clip of the default length."""


def recipe(
    videos: Path,
    pictures: Path = Path(),
    format: str = "sav",  # noqa: A002
    split: str = "",
    network: str = "sam2.1-hiera-tiny",
    weights: str = "",
    steps: int = 150_000,
    warmup: int = 15_000,
    frames: int = 8,
    size: int = 1024,
    objects: int = 3,
    picture_objects: int = 16,
    picture_share: float = 0.15,
    parts: int = 1,
    rate: float = 3e-4,
    trunk_rate: float = 6e-5,
    frozen_trunk: bool = False,
) -> Recipe:
    """``videos`` in any ``format`` that ``masklet convert --help`` lists, ``pictures`` in that of SA-1B, if any.

    ``weights`` are those of an earlier stage; without them training starts from nothing, where the published networks
    started from a trunk that had learned from ImageNet alone. ``trunk_rate`` and ``frozen_trunk`` are for the whole
    image encoder, the neck included.
    """
    trunk = network.partition("hiera-")[2]
    moving = DatasetClips(open_dataset(format, videos, split or None), ClipSampling(frames, (size, size), objects))
    sources = [Source(Augmented(moving.clip, Augmentation()), clips=1, weight=1 - picture_share, name="videos")]
    if pictures != Path():
        still = DatasetClips(open_dataset("sa1b", pictures), ClipSampling(1, (size, size), picture_objects))
        changed = Augmented(still.clip, Augmentation(mosaic=0))
        sources.append(Source(changed, clips=PICTURES, weight=picture_share, name="pictures"))
    return Recipe(
        config=with_image_size(MODELS[network], size),
        start=StartFrom(weights) if weights else from_nothing,
        sources=tuple(sources),
        schedule=Cosine(steps, warmup=min(warmup, steps // 10), final=0.1),
        rates=Rates(
            heads=rate,
            trunk=trunk_rate,
            neck=trunk_rate,
            layer_decay=LAYER_DECAY[trunk],
            decays_vectors=True,
            drop_path=DROP_PATH[trunk],
            dropout=0.1,
            frozen=("trunk.", "neck.") if frozen_trunk else (),
        ),
        simulation=Simulation(as_in_use=False),
        losses=LossWeights(as_answered=True),
        parts=parts,
        recompute=True,
        sharded=trunk == "large",
        workers=4,
        save_every=500,
        picture_every=2000,
        released_as=MODELS[network],
        notes={"recipe": "recipes/sam2.py", "start": weights or "nothing"},
    )


def from_nothing(network: SegmentationNetwork) -> None:
    """The weights a new network has."""
