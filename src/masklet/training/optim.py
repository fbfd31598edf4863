"""Which parameters learn how fast, and when."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from masklet.model.hiera import Hiera
from masklet.model.layers import DropPath, Drops, LayerNorm2d
from masklet.model.sam2 import SegmentationNetwork


class Schedule(Protocol):
    """How the learning rate goes up and down over a run of ``steps`` steps."""

    @property
    def steps(self) -> int:
        """Length of the run."""
        ...

    def factor(self, step: int) -> float:
        """Multiple of the base learning rate at ``step``."""
        ...


def rising(step: int, warmup: int) -> float:
    """Linear warm-up: 0 to 1 over ``warmup`` steps."""
    return min(1.0, (step + 1) / max(warmup, 1))


@dataclass(frozen=True)
class Trapezoid:
    """Warm up, hold, then fall linearly to ``final`` over the last ``decay`` steps. Can be prolonged at any time."""

    steps: int
    warmup: int = 100
    decay: int = 500
    final: float = 0.02

    def factor(self, step: int) -> float:
        left = (self.steps - step) / max(self.decay, 1)
        return rising(step, self.warmup) * min(1.0, max(self.final, left))


@dataclass(frozen=True)
class Cosine:
    """Warm up, then fall along half a cosine to ``final``. Source: Loshchilov and Hutter, arXiv 1608.03983."""

    steps: int
    warmup: int = 1000
    final: float = 0.1

    def factor(self, step: int) -> float:
        if step < self.warmup:
            return rising(step, self.warmup)
        done = min(1.0, (step - self.warmup) / max(self.steps - self.warmup, 1))
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class ReciprocalRoot:
    """Warm up, fall with the root of time, and linearly to 0 at the end. Source: Zhai et al., arXiv 2106.04560."""

    steps: int
    warmup: int = 1000
    timescale: int = 1000
    cooldown: int = 5000

    def factor(self, step: int) -> float:
        slow = math.sqrt(self.timescale / (self.timescale + max(0, step - self.warmup)))
        left = min(1.0, (self.steps - step) / max(self.cooldown, 1))
        return rising(step, self.warmup) * slow * max(0.0, left)


@dataclass(frozen=True)
class Rates:
    """Base learning rates and what else regularises. The defaults are SAM 2's for its tiny and small networks."""

    heads: float = 3e-4
    trunk: float = 6e-5
    neck: float | None = None
    """Of what joins the trunk's maps, which is published as a part of the image encoder; None: that of the heads."""
    weight_decay: float = 0.1
    layer_decay: float = 0.8
    """Each layer of a Hiera trunk learns this much slower than the next one; its positions are no layer."""
    decays_vectors: bool = False
    """Whether all decays but biases and layer normalisation, as published; otherwise positions, scales, vectors and
    the normalisation of maps are spared as well."""
    drop_path: float = 0.1
    """Share of the samples that skip the last block of a Hiera trunk; earlier blocks are skipped less."""
    dropout: float = 0.0
    """Share of the numbers that memory attention leaves out, in each of its layers; published with 0.1."""
    frozen: tuple[str, ...] = ()
    """Prefixes of parameters that do not learn."""


def optimizer(network: SegmentationNetwork, rates: Rates) -> torch.optim.AdamW:
    """AdamW, one group for each pair of rate and decay. Freezes what ``rates`` names and sets its dropout."""
    set_dropout(network, rates.dropout)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(rates.frozen or ("\0",)))
        if parameter.requires_grad:
            kind = (rate_of(name, network, rates), decay_of(name, network, rates))
            groups.setdefault(kind, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": rate, "base_lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()],
        betas=(0.9, 0.999),
        fused=True,
    )


def rate_of(name: str, network: SegmentationNetwork, rates: Rates) -> float:
    """Base learning rate of a parameter. Source of the layer-wise decay: Clark et al., arXiv 2003.10555."""
    if name.startswith("neck.") and rates.neck is not None:
        return rates.neck
    if not name.startswith("trunk."):
        return rates.heads
    if not isinstance(network.trunk, Hiera) or "position" in name:
        return rates.trunk
    parts = name.split(".")
    depth = len(network.trunk.blocks)
    layer = int(parts[2]) + 1 if parts[1] == "blocks" else 0
    return rates.trunk * rates.layer_decay ** (depth + 1 - layer)


def decay_of(name: str, network: SegmentationNetwork, rates: Rates) -> float:
    """Weight decay of a parameter. Embeddings of prompts and tokens are tables of vectors, and decay either way."""
    parameter, owner = network.get_parameter(name), network.get_submodule(name.rpartition(".")[0])
    if rates.decays_vectors:
        is_spared = "bias" in name or (isinstance(owner, nn.LayerNorm) and not isinstance(owner, LayerNorm2d))
    else:
        is_spared = parameter.ndim < 2 or "position" in name
    return 0.0 if is_spared else rates.weight_decay


def set_drop_path(network: SegmentationNetwork, share: float) -> None:
    """Let the trunk's blocks be skipped, from never for the first to ``share`` for the last."""
    drops = [module for module in network.trunk.modules() if isinstance(module, DropPath)]
    for index, drop in enumerate(drops):
        drop.share = share * index / max(len(drops) - 1, 1)


def set_dropout(network: SegmentationNetwork, share: float) -> None:
    """Let memory attention leave out a share of its attention weights, hidden numbers and results while training."""
    for module in network.memory_attention.modules():
        if isinstance(module, Drops):
            module.dropout = share


def set_rates(adamw: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's base learning rate."""
    for group in adamw.param_groups:
        group["lr"] = group["base_lr"] * factor
