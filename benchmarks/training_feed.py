"""How fast the clips that training learns from are made, and how long training waits for them.

Measured: clips per second of every kind that a folder of assets gives material for, made one after the other by one
process of one thread, for each of --sizes; and a short training with the steps of recipes/pico.py, whose clips another
process makes meanwhile: the share of its time that it waits for the next batch. The first clips of a kind and the first
steps, which read pictures or fill the queue, are not counted. Should training wait for more than a twentieth of its
time, more workers or fewer threads for the network would help.

Command: python benchmarks/training_feed.py assets size=352 frames=8 clips=3
(every NAME=VALUE sets an option of the recipe; ASSETS is laid out as ``masklet.data.material`` says)
Time: some minutes on two cores; less with a smaller --clips and --steps. The last line is JSON.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from machine import machine
from masklet.data.synthetic import SyntheticClips
from masklet.process import keep_freed_memory
from masklet.training.batches import mixed_seed
from masklet.training.loop import Run
from masklet.training.recipes import read_recipe
from masklet.training.report import LOG, read_lines

RECIPE = Path(__file__).parents[1] / "recipes/pico.py"
UNCOUNTED_CLIPS = 5
UNCOUNTED_STEPS = 8
"""Twice as many batches as the loader makes ahead."""


@click.command(help=__doc__)
@click.argument("assets", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--sizes", default="256,352", show_default=True, help="Sides of the clips in pixels.")
@click.option("--frames", default=6, show_default=True, type=click.IntRange(min=1), help="Of a clip.")
@click.option("--clips", default=40, show_default=True, type=click.IntRange(min=1), help="Of every kind and size.")
@click.option("--steps", default=40, show_default=True, type=click.IntRange(min=1), help="Of the training.")
@click.option("--threads", type=click.IntRange(min=1), help="Of the network.  [default: torch's]")
def main(
    assets: Path, settings: tuple[str, ...], sizes: str, frames: int, clips: int, steps: int, threads: int | None
) -> None:
    keep_freed_memory()
    made = {size: speeds(assets, frames, int(size), clips) for size in sizes.split(",")}
    if threads:
        torch.set_num_threads(threads)
    told = {
        "machine": machine(),
        "frames": frames,
        "clips_per_second": made,
        "settings": settings,
        "training": waiting(assets, settings, steps),
    }
    print(json.dumps(told))


def speeds(assets: Path, frames: int, size: int, count: int) -> dict[str, float]:
    """Clips per second of every kind."""
    clips, found = SyntheticClips(assets, frames=frames, size=size), {}
    for kind in tuple(clips.kinds):
        clips.kinds = [kind]
        for index in range(UNCOUNTED_CLIPS):
            clips.clip(mixed_seed(0, index))
        started = time.perf_counter()
        for index in tqdm(range(count), desc=f"{kind} {size}", unit="clip"):
            clips.clip(mixed_seed(1, index))
        found[kind] = round(count / (time.perf_counter() - started), 2)
    return found


def waiting(assets: Path, settings: tuple[str, ...], steps: int) -> dict[str, Any]:
    """Of a training from the built-in weights: share of waiting, seconds and clips per step."""
    whole = UNCOUNTED_STEPS + steps
    short = [f"steps={whole}", f"save_every={whole}"]
    recipe = read_recipe(RECIPE, [f"assets={assets}", "weights=pico", *short, *settings])
    with tempfile.TemporaryDirectory() as folder:
        Run(recipe, Path(folder)).train()
        counted = read_lines(Path(folder) / LOG)[UNCOUNTED_STEPS:]
    learned, waited = (sum(line[name] for line in counted) for name in ("seconds", "waited"))
    return {
        "waits": round(waited / (learned + waited), 3),
        "seconds_per_step": round((learned + waited) / steps, 3),
        "clips_per_second": round(sum(line["clips"] for line in counted) / (learned + waited), 2),
        "workers": recipe.workers,
        "steps": steps,
    }


if __name__ == "__main__":
    main()
