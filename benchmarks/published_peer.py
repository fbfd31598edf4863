"""Whether evaluations give the same masks and scores with the published package as with masklet itself.

Measured: for a clip of a few frames, drawn by tests/parity, with one object shown by its mask, its box or three clicks,
or with a second one that appears later, the lowest IoU between the two systems' predictions of an object, the largest
share of a frame's pixels in which they differ, and the difference of J&F. Both load one checkpoint of seeded weights,
so nothing is downloaded; what such weights predict is no object, but it is the same for both.

Objects may overlap here: with seeded weights they are alike, and the last digit would say whose a pixel is.

The package fills holes of a mask by an extension that its wheel does not have, so they stay, with a warning. masklet is
told to leave them too: it fills them otherwise, and masks of seeded weights are full of holes.

Command: .venv-peers/bin/python benchmarks/published_peer.py --frames 4
Needs the environment that benchmarks/peers.py makes. Time: 2 minutes a frame and case on two slow cores; --image-size
256 takes a sixteenth of that. The last line printed is JSON; exit status 1 if the masks or the scores are not the same.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

from masklet.checkpoints import load_network
from masklet.evaluation.datasets import dataset_named
from masklet.evaluation.folders import annotated_videos
from masklet.evaluation.plan import Plan, PromptKind, VosProtocol
from masklet.evaluation.published import PublishedRunner
from masklet.evaluation.report import report
from masklet.evaluation.runners import Runner, make_runner
from masklet.evaluation.sessions import SessionRunner
from masklet.evaluation.vos import measure
from masklet.metrics import iou
from masklet.model.sam2 import SegmentationNetwork

PARITY = Path(__file__).resolve().parents[1] / "tests" / "parity"
CHECKPOINT, PEER_CONFIG = "sam2.1_hiera_tiny", "configs/sam2.1/sam2.1_hiera_t.yaml"
USUAL_SIZE = 1024
MIN_IOU = 0.999
MAX_DIFFERING = 0.0005
"""Of a frame's pixels, for objects so small that rounding of a few of them tells in the IoU."""
MAX_DIFFERENCE = 0.002
"""Of J&F: what rounding of single pixels on the contours comes to."""


def module(name: str) -> ModuleType:
    spec = spec_from_file_location(f"parity_{name}", PARITY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def write_checkpoint(path: Path) -> None:
    tensors = {name: torch.from_numpy(array) for name, array in module("weights").state_dict(CHECKPOINT).items()}
    torch.save({"model": tensors}, path)


@dataclass(frozen=True)
class Case:
    """How objects are shown, and from which frame on each is there."""

    prompt: PromptKind
    since: tuple[int, ...] = (0,)


CASES = {
    "mask": Case("mask"),
    "box": Case("box"),
    "clicks": Case("3-click"),
    "two objects": Case("mask", since=(0, 1)),
}


def write_clip(root: Path, frames: int, video_hw: tuple[int, int], since: tuple[int, ...]) -> None:
    """The annotations are still ellipses side by side, with a last frame that does not count."""
    pictures, annotations = root / "JPEGImages" / "clip", root / "Annotations" / "clip"
    pictures.mkdir(parents=True)
    annotations.mkdir(parents=True)
    height, width = video_hw
    y, x = np.mgrid[:height, :width]
    for frame in range(frames):
        ids_hw = np.zeros(video_hw, dtype=np.uint8)
        for obj, first in enumerate(since, start=1):
            centre = obj / (len(since) + 1)
            inside = ((x / width - centre) / 0.15) ** 2 + ((y / height - 0.5) / 0.3) ** 2 <= 1
            ids_hw[inside & (frame >= first)] = obj
        Image.fromarray(module("scenes").frame(3, frame, height, width)).save(pictures / f"{frame:05d}.jpg", quality=95)
        Image.fromarray(ids_hw).save(annotations / f"{frame:05d}.png")


def theirs(plan: Plan, image_size: int) -> Runner:
    """As the command has it, if the pictures are of the usual size."""
    if image_size == USUAL_SIZE:
        return make_runner(replace(plan, runner="sam2"))
    build = import_module("sam2.build_sam").build_sam2_video_predictor
    override = [f"++model.image_size={image_size}"]
    predictor = build(PEER_CONFIG, plan.weights, device="cpu", hydra_overrides_extra=override)
    return PublishedRunner(predictor, corrections_condition=True)


def ours(plan: Plan, image_size: int) -> Runner:
    """The same of masklet, in float32 as the package computes. Holes stay, as they do with it."""
    network = load_network(plan.weights, device="cpu", precision="exact")
    if image_size != USUAL_SIZE:
        weights = network.state_dict()
        network = SegmentationNetwork(replace(network.config, image_size=image_size))
        network.load_state_dict(weights)
    return SessionRunner(network, corrections=plan.corrections, max_hole_area=0)


def evaluated(runner: Runner, plan: Plan, out: Path) -> tuple[list[np.ndarray], float, float]:
    """The predicted masks of every object and frame, J&F and seconds."""
    begin = time.perf_counter()
    (video,) = annotated_videos(dataset_named(plan.dataset), plan.root)
    score = report(plan, [measure(video, runner, plan, out)]).means["jf"]
    return predictions(out), score, time.perf_counter() - begin


def predictions(out: Path) -> list[np.ndarray]:
    masks = []
    for path in sorted((out / "predictions" / "clip").glob("*/*.png")):
        with Image.open(path) as picture:
            masks.append(np.asarray(picture) > 0)
    return masks


def compare(case: Case, frames: int, size: tuple[int, int], image_size: int) -> dict[str, Any]:
    """Both systems on one clip."""
    with TemporaryDirectory() as folder:
        root, weights = Path(folder, "data"), Path(folder, f"{CHECKPOINT}.pt")
        write_clip(root, frames, size, case.since)
        write_checkpoint(weights)
        plan = Plan(
            "folder", str(root), None, VosProtocol(case.prompt, overlap=True), weights=str(weights), device="cpu"
        )
        peer, peer_score, peer_seconds = evaluated(theirs(plan, image_size), plan, Path(folder, "theirs"))
        own, own_score, own_seconds = evaluated(ours(plan, image_size), plan, Path(folder, "ours"))
    pairs = list(zip(peer, own, strict=True))
    return {
        "lowest_iou": min(iou(a, b) for a, b in pairs),
        "most_differing": max(float((a != b).mean()) for a, b in pairs),
        "jf": own_score,
        "jf_difference": abs(own_score - peer_score),
        "areas": [round(float(mask_hw.mean()), 4) for mask_hw in own],
        "their_seconds": peer_seconds,
        "our_seconds": own_seconds,
    }


def agrees(case: dict[str, Any]) -> bool:
    """Whether masks and scores are the same, and the masks say something: they are neither empty nor all there is."""
    is_same = case["lowest_iou"] >= MIN_IOU or case["most_differing"] <= MAX_DIFFERING
    return is_same and case["jf_difference"] <= MAX_DIFFERENCE and 0 < max(case["areas"][1:]) < 1


@click.command(help=__doc__)
@click.option("--frames", default=4, show_default=True, type=click.IntRange(min=4))
@click.option("--size", nargs=2, default=(120, 180), show_default=True, help="Height and width of the frames.")
@click.option("--image-size", default=USUAL_SIZE, show_default=True, help="Side of the square that the networks see.")
@click.option("--case", "cases", multiple=True, type=click.Choice(list(CASES)), default=tuple(CASES))
def main(frames: int, size: tuple[int, int], image_size: int, cases: Sequence[str]) -> None:
    report: dict[str, dict[str, Any]] = {}
    for case in cases:
        report[case] = compare(CASES[case], frames, size, image_size)
        print(case, report[case], flush=True)
    print(json.dumps({"frames": frames, **report}))
    sys.exit(0 if all(map(agrees, report.values())) else 1)


if __name__ == "__main__":
    main()
