"""Which parameters learn how fast, and when."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from masklet.model.sam2 import SegmentationNetwork


@dataclass(frozen=True)
class Schedule:
    """Warm up linearly, hold, then decay linearly to ``final`` over the last ``decay`` steps."""

    steps: int
    warmup: int = 100
    decay: int = 500
    final: float = 0.02

    def factor(self, step: int) -> float:
        """Multiple of the base learning rate at ``step``."""
        rising = min(1.0, (step + 1) / max(self.warmup, 1))
        left = (self.steps - step) / max(self.decay, 1)
        return rising * min(1.0, max(self.final, left))


@dataclass(frozen=True)
class Rates:
    """Base learning rates and weight decay."""

    heads: float = 1e-3
    trunk: float = 1e-4
    weight_decay: float = 0.05
    frozen: tuple[str, ...] = ("trunk.stem.", "trunk.stages.0.", "trunk.stages.1.", "trunk.stages.2.")
    """Prefixes of parameters that do not learn."""


def optimizer(network: SegmentationNetwork, rates: Rates) -> torch.optim.AdamW:
    """AdamW; biases, norms, embeddings and other vectors are not decayed. Freezes what ``rates`` names."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not name.startswith(rates.frozen))
        if parameter.requires_grad:
            rate = rates.trunk if name.startswith("trunk.") else rates.heads
            decay = rates.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": rate, "base_lr": rate, "weight_decay": decay} for (rate, decay), p in groups.items()],
        fused=True,
    )


def set_rates(adamw: torch.optim.Optimizer, factor: float) -> None:
    """Scale every group's base learning rate."""
    for group in adamw.param_groups:
        group["lr"] = group["base_lr"] * factor
