from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.multiprocessing.spawn import spawn

from masklet.checkpoints import load_network
from masklet.model.config import HieraConfig
from masklet.training.batches import Source
from masklet.training.loop import Recipe, Run
from masklet.training.optim import Trapezoid
from masklet.training.parallel import Peers, join

from .conftest import TINY, moving_square, small_recipe


def two_steps(clips: int, **changes) -> Recipe:
    schedule = Trapezoid(steps=2, warmup=1, decay=1)
    return replace(small_recipe(sources=(Source(moving_square, clips=clips),), schedule=schedule), **changes)


def with_hiera(recipe: Recipe) -> Recipe:
    trunk = HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 1, 1), global_blocks=(2,))
    return replace(recipe, config=replace(TINY, encoder=trunk), start=lambda network: None)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def as_peer(rank: int, folder: str, sharded: bool) -> None:
    place = Path(folder)
    dist.init_process_group("gloo", init_method=f"file://{place / 'meeting'}", rank=rank, world_size=2)
    torch.set_num_threads(1)
    recipe = with_hiera(two_steps(clips=1, average=0.5, sharded=True)) if sharded else two_steps(clips=1)
    run = Run(recipe, place / "run", peers=Peers(rank, 2))
    run.save_result(run.train())
    dist.destroy_process_group()


def test_two_processes_have_the_losses_of_one_with_twice_the_batch(tmp_path: Path):
    spawn(as_peer, (str(tmp_path), False), nprocs=2)
    Run(two_steps(clips=2), tmp_path / "alone").train()
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "alone"), rel=1e-4)


def test_a_trunk_that_is_shared_out_learns_as_a_whole_one(tmp_path: Path):
    spawn(as_peer, (str(tmp_path), True), nprocs=2)
    alone = with_hiera(two_steps(clips=2, average=0.5))
    run = Run(alone, tmp_path / "alone")
    run.save_result(run.train())
    # Roundings of the first step's sums are amplified by the optimiser before the second loss.
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "alone"), rel=1e-3)
    whole, other, start = (weights_of(Run(alone, tmp_path / name)) for name in ("run", "alone", "new"))
    assert torch.linalg.norm(whole - other) < 0.1 * torch.linalg.norm(other - start)
    written, expected = (flat(load_network(tmp_path / name / "weights.safetensors")) for name in ("run", "alone"))
    assert torch.linalg.norm(written - expected) < 0.1 * torch.linalg.norm(expected - start)
    assert torch.linalg.norm(written - whole) > 0.1 * torch.linalg.norm(expected - start), "it is the average"


def weights_of(run: Run) -> torch.Tensor:
    return flat(run.network)


def flat(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_a_process_alone_keeps_its_gradients(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    peers = join()
    parameter = nn.Parameter(torch.zeros(1))
    parameter.grad = torch.ones(1)
    peers.share_gradients([parameter])
    assert peers.leads
    assert torch.equal(parameter.grad, torch.ones(1))
