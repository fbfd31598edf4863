"""How a network does on what it does not learn from, while it learns: the best weights are kept, a run ends in time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from masklet.model.sam2 import SegmentationNetwork
from masklet.training.parallel import ALONE, Peers
from masklet.training.saving import load_best, save_best


@dataclass(frozen=True)
class Validation:
    """When a run looks at its network, and for how long it goes on without getting better."""

    score: Callable[[SegmentationNetwork], float]
    """Higher is better. Every process calls it, with the network in evaluation mode."""
    every: int = 100
    """Steps between two scores. The first one is that of the weights the run starts from."""
    patience: int = 5
    """So many scores in a row that are not better than the best end the run."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.patience < 1:
            raise ValueError(f"expected every and patience of at least 1, got {self.every} and {self.patience}")


class Watch:
    """A validation at work in a run's folder, where ``best.pt`` holds the best weights so far."""

    def __init__(self, validation: Validation, folder: Path, peers: Peers = ALONE):
        self.validation, self.folder, self.peers = validation, folder, peers
        best = load_best(folder)
        self.best_step, self.best_score = (best["step"], best["score"]) if best else (0, -math.inf)

    @property
    def has_looked(self) -> bool:
        """Whether any weights have got a score."""
        return self.best_score > -math.inf

    def is_due(self, step: int) -> bool:
        """Whether the weights after so many steps are to get a score."""
        return step % self.validation.every == 0

    def look(self, step: int, network: SegmentationNetwork) -> float:
        """The score of the weights after so many steps; keeps them if none were better."""
        score = torch.tensor(self.validation.score(network.eval()), device=network.device)
        score = self.peers.mean(score).item()
        if score > self.best_score:
            self.best_step, self.best_score = step, score
            save_best(self.folder, step, score, network, self.peers)
        return score

    def is_over(self, step: int) -> bool:
        """Whether there was nothing better for too long."""
        return step - self.best_step >= self.validation.patience * self.validation.every

    def restore(self, network: SegmentationNetwork) -> None:
        """Fill a network with the best weights."""
        load_best(self.folder, network)
