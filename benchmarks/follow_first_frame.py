"""How well objects are followed from their first frame, beside two trackers that need no network.

Measured: J&F over the sequences of a DAVIS folder, for the first mask given, a box around it, one and three clicks;
for copying the first mask; and for warping it with DIS optical flow. Frames per second include decoding of pictures.

Command: python benchmarks/follow_first_frame.py --root DAVIS --weights pico --out out/follow
Time: minutes for 30 sequences of 35 pictures with the built-in weights on two cores. The last line printed is JSON.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from masklet.cli.options import takes_shortcuts, takes_trades
from masklet.evaluation.datasets import DATASETS
from masklet.evaluation.plan import BASELINES, PROMPTS, Plan, PromptKind, VosProtocol
from masklet.evaluation.report import Row, as_text, report
from masklet.evaluation.run import run
from masklet.model.config import Trades
from masklet.model.precision import PRECISIONS, Precision


@click.command(help=__doc__)
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--dataset", type=click.Choice(list(DATASETS)), default="davis2016", show_default=True)
@click.option("--split", help="[default: the dataset's usual one]")
@click.option("--weights", default="pico", show_default=True)
@click.option("--precision", default="auto", show_default=True, type=click.Choice(PRECISIONS))
@takes_trades
@takes_shortcuts
@click.option(
    "--prompt", "prompts", multiple=True, type=click.Choice(PROMPTS), default=("mask", "box", "1-click", "3-click")
)
@click.option("--baselines/--no-baselines", default=True, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/follow"), show_default=True)
def main(
    root: Path,
    dataset: str,
    split: str | None,
    weights: str,
    precision: Precision,
    trades: Trades,
    keyframes: int,
    still_below: float,
    prompts: tuple[PromptKind, ...],
    baselines: bool,
    out: Path,
) -> None:
    chosen = Plan(
        dataset,
        str(root),
        split,
        VosProtocol("mask"),
        weights=weights,
        precision=precision,
        trades=trades,
        keyframes=keyframes,
        still_below=still_below,
    )
    plans: dict[str, Plan] = {prompt: replace(chosen, protocol=VosProtocol(prompt)) for prompt in prompts}
    for name in BASELINES if baselines else ():
        plans[name] = replace(chosen, runner=name)
    means: dict[str, Row] = {}
    for name, plan in plans.items():
        found = report(plan, run(plan, out / name))
        found.save(out / name)
        means[name] = found.means
    print(as_text([{"shown": name, **of_plan} for name, of_plan in means.items()]))
    print(json.dumps({name: {"jf": of_plan["jf"], "fps": of_plan["fps"]} for name, of_plan in means.items()}))


if __name__ == "__main__":
    main()
