"""How well objects are followed from their first frame, beside two trackers that need no network.

Measured: J&F over the sequences of a DAVIS folder, for the first mask given, a box around it, one and three clicks;
for copying the first mask; and for warping it with DIS optical flow. Frames per second include decoding of pictures.

Command: python benchmarks/follow_first_frame.py --root DAVIS --weights pico --out out/follow
Time: minutes for 30 sequences of 35 pictures with the built-in weights on two cores. The last line printed is JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import click

from masklet.checkpoints import load_network
from masklet.evaluation.baselines import copy_first_mask, follow_flow
from masklet.evaluation.davis import davis_videos
from masklet.evaluation.sessions import session_tracker
from masklet.evaluation.user import PromptKind
from masklet.evaluation.vos import Tracker, VosResult, compare, evaluate_vos

KINDS = get_args(PromptKind)


@click.command(help=__doc__)
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--image-set", help='Such as "2016/val"; all sequences by default.')
@click.option("--weights", default="pico", show_default=True)
@click.option(
    "--prompt", "prompts", multiple=True, type=click.Choice(KINDS), default=("mask", "box", "1-click", "3-click")
)
@click.option("--baselines/--no-baselines", default=True, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/follow"), show_default=True)
def main(
    root: Path, image_set: str | None, weights: str, prompts: tuple[PromptKind, ...], baselines: bool, out: Path
) -> None:
    videos = davis_videos(root, image_set)
    results: dict[str, VosResult] = {}
    rivals: dict[str, Tracker] = {"copy": copy_first_mask, "flow": follow_flow} if baselines else {}
    for name, tracker in rivals.items():
        results[name] = evaluate_vos(tracker, videos)
    network = load_network(weights)
    for prompt in prompts:
        results[prompt] = evaluate_vos(session_tracker(network), videos, prompt)
    for name, result in results.items():
        result.save(out, name)
    print(compare(results))
    print(json.dumps({name: {"jf": result.mean.mean, "fps": result.fps} for name, result in results.items()}))


if __name__ == "__main__":
    main()
