from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from masklet.data.synthetic import Clip
from masklet.training.batches import Source
from masklet.training.initial import StartFrom
from masklet.training.loop import NonFiniteLossError, Recipe, Run, with_image_size
from masklet.training.optim import Rates, Trapezoid
from masklet.training.saving import checkpoints, save_result
from masklet.training.simulation import Simulation

from .conftest import moving_square


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_killed_at_any_moment_goes_on_with_the_losses_of_an_unbroken_one(recipe: Recipe, tmp_path: Path):
    """The victim is killed for good, by SIGKILL, once it has written a checkpoint."""
    Run(recipe, tmp_path / "whole").train()
    code = (
        "import sys; from pathlib import Path; from tests.training.conftest import small_recipe\n"
        "from masklet.training.loop import Run; Run(small_recipe(), Path(sys.argv[1])).train()"
    )
    cut = tmp_path / "cut"
    victim = subprocess.Popen(
        [sys.executable, "-c", code, str(cut)], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
    )
    while victim.poll() is None and not list(cut.glob("step_*.pt")):
        time.sleep(0.02)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    Run(recipe, cut).train()
    assert losses(cut) == losses(tmp_path / "whole")


def test_old_checkpoints_are_pruned_and_a_half_written_one_is_not_taken(recipe: Recipe, tmp_path: Path):
    Run(replace(recipe, keep=2), tmp_path).train()
    assert [step for step, _ in checkpoints(tmp_path)] == [6, 4]
    (tmp_path / "unfinished.pt").write_bytes(b"half")
    assert Run(recipe, tmp_path).step == 6


def test_learning_one_clip_by_heart_lowers_the_loss(recipe: Recipe, tmp_path: Path):
    def same(seed: int) -> Clip:
        return moving_square(0)

    by_heart = replace(
        recipe,
        sources=(Source(same, clips=1),),
        schedule=Trapezoid(steps=30, warmup=2, decay=1),
        rates=Rates(heads=3e-3, trunk=1e-3, drop_path=0),
        simulation=Simulation(mask_share=1, prompted_frames=1),
        gradient_norm=1.0,
    )
    Run(by_heart, tmp_path).train()
    curve = losses(tmp_path)
    assert np.mean(curve[-3:]) < 0.5 * np.mean(curve[:3])


def test_a_run_goes_on_from_weights_of_another_picture_size(recipe: Recipe, tmp_path: Path):
    first = Run(recipe, tmp_path / "first")
    path = save_result(first.result(), tmp_path, recipe)
    second = Run(
        replace(recipe, config=with_image_size(recipe.config, 128), start=StartFrom(path)), tmp_path / "second"
    )
    name = "memory_attention.layers.0.cross_attention.key.weight"
    torch.testing.assert_close(
        second.network.get_parameter(name), first.network.get_parameter(name), rtol=1e-3, atol=1e-4
    )


def test_frozen_parameters_do_not_move(recipe: Recipe, tmp_path: Path):
    run = Run(recipe, tmp_path)
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    run.train()
    moved = {name for name, p in run.network.named_parameters() if not torch.equal(p, before[name])}
    assert not any(name.startswith("trunk.stem.") for name in moved)
    assert any(name.startswith("trunk.stages.") for name in moved)


def test_a_step_in_parts_gives_the_loss_of_one_bigger_batch(recipe: Recipe, tmp_path: Path):
    one_step = Trapezoid(steps=1, warmup=1, decay=1)
    whole = replace(recipe, sources=(Source(moving_square, clips=4),), schedule=one_step)
    parts = replace(recipe, sources=(Source(moving_square, clips=1),), schedule=one_step, parts=4)
    first, second = Run(whole, tmp_path / "whole"), Run(parts, tmp_path / "parts")
    one, other = first.train(), second.train()
    assert losses(tmp_path / "whole") == pytest.approx(losses(tmp_path / "parts"), rel=1e-4)
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(parameter, other.get_parameter(name), rtol=1e-3, atol=1e-5)


def test_recomputing_blocks_changes_nothing(recipe: Recipe, tmp_path: Path):
    Run(recipe, tmp_path / "kept").train()
    Run(replace(recipe, recompute=True), tmp_path / "recomputed").train()
    assert losses(tmp_path / "kept") == pytest.approx(losses(tmp_path / "recomputed"), rel=1e-4)


def test_the_average_lags_behind_the_weights_and_survives_a_break(recipe: Recipe, tmp_path: Path):
    averaging = replace(recipe, average=0.5)
    run = Run(averaging, tmp_path / "whole")
    wanted = run.train()
    name = "neck.lateral16.weight"
    assert not torch.equal(wanted.get_parameter(name), run.network.get_parameter(name))

    Run(replace(averaging, schedule=Trapezoid(steps=4, warmup=2, decay=2)), tmp_path / "cut").train()
    gone_on = Run(averaging, tmp_path / "cut")
    assert gone_on.averaged is not None
    assert gone_on.averaged.n_averaged == 4


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(recipe: Recipe, tmp_path: Path):
    def poison(network: torch.nn.Module) -> None:
        with torch.no_grad():
            next(network.parameters()).fill_(float("nan"))

    with pytest.raises(NonFiniteLossError, match="step 0 is nan"):
        Run(replace(recipe, start=poison), tmp_path).train()
    (kept,) = torch.load(tmp_path / "bad_batch_0_0.pt", weights_only=True)
    assert kept["frames"].shape == (2, 3, 3, 64, 64)
