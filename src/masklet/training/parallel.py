"""Several processes that train one network: each takes its share of the clips, gradients are averaged.

Start them with ``torchrun --nproc-per-node N``. On a processor with few cores this beats threads: the operations of a
small network are too short to be shared out.

torch's DistributedDataParallel wraps one ``forward``, and expects every process to make use of the same parameters in
it. A step here calls the network's verbs many times, as a session does, and which ones depends on what its clips are
shown. So gradients are averaged once, after the last way back, in one exchange: the same mean as DDP's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from masklet.model.hiera import Hiera
from masklet.model.sam2 import SegmentationNetwork


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
        """Replace every gradient by the mean over all processes; a missing one is zero.

        Parameters that are shared out themselves have seen to it already.
        """
        learning = [p for p in parameters if p.requires_grad and not isinstance(p, DTensor)]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in learning]
        for parameter, gradient in zip(learning, gradients, strict=True):
            parameter.grad = gradient
        if self.count == 1:
            return
        together = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = together.split([p.numel() for p in learning])
        for parameter, part in zip(learning, parts, strict=True):
            parameter.grad = part.view_as(parameter)


ALONE = Peers()


def join() -> Peers:
    """The group that torchrun started this process in; alone without torchrun."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return Peers(dist.get_rank(), count)


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> Tensor:
    """Scale all gradients so that their joint norm is at most ``most``, also where some are shared out.

    Gives the norm that they had.
    """
    learning = [p for p in parameters if p.grad is not None]
    groups = [[p for p in learning if isinstance(p, DTensor) == shared] for shared in (False, True)]
    norms = [get_total_norm([p.grad for p in group if p.grad is not None]) for group in groups if group]
    whole = torch.stack([n.full_tensor() if isinstance(n, DTensor) else n for n in norms]).norm()
    for group in groups:
        clip_grads_with_norm_(group, most, whole)
    return whole


def own_device(device: str | None, peers: Peers) -> str:
    """``device``, or by default a graphics card of this process's own, else the processor."""
    if device:
        return device
    return f"cuda:{peers.rank % torch.cuda.device_count()}" if torch.cuda.is_available() else "cpu"


def share_out(network: SegmentationNetwork) -> None:
    """Spread the parameters of the trunk's blocks over all processes (FSDP), nine tenths of a large network.

    Everything else is small and stays whole in each process.
    """
    if isinstance(network.trunk, Hiera):
        for block in network.trunk.blocks:
            fully_shard(block)


def moving_average(network: SegmentationNetwork, decay: float) -> AveragedModel:
    """Exponential moving average of the weights; may be shared out as the network is, but only after this."""
    lag = get_ema_multi_avg_fn(decay)

    def follow(averaged: Sequence[Tensor], newest: Sequence[Tensor], count: Tensor | int) -> None:
        lag(own_parts(averaged), own_parts(newest), count)

    return AveragedModel(network, multi_avg_fn=follow)


def own_parts(tensors: Sequence[Tensor]) -> list[Tensor]:
    """What this process holds of tensors, all of those that are not shared out."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors]
