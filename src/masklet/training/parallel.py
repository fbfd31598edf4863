"""Several processes that train one network: each takes its share of the clips, gradients are averaged.

Start them with ``torchrun --nproc-per-node N``. On a processor with few cores this beats threads: the operations of a
small network are too short to be shared out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Peers:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes what all of them share."""
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, in place."""
        if self.count > 1:
            dist.all_reduce(value)
            value /= self.count
        return value

    def share_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by the mean over all processes; a missing one counts as zero."""
        if self.count == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
        together = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = together.split([p.numel() for p in learning])
        for parameter, part in zip(learning, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()


def join() -> Peers:
    """The group that torchrun started this process in; alone without torchrun."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Peers()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Peers(dist.get_rank(), count)
