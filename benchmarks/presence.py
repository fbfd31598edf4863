"""Whether an object that leaves the picture, or is hidden altogether, is reported absent.

Measured: over synthetic clips in which an object disappears, every object shown by its mask on the first frame, the
share of all later frames whose answer (there or not) is right, the share of the frames with it and of those without it
that are, and the mean of these two. Frames that show less than a tenth of what the first one shows do not count: there
it is no matter of right or wrong. Seeds are far from those of training; its pictures are the same.

Command: python benchmarks/presence.py --assets ASSETS --weights pico --clips 60
ASSETS is laid out as ``masklet.data.material`` says. Time: two minutes on two cores. The last line printed is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from masklet import Mask, VideoSession, load
from masklet.data.synthetic import Clip, SyntheticClips
from masklet.model.precision import PRECISIONS, Precision

SEEDS_FROM = 1 << 40
LEAST_SEEN = 0.1
SIZE = 448


@click.command(help=__doc__)
@click.option("--assets", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--weights", default="pico", show_default=True)
@click.option("--precision", default="auto", show_default=True, type=click.Choice(PRECISIONS))
@click.option("--clips", default=60, show_default=True, type=click.IntRange(min=1))
@click.option("--frames", default=16, show_default=True, type=click.IntRange(min=2), help="Frames a clip.")
def main(assets: Path, weights: str, precision: Precision, clips: int, frames: int) -> None:
    network = load(weights, precision=precision)
    answers: dict[bool, list[bool]] = {True: [], False: []}
    made = disappearing(SyntheticClips(assets, frames=frames, size=SIZE))
    for _, (clip, target) in zip(tqdm(range(clips)), made, strict=False):
        truth_fhw = clip.masks_ofhw[target]
        pixels_f = truth_fhw.sum((1, 2))
        with VideoSession(network, clip.frames_fhwc) as session:
            session.prompt(0, 1, Mask(truth_fhw[0]))
            for result in session.propagate():
                pixels = pixels_f[result.frame]
                if result.frame and (pixels == 0 or pixels >= LEAST_SEEN * pixels_f[0]):
                    answers[bool(pixels)].append(bool(result[1].presence > 0.5))
    there, gone = np.array(answers[True]), ~np.array(answers[False])
    found = {
        "clips": clips,
        "frames": len(there) + len(gone),
        "absent": len(gone),
        "accuracy": float(np.concatenate([there, gone]).mean()),
        "right where there": float(there.mean()),
        "right where absent": float(gone.mean()),
        "balanced": float((there.mean() + gone.mean()) / 2),
    }
    for name, number in found.items():
        print(f"{name:20} {number:.3f}" if isinstance(number, float) else f"{name:20} {number}")
    print(json.dumps(found))


def disappearing(clips: SyntheticClips) -> Iterator[tuple[Clip, int]]:
    """Clips, with the number of an object that is not to be seen on some of their frames."""
    seed = SEEDS_FROM
    while True:
        clip = clips.clip(seed)
        seed += 1
        seen_of = clip.masks_ofhw.any((2, 3))
        gone = np.flatnonzero(np.logical_not(seen_of).any(axis=1))
        if len(gone):
            yield clip, int(gone[0])


if __name__ == "__main__":
    main()
