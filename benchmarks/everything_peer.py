"""Whether automatic masks equal those of the published generator, and how long both take.

Measured: for several settings and all output modes, the number of masks on both sides, the lowest IoU between a mask
and its counterpart, the largest differences of box, point and crop (pixels), predicted IoU and stability, and seconds.
The weights are seeded and the picture is drawn by tests/parity, so nothing is downloaded. With such weights few masks
are good ones and all are much alike: all are kept, but in the cases `nms`, `crop nms` and `thresholds`, which is set to
keep about a quarter.

Command: .venv-peers/bin/python benchmarks/everything_peer.py --points 4 --image-size 256
Needs the environment that benchmarks/peers.py makes. Time: a minute or two on two cores. The last line printed is JSON;
exit status 1 if a mask, or anything that is said of it, is not the same within LIMITS.

Small regions: the package hands their area to an extension that its wheel does not have. Here the function that it
keeps for that purpose, ``postprocess_small_regions``, is called after it.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import numpy as np
import torch

from masklet import masks
from masklet.checkpoints import from_published
from masklet.model.config import MODELS
from masklet.model.sam2 import SegmentationNetwork
from masklet.sessions.everything import MaskGenerator

PARITY = Path(__file__).resolve().parents[1] / "tests" / "parity"
CONFIG, PEER_CONFIG = "sam2.1_hiera_tiny", "configs/sam2.1/sam2.1_hiera_t.yaml"
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "binary masks": {"output_mode": "binary_mask"},
    "uncompressed": {"output_mode": "uncompressed_rle"},
    "nms": {"box_nms_thresh": 0.98},
    "thresholds": {},
    "own points": {"points_per_side": None, "point_grids": (np.array([[0.2, 0.3], [0.5, 0.5], [0.9, 0.4]]),)},
    "crops": {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
    "two layers": {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
    "crop overlap": {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2, "crop_overlap_ratio": 0.6},
    "crop nms": {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2, "crop_nms_thresh": 0.9},
    "refined": {"use_m2m": True},
    "single": {"multimask_output": False},
    "threshold": {"mask_threshold": 1.5, "stability_score_offset": 0.5},
    "regions": {"min_mask_region_area": 300},
}
LIMITS = {"bbox": 1.0, "predicted_iou": 1e-3, "stability_score": 5e-3, "point_coords": 1e-3, "crop_box": 0.0}
"""The largest difference of a record's value that counts as none: rounding may move a pixel over the threshold."""
MIN_IOU = 0.999
Records = list[dict[str, Any]]


def published_weights() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in module("weights").state_dict(CONFIG).items()}


def our_network(image_size: int) -> SegmentationNetwork:
    network = SegmentationNetwork(replace(MODELS[CONFIG.replace("_hiera_", "-hiera-")], image_size=image_size))
    network.load_state_dict(from_published(published_weights()))
    return network


def their_network(image_size: int) -> Any:
    override = [f"++model.image_size={image_size}"]
    network = import_module("sam2.build_sam").build_sam2(PEER_CONFIG, device="cpu", hydra_overrides_extra=override)
    network.load_state_dict(published_weights())
    return network


def theirs(network: Any, picture: np.ndarray, settings: dict[str, Any]) -> Records:
    kind = import_module("sam2.automatic_mask_generator").SAM2AutomaticMaskGenerator
    min_area = settings.get("min_mask_region_area", 0)
    generator = kind(network, **{**settings, "min_mask_region_area": 0})
    side = network.image_size
    generator.predictor._bb_feat_sizes = [(side // stride, side // stride) for stride in (4, 8, 16)]
    if min_area:
        search = generator._generate_masks

        def cleaned(image: np.ndarray) -> Any:
            found = search(image)
            found["boxes"], tensor = torch.from_numpy(found["boxes"]), found["boxes"]
            limit = max(generator.box_nms_thresh, generator.crop_nms_thresh)
            result = kind.postprocess_small_regions(found, min_area, limit)
            result["boxes"] = result["boxes"].numpy() if len(tensor) else tensor
            return result

        generator._generate_masks = cleaned
    return [record for record in generator.generate(picture) if record["area"]]


def ours(network: SegmentationNetwork, picture: np.ndarray, settings: dict[str, Any]) -> Records:
    return MaskGenerator(network, **settings).records(picture)


def middle_thresholds(records: Records) -> dict[str, float]:
    """Thresholds between the two middle values, so that none lies on a threshold."""
    found = {}
    for setting, name in (("pred_iou_thresh", "predicted_iou"), ("stability_score_thresh", "stability_score")):
        values = sorted(record[name] for record in records)
        found[setting] = float(np.mean(values[(len(values) - 1) // 2 : len(values) // 2 + 1]))
    return found


def compare(peer: Records, own: Records) -> dict[str, float]:
    """Masks in their order; extra ones count as IoU 0."""
    pairs = list(zip(peer, own, strict=False))
    worst = {name: max((difference(name, a, b) for a, b in pairs), default=0.0) for name in LIMITS}
    lowest = min((iou(a["segmentation"], b["segmentation"]) for a, b in pairs), default=1.0)
    return {"theirs": len(peer), "ours": len(own), "lowest_iou": lowest if len(peer) == len(own) else 0.0, **worst}


def agrees(case: dict[str, float]) -> bool:
    """Whether nothing of a case differs by more than rounding."""
    return case["lowest_iou"] >= MIN_IOU and all(case[name] <= limit for name, limit in LIMITS.items())


def difference(name: str, a: dict[str, Any], b: dict[str, Any]) -> float:
    return float(np.abs(np.subtract(a[name], b[name])).max())


def iou(a: Any, b: Any) -> float:
    """Of two masks in the same output mode."""
    assert type(a) is type(b), f"expected one output mode, got {type(a)} and {type(b)}"
    first, second = (one if isinstance(one, np.ndarray) else masks.decode_rle(one) for one in (a, b))
    return float((first & second).sum() / (first | second).sum())


def timed(run: Callable[..., Records], *arguments: Any) -> tuple[Records, float]:
    begin = time.perf_counter()
    return run(*arguments), time.perf_counter() - begin


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"parity_{name}", PARITY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@click.command(help=__doc__)
@click.option("--points", default=4, show_default=True, help="Points per side.")
@click.option("--size", nargs=2, default=(360, 540), show_default=True, help="Height and width of the picture.")
@click.option("--image-size", default=1024, show_default=True, help="Side of the square that the networks see.")
@click.option("--case", "cases", multiple=True, type=click.Choice(list(CASES)), default=tuple(CASES))
def main(
    points: int,
    size: tuple[int, int],
    image_size: int,
    cases: Sequence[str],
) -> None:
    picture = module("scenes").frame(3, 0, *size)
    networks = their_network(image_size), our_network(image_size)
    common = {
        "points_per_side": points,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
        "crop_nms_thresh": 1.0,
        "output_mode": "coco_rle",
    }
    report: dict[str, dict[str, float]] = {}
    for case in cases:
        settings = {**common, **CASES[case]}
        if case == "thresholds":
            settings |= middle_thresholds(theirs(networks[0], picture, common))
        peer, their_seconds = timed(theirs, networks[0], picture, settings)
        own, our_seconds = timed(ours, networks[1], picture, settings)
        report[case] = {**compare(peer, own), "their_seconds": their_seconds, "our_seconds": our_seconds}
        print(case, {name: round(value, 6) for name, value in report[case].items()}, flush=True)
    print(json.dumps(report))
    sys.exit(0 if all(map(agrees, report.values())) else 1)


if __name__ == "__main__":
    main()
