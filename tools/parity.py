"""Compare masklet with the published SAM 2, number by number.

    python tools/parity.py tests/parity/cases.json tests/parity/golden

Runs every case of a case file on seeded weights and compares with the outputs of the published system (PyPI sam2
1.1.0, float32 on the CPU). Prints per case the largest difference relative to the golden array's deviation, the lowest
mask IoU, and the largest differences of predicted IoU (absolute) and area (relative). Exit status 1 if one is beyond
its tolerance. The case format is described in tests/parity/README.md. Needs no downloads; minutes on two cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from masklet.checkpoints import from_published
from masklet.checkpoints.loading import build_network
from masklet.model.config import MODELS
from masklet.model.precision import Precision
from masklet.model.sam2 import SegmentationNetwork
from masklet.prompts import Box, Mask, Points, Prompt
from masklet.sessions.image import ImageSession
from masklet.sessions.results import FrameResult
from masklet.sessions.settings import VideoSettings
from masklet.sessions.video import VideoSession

OWN_REFERENCE = Path(__file__).resolve().parents[1] / "tests" / "parity"
AS_PUBLISHED = VideoSettings(
    corrections="published", checks_prompts=False, max_hole_area=0, compact=False, cached_frames=16
)


@dataclass(frozen=True)
class Differences:
    """The worst of a set of compared arrays."""

    relative: float = 0.0
    """Largest difference of logits and features, in standard deviations of the golden array."""
    mask_iou: float = 1.0
    iou: float = 0.0
    """Largest difference of predicted IoU."""
    area: float = 0.0
    """Largest relative difference of areas."""

    def worst(self, other: Differences) -> Differences:
        return Differences(
            max(self.relative, other.relative),
            min(self.mask_iou, other.mask_iou),
            max(self.iou, other.iou),
            max(self.area, other.area),
        )

    def is_within(self, limit: Differences) -> bool:
        return (
            self.relative <= limit.relative
            and self.mask_iou >= limit.mask_iou
            and self.iou <= limit.iou
            and self.area <= limit.area
        )


LOW_RES_STEP, LOGITS_STEP = 4, 8
"""The golden files hold every so many-th logit along both sides, of image cases and of video cases."""
TOLERANCES = {
    "image": Differences(relative=1e-4, mask_iou=0.9999, iou=1e-4, area=1e-3),
    "video": Differences(relative=2e-3, mask_iou=0.999, iou=1e-4, area=1e-3),
}


class Reference:
    """A folder with ``scenes.py``, ``weights.py`` and ``keys``: pictures and weights that need not be stored."""

    def __init__(self, folder: Path, precision: Precision = "exact"):
        self._precision: Precision = precision
        self._scenes = _module(folder / "scenes.py")
        self._weights = _module(folder / "weights.py")
        self.network = lru_cache(maxsize=1)(self._network)

    def picture(self, scene: Mapping[str, Any], t: int = 0) -> np.ndarray:
        """Picture ``t`` of a scene, RGB uint8 (height, width, 3)."""
        return self._scenes.frame(scene["scene"], t, scene.get("height", 540), scene.get("width", 960))

    def _network(self, config: str) -> SegmentationNetwork:
        published = {name: torch.from_numpy(array) for name, array in self._weights.state_dict(config).items()}
        model = MODELS[config.replace("_hiera_", "-hiera-").replace("base_plus", "base-plus")]
        network = build_network(model, from_published(published), source=f"seeded weights of {config}")
        return network.set_precision(self._precision).eval()


def run_case(case: Mapping[str, Any], reference: Reference, *, whole: bool = False) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a case one by one, named as in the golden file; ``whole``: with every logit of their masks."""
    runs: dict[str, Callable[..., Iterator[tuple[str, np.ndarray]]]] = {"image": image_case, "video": video_case}
    steps = {"image": LOW_RES_STEP, "video": LOGITS_STEP}
    return runs[case["kind"]](case, reference, 1 if whole else steps[case["kind"]])


def image_case(case: Mapping[str, Any], reference: Reference, every: int) -> Iterator[tuple[str, np.ndarray]]:
    """Prompts one after another on one picture."""
    session = ImageSession(reference.network(case["config"]), checks_prompts=False)
    session.set_image(reference.picture(case["image"], case["image"].get("t", 0)))
    with torch.inference_mode():
        yield "embedding", session.network.without_memory(session.features)[0, ::16, ::8, ::8].numpy()
    yield "stride8", session.features.stride8_bchw[0, ::16, ::16, ::16].numpy()
    yield "stride4", session.features.stride4_bchw[0, ::16, ::32, ::32].numpy()
    best: list[np.ndarray] = []
    for i, prompt in enumerate(case["prompts"]):
        mask = best[prompt["mask_from"]] if "mask_from" in prompt else None
        result = session.predict(_points(prompt), _box(prompt), mask, candidates=prompt.get("multimask", True))
        best.append(result.best_low_res)
        yield f"prompt{i}.low_res", result.low_res[..., ::every, ::every]
        yield f"prompt{i}.iou", result.iou
        yield f"prompt{i}.area", result.masks.sum(axis=(-2, -1))


def video_case(case: Mapping[str, Any], reference: Reference, every: int) -> Iterator[tuple[str, np.ndarray]]:
    """Steps of a session: prompts, propagations, removals."""
    scene = case["frames"]
    frames = [reference.picture(scene, t) for t in range(scene["start"], scene["stop"])]
    with VideoSession(reference.network(case["config"]), frames, AS_PUBLISHED) as session:
        for i, step in enumerate(case["steps"]):
            if step["op"] == "propagate":
                span = {"start": step.get("start"), "max_frames": step.get("max_frames")}
                for result in session.propagate(**span, reverse=step.get("reverse", False)):
                    yield from _arrays(f"step{i}.frame{result.frame}", result, every)
            elif step["op"] == "remove":
                session.remove(step["object"])
            else:
                prompts = [_ellipse(step, session.video_hw)] if step["op"] == "mask" else _clicks(step)
                replaces = step.get("clear_old_points", True)
                result = session.prompt(step["frame"], step["object"], *prompts, replace=replaces)
                yield from _arrays(f"step{i}", result, every)


def compare(golden: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray]) -> Differences:
    """The worst difference. Raises ValueError where arrays are missing, too many, of another shape or not finite."""
    if unexpected := sorted(ours.keys() - golden.keys()):
        raise ValueError(f"{len(unexpected)} arrays which the published one did not give: {', '.join(unexpected[:5])}")
    worst = Differences()
    for name, array in golden.items():
        if name not in ours or ours[name].shape != array.shape:
            got = ours[name].shape if name in ours else "nothing"
            raise ValueError(f"{name}: expected shape {array.shape}, got {got}")
        if not np.isfinite(ours[name]).all():
            raise ValueError(f"{name}: expected finite numbers, got others among them")
        worst = worst.worst(_compare_array(name, array, ours[name]))
    return worst


def _compare_array(name: str, golden: np.ndarray, ours: np.ndarray) -> Differences:
    difference = np.abs(golden.astype(np.float64) - ours).max(initial=0)
    kind = name.rsplit(".", 1)[-1]
    if kind == "objects" and difference:
        raise ValueError(f"{name}: expected objects {golden.tolist()}, got {ours.tolist()}")
    if kind == "objects":
        return Differences()
    if kind == "area":
        return Differences(area=float((np.abs(golden - ours) / np.maximum(golden, 1)).max(initial=0)))
    if kind == "iou":
        return Differences(iou=float(difference))
    relative = float(difference / (golden.std() or 1.0))
    return Differences(relative, _mask_iou(golden > 0, ours > 0) if kind in ("logits", "low_res") else 1.0)


def _mask_iou(golden: np.ndarray, ours: np.ndarray) -> float:
    """The lowest IoU of masks (..., h, w); 1 where both are empty."""
    both = (golden & ours).sum(axis=(-2, -1))
    either = (golden | ours).sum(axis=(-2, -1))
    return float(np.where(either, both / np.maximum(either, 1), 1).min(initial=1))


def _arrays(prefix: str, result: FrameResult, every: int) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{prefix}.objects", np.array(result.objects)
    yield f"{prefix}.logits", result.logits_ohw[:, ::every, ::every]
    yield f"{prefix}.area", result.masks_ohw.sum(axis=(1, 2))[:, None]


def _points(prompt: Mapping[str, Any]) -> Points | list[Points] | None:
    if "points" not in prompt:
        return None
    if np.ndim(prompt["points"]) == 3:
        return [Points(xy, labels) for xy, labels in zip(prompt["points"], prompt["labels"], strict=True)]
    return Points(prompt["points"], prompt["labels"])


def _box(prompt: Mapping[str, Any]) -> Box | list[Box] | None:
    if "box" not in prompt:
        return None
    return Box.of(prompt["box"]) if np.ndim(prompt["box"]) == 1 else [Box.of(box) for box in prompt["box"]]


def _clicks(step: Mapping[str, Any]) -> list[Prompt]:
    box = [Box.of(step["box"])] if step.get("box") is not None else []
    return [*box, *([Points(step["points"], step["labels"])] if step.get("points") else [])]


def _ellipse(step: Mapping[str, Any], video_hw: tuple[int, int]) -> Mask:
    cx, cy, rx, ry = step["ellipse"]
    y, x = np.mgrid[: video_hw[0], : video_hw[1]]
    return Mask(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1)


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"reference_{path.stem}", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"{path} does not exist; say with --reference where scenes.py and weights.py are")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _report(case: Mapping[str, Any], reference: Reference, golden: Path) -> bool:
    """Run and print one case; whether it is within tolerance."""
    try:
        with np.load(golden / f"{case['name']}.npz") as arrays:
            found = compare(dict(arrays), dict(run_case(case, reference)))
    except (ValueError, FileNotFoundError) as error:
        print(f"{case['name']:40} FAILED  {error}", flush=True)
        return False
    passes = found.is_within(TOLERANCES[case["kind"]])
    print(
        f"{case['name']:40} {'ok' if passes else 'FAILED'}  difference {found.relative:.1e}  "
        f"mask IoU {found.mask_iou:.5f}  predicted IoU {found.iou:.1e}  area {found.area:.1e}",
        flush=True,
    )
    return passes


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cases", type=Path, help="case file")
    parser.add_argument("golden", type=Path, help="folder with <case>.npz")
    parser.add_argument(
        "--reference", type=Path, help="folder of scenes.py, weights.py and keys (default: the case file's, or our own)"
    )
    parser.add_argument(
        "--precision", choices=("exact", "plain"), default="exact", help="how masklet computes in float32"
    )
    arguments = parser.parse_args()
    beside = arguments.cases.parent
    reference = Reference(
        arguments.reference or (beside if (beside / "weights.py").exists() else OWN_REFERENCE), arguments.precision
    )
    cases = sorted(json.loads(arguments.cases.read_text()), key=lambda case: case["config"])
    passed = [_report(case, reference, arguments.golden) for case in cases]
    print(f"{sum(passed)} of {len(passed)} cases within tolerance")
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
