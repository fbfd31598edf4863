"""What tells two evaluations apart: names of files say too little, their content and how things are computed do."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from masklet.checkpoints.download import sha256_of
from masklet.checkpoints.registry import PUBLISHED, weights_path
from masklet.evaluation.plan import Plan


def identity(plan: Plan) -> dict[str, Any]:
    """What two runs must share so that one can go on with the other's results.

    Raises ValueError or FileNotFoundError for weights or a device that cannot be had.
    """
    about = {name: value for name, value in asdict(plan).items() if name != "device"}
    return {
        "kind": plan.kind,
        **about,
        "root": str(Path(plan.root).expanduser().resolve()),
        "weights_sha256": content_of(plan.weights),
        "precision": precision_of(plan),
    }


def content_of(weights: str) -> str:
    """SHA-256 of named weights or a file, and of the config.json beside it, where there is one."""
    if weights in PUBLISHED:
        return PUBLISHED[weights].sha256
    path = weights_path(weights)
    files = [path / "model.safetensors" if path.is_dir() else path]
    files += [file for file in [files[0].with_name("config.json")] if file.is_file()]
    return "+".join(_hash_of(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


def precision_of(plan: Plan) -> str:
    """How products are computed: "auto" is bfloat16 on some devices and exact on others."""
    import torch

    from masklet.model.arithmetic import choose_arithmetic
    from masklet.model.device import chosen_device

    device = torch.device(chosen_device(plan.device))
    if plan.runner == "sam2":
        return "bfloat16" if device.type == "cuda" else "exact"
    if choose_arithmetic(plan.precision, device).dtype == torch.bfloat16:
        return "bfloat16"
    return "exact" if plan.precision == "auto" else plan.precision


@lru_cache
def _hash_of(file: Path, size: int, changed_ns: int) -> str:
    """Size and time of change are there to tell a file that was written anew."""
    return sha256_of(file)
