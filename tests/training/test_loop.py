from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from masklet.data.synthetic import Clip
from masklet.training.loop import NonFiniteLossError, Recipe, Run
from masklet.training.optim import Rates, Schedule
from masklet.training.unroll import Simulation


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_that_was_cut_off_continues_with_the_losses_of_an_uninterrupted_one(recipe: Recipe, tmp_path: Path):
    Run(recipe, tmp_path / "whole").train()

    class CutOffError(Exception):
        pass

    def breaks_down(seed: int) -> Clip:
        breaks_down.calls += 1
        if breaks_down.calls > 4 * recipe.clips:
            raise CutOffError
        return recipe.make_clip(seed)

    breaks_down.calls = 0
    with pytest.raises(CutOffError):
        Run(replace(recipe, make_clip=breaks_down), tmp_path / "cut").train()
    Run(recipe, tmp_path / "cut").train()
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_learning_one_clip_by_heart_lowers_the_loss(recipe: Recipe, tmp_path: Path):
    def same(seed: int) -> Clip:
        return recipe.make_clip(0)

    by_heart = replace(
        recipe,
        make_clip=same,
        clips=1,
        schedule=Schedule(steps=24, warmup=2, decay=1),
        rates=Rates(heads=3e-3, trunk=1e-3, frozen=()),
        simulation=Simulation(corrections=0),
    )
    Run(by_heart, tmp_path).train()
    curve = losses(tmp_path)
    assert curve[-1] < 0.5 * curve[0]


def test_frozen_parameters_do_not_move(recipe: Recipe, tmp_path: Path):
    run = Run(recipe, tmp_path)
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    run.train()
    moved = {name for name, p in run.network.named_parameters() if not torch.equal(p, before[name])}
    assert not any(name.startswith("trunk.stem.") for name in moved)
    assert any(name.startswith("trunk.stages.") for name in moved)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(recipe: Recipe, tmp_path: Path):
    def poison(network: torch.nn.Module) -> None:
        with torch.no_grad():
            next(network.parameters()).fill_(float("nan"))

    with pytest.raises(NonFiniteLossError, match="step 0 is nan"):
        Run(replace(recipe, start=poison), tmp_path).train()
    kept = torch.load(tmp_path / "bad_batch_0.pt", weights_only=True)
    assert kept["frames"].shape == (2, 3, 3, 64, 64)
