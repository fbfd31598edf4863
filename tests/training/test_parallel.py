from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from masklet.training.parallel import Peers, join


def in_a_group(rank: int, count: int, meeting_point: str, results: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting_point}", rank=rank, world_size=count)
    peers = Peers(rank, count)
    seen, unseen, frozen = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    frozen.requires_grad_(False)
    seen.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if rank == 0:
        unseen.grad = torch.tensor([4.0, 4.0])
    peers.share_gradients([seen, unseen, frozen])
    torch.save([seen.grad, unseen.grad, frozen.grad, peers.mean(torch.tensor(float(rank)))], f"{results}{rank}")
    dist.destroy_process_group()


def test_gradients_become_the_mean_over_all_processes(tmp_path: Path):
    mp.spawn(in_a_group, (2, str(tmp_path / "meeting"), str(tmp_path / "result")), nprocs=2)
    for rank in range(2):
        seen, unseen, frozen, mean = torch.load(tmp_path / f"result{rank}")
        assert torch.equal(seen, torch.tensor([1.5, 3.0]))
        assert torch.equal(unseen, torch.tensor([2.0, 2.0]))
        assert frozen is None
        assert mean == 0.5


def test_a_process_alone_keeps_its_gradients(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    peers = join()
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    peers.share_gradients([parameter])
    assert peers.leads
    assert torch.equal(parameter.grad, torch.ones(1))
