"""What the ways that trade accuracy for speed cost, and what they gain.

Measured: J&F over the sequences of a DAVIS folder with the first mask given, and the time that following takes relative
to the network as it was trained. Every way takes its turn on every sequence; what is finished is kept in --out.

Command: python benchmarks/trades.py --root DAVIS --out out/trades
Time: half an hour for 30 sequences of 35 pictures with the built-in weights on two cores. The last line is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from machine import machine
from masklet.evaluation.datasets import DATASETS, dataset_named
from masklet.evaluation.folders import annotated_videos
from masklet.evaluation.plan import Plan, VosProtocol
from masklet.evaluation.report import report
from masklet.evaluation.run import Worker, run
from masklet.model.config import Trades
from masklet.process import keep_freed_memory

AS_TRAINED = "as trained"
WAYS: Mapping[str, Mapping[str, Any]] = {
    AS_TRAINED: {},
    "--fast": {"trades": Trades(fast=True)},
    "--memories 3": {"trades": Trades(memories=3)},
    "--pooled-memory 2": {"trades": Trades(pooled_memory=2)},
    "--detailed-memory 1": {"trades": Trades(detailed_memory=1)},
    "--keyframes 2": {"keyframes": 2},
    "--keyframes 4": {"keyframes": 4},
    "--still-below 4": {"still_below": 4.0},
    "--fast --keyframes 2": {"trades": Trades(fast=True), "keyframes": 2},
}


@click.command(help=__doc__)
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--dataset", type=click.Choice(list(DATASETS)), default="davis2016", show_default=True)
@click.option("--split", help="[default: the dataset's usual one]")
@click.option("--weights", default="pico", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/trades"), show_default=True)
def main(root: Path, dataset: str, split: str | None, weights: str, out: Path) -> None:
    keep_freed_memory()
    base = Plan(dataset, str(root), split, VosProtocol("mask"), weights=weights)
    plans = {name: replace(base, **way) for name, way in WAYS.items()}
    folders = {name: out / name.replace("-", "").replace(" ", "-") for name in plans}
    workers = {name: Worker(plan, folders[name]) for name, plan in plans.items()}
    for video in tqdm(annotated_videos(dataset_named(dataset), str(root), split), unit=" sequences"):
        for name, worker in workers.items():
            if not (folders[name] / "sequences" / f"{video.name}.json").is_file():
                worker.measure(video)
    found: dict[str, Any] = {}
    for name, plan in plans.items():
        measured = run(plan, folders[name], progress=False)
        found[name] = {
            "jf": report(plan, measured).means["jf"],
            "seconds": sum(one["seconds"] for one in measured),
            "frames": sum(one["tracked_frames"] for one in measured),
        }
    for one in found.values():
        one["time"] = one["seconds"] / found[AS_TRAINED]["seconds"]
    for name, one in found.items():
        print(f"{name:24} J&F {one['jf']:.3f}   time {one['time']:.2f}")
    print(json.dumps({"case": "trades", "weights": weights, "machine": machine(), "ways": found}))


if __name__ == "__main__":
    main()
