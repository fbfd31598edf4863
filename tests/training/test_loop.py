from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masklet.data.synthetic import Clip
from masklet.model.config import HieraConfig
from masklet.training.batches import Source
from masklet.training.footprint import kept_bytes
from masklet.training.initial import StartFrom
from masklet.training.loop import NonFiniteLossError, Recipe, Run, with_image_size
from masklet.training.optim import Rates, Trapezoid
from masklet.training.parallel import clip_gradients
from masklet.training.report import read_lines
from masklet.training.saving import checkpoints, load_bad_batch
from masklet.training.simulation import Simulation
from masklet.training.unroll import Unroll

from .conftest import TINY, moving_square, small_recipe


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "log.jsonl").read_text().splitlines()]


def eventful() -> Recipe:
    """All that draws by chance or remembers: paths that are dropped, an average, clips from another process."""
    trunk = HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 1, 1), global_blocks=(2,))
    return small_recipe(
        config=replace(TINY, encoder=trunk),
        start=lambda network: None,
        rates=Rates(heads=1e-3, trunk=1e-4, drop_path=0.5),
        average=0.5,
        workers=1,
        keep=1,
    )


def kill_at(owner: Any, name: str, call: int, first: Callable[..., object] = lambda *arguments: None) -> None:
    """Kill this process for good when it calls a function so many times, instead of that or after ``first`` of it."""
    usual, calls = getattr(owner, name), itertools.count(1)

    def counted(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            first(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*arguments, **options)

    setattr(owner, name, counted)


MOMENTS = {
    "in a step": lambda: kill_at(Run, "_backward", 4),
    "in the middle of writing a checkpoint": lambda: kill_at(
        torch, "save", 2, lambda state, path: path.write_bytes(b"half")
    ),
    "before a checkpoint is in its place": lambda: kill_at(Path, "replace", 2),
}


def victim(folder: str, moment: str) -> None:
    """Runs in a process of its own."""
    MOMENTS[moment]()
    Run(eventful(), Path(folder)).train()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and the weights of the result."""
    folder = tmp_path_factory.mktemp("whole")
    network = Run(eventful(), folder).train()
    return losses(folder), network.state_dict()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_goes_on_as_if_it_had_not_been(
    moment: str, unbroken: tuple[list[float], dict[str, torch.Tensor]], tmp_path: Path
):
    code = "import sys; from tests.training.test_loop import victim; victim(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(tmp_path), moment]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "step_00000006.pt").exists()
    weights = Run(eventful(), tmp_path).train().state_dict()
    wanted_losses, wanted = unbroken
    assert losses(tmp_path) == wanted_losses
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


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
    path = first.save_result(first.result())
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


def test_recomputing_blocks_changes_nothing_but_what_is_kept(recipe: Recipe, tmp_path: Path):
    recomputing = replace(recipe, recompute=True)
    Run(recipe, tmp_path / "kept").train()
    Run(recomputing, tmp_path / "recomputed").train()
    assert losses(tmp_path / "kept") == pytest.approx(losses(tmp_path / "recomputed"), rel=1e-4)
    kept, recomputed = (kept_bytes(each, 128, frames=1, objects=1) for each in (recipe, recomputing))
    assert recomputed < kept, (recomputed, kept)


def test_half_precision_is_near_to_full(recipe: Recipe, tmp_path: Path):
    step = replace(recipe, schedule=Trapezoid(steps=1))
    run = Run(replace(step, bfloat16=True), tmp_path / "half")
    run.train()
    Run(step, tmp_path / "full").train()
    half, full = (read_lines(tmp_path / name / "log.jsonl")[0] for name in ("half", "full"))
    assert half["loss"] == pytest.approx(full["loss"], rel=0.03)
    assert half["gradient"] == pytest.approx(full["gradient"], rel=0.2)
    assert (half["loss"], half["gradient"]) != (full["loss"], full["gradient"]), "it was not full"
    assert {parameter.dtype for parameter in run.network.parameters()} == {torch.float32}


def test_the_average_is_that_of_the_weights_after_every_step(recipe: Recipe, tmp_path: Path):
    network = Run(replace(recipe, average=0.75, save_every=1, keep=6), tmp_path).train()
    after = [torch.load(path, weights_only=True)["network"] for _, path in reversed(list(checkpoints(tmp_path)))]
    assert len(after) == 6
    for name, averaged in network.named_parameters():
        wanted = after[0][name]
        for weights in after[1:]:
            wanted = 0.75 * wanted + 0.25 * weights[name]
        torch.testing.assert_close(averaged.detach(), wanted)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(recipe: Recipe, tmp_path: Path):
    def poison(network: torch.nn.Module) -> None:
        with torch.no_grad():
            next(network.parameters()).fill_(float("nan"))

    with pytest.raises(NonFiniteLossError, match="step 0 is nan"):
        Run(replace(recipe, start=poison), tmp_path).train()
    (kept,), _, _ = load_bad_batch(tmp_path / "bad_batch_0_0.pt")
    assert kept.frames_bfchw.shape == (2, 3, 3, 64, 64)


def test_a_gradient_that_is_not_finite_changes_no_weights(recipe: Recipe, tmp_path: Path):
    def poison(gradient: torch.Tensor) -> torch.Tensor:
        return gradient.fill_(float("inf"))

    run = Run(recipe, tmp_path)
    run.network.get_parameter("neck.lateral16.weight").register_hook(poison)
    before = [parameter.detach().clone() for parameter in run.network.parameters()]
    with pytest.raises(NonFiniteLossError, match="the norm of the gradient of step 0 is inf"):
        run.train()
    assert all(map(torch.equal, before, run.network.parameters()))
    assert not (tmp_path / "log.jsonl").exists()


def test_a_step_whose_batch_was_kept_can_be_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recipe = replace(eventful(), parts=2, workers=0)
    Run(recipe, tmp_path / "whole").train()
    run, norms = Run(recipe, tmp_path / "cut"), iter([1.0, 1.0, float("nan")])
    monkeypatch.setattr("masklet.training.loop.clip_gradients", lambda *of: clip_gradients(*of) * next(norms))
    with pytest.raises(NonFiniteLossError, match="step 2 is nan"):
        run.train()
    parts, plan, seed = load_bad_batch(tmp_path / "cut/bad_batch_2_0.pt")
    torch.manual_seed(seed)
    objects = sum(len(part.clip_o) for part in parts)
    again = sum(
        Unroll(run.network, part, plan, part.generators(), recipe.losses).run().loss(objects).item() for part in parts
    )
    assert again == pytest.approx(losses(tmp_path / "whole")[2], rel=1e-3)
