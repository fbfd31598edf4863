"""Networks that torch.compile translates into code of their own."""

from __future__ import annotations

import shutil

import torch

from masklet.model.sam2 import SegmentationNetwork

SAME_SIZES = ("trunk", "neck")
"""Parts that see one frame of one size again and again."""
OTHER_SIZES = ("memory_attention", "memory_encoder", "mask_decoder")
"""Parts that see now more, now fewer objects and memories; they are translated once for all of these."""


def compile_parts(network: SegmentationNetwork, backend: str = "inductor") -> SegmentationNetwork:
    """Have the large parts translated when each is first used. Returns the network itself.

    That takes a minute or more, for each size of picture anew, and pays for long videos on a GPU. On a GPU the trunk is
    replayed as a CUDA graph besides: what it gives lies where the next frame's will, and the neck, which alone sees it,
    makes new tensors of it. On processors masklet's own arithmetic is faster than what comes out.

    Raises ValueError where torch.compile lacks a compiler.
    """
    if backend == "inductor":
        _require_compiler(network.device)
    for name in SAME_SIZES:
        replays = network.device.type == "cuda" and name == "trunk"
        mode = "reduce-overhead" if replays else None
        network.get_submodule(name).compile(fullgraph=True, backend=backend, mode=mode)
    for name in OTHER_SIZES:
        network.get_submodule(name).compile(fullgraph=True, dynamic=True, backend=backend)
    return network


def _require_compiler(device: torch.device) -> None:
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            raise ValueError(
                "compiled networks on a GPU need Triton, which is not there; install triton, or leave it out"
            )
    elif shutil.which("g++") is None and shutil.which("clang++") is None:
        raise ValueError(
            "compiled networks need a C++ compiler, found neither g++ nor clang++; install one, or leave it out"
        )
