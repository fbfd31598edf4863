"""The machine that a benchmark runs on, for its results."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

KNOWS = {
    "AVX2": "_is_avx2_supported",
    "AVX-512": "_is_avx512_supported",
    "bfloat16": "_is_avx512_bf16_supported",
    "AMX": "_is_amx_tile_supported",
}
"""What decides how fast large products are, by torch's names."""


def machine() -> dict[str, Any]:
    return {
        "processor": _model() or platform.processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "instructions": os.environ.get("ONEDNN_MAX_CPU_ISA", "all"),
        "knows": [name for name, found in KNOWS.items() if getattr(torch.cpu, found, bool)()],
    }


def _model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
