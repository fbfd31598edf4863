from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from masklet.checkpoints import describe
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.loop import Recipe, Run
from masklet.training.validation import Validation

NAME = "neck.lateral16.weight"


class Scripted:
    """Gives one score after the other, whatever the weights, and keeps what it saw."""

    def __init__(self, *scores: float) -> None:
        self.scores = list(scores)
        self.seen: list[torch.Tensor] = []

    def __call__(self, network: SegmentationNetwork) -> float:
        assert not network.training
        self.seen.append(network.get_parameter(NAME).detach().clone())
        return self.scores[len(self.seen) - 1]


def watched(recipe: Recipe, score: Scripted, **options: int) -> Recipe:
    return replace(recipe, validation=Validation(score, **{"every": 1, "patience": 2, **options}))


def scores(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    return [(line["step"], line["score"]) for line in lines]


def test_a_run_gives_the_weights_of_the_best_score_and_ends_when_they_are_long_past(recipe: Recipe, tmp_path: Path):
    score = Scripted(0.1, 0.3, 0.2, 0.25, 0.9)
    run = Run(watched(recipe, score), tmp_path)
    network = run.train()
    assert run.step == 3
    assert torch.equal(network.get_parameter(NAME), score.seen[1])
    assert not torch.equal(score.seen[1], score.seen[3])
    assert scores(tmp_path) == [(0, 0.1), (1, 0.3), (2, 0.2), (3, 0.25)]
    training = describe(run.save_result(network))["training"]
    assert (training["steps"], training["best_step"]) == (3, 1)


def test_without_any_gain_a_run_gives_back_the_weights_it_began_with(recipe: Recipe, tmp_path: Path):
    score = Scripted(0.5, 0.5, float("nan"))
    network = Run(watched(recipe, score), tmp_path).train()
    assert torch.equal(network.get_parameter(NAME), score.seen[0])


def test_the_network_learns_on_after_it_was_looked_at(recipe: Recipe, tmp_path: Path):
    run = Run(watched(recipe, Scripted(*range(10))), tmp_path / "watched")
    Run(recipe, tmp_path / "alone").train()
    assert torch.equal(run.train().get_parameter(NAME), Run(recipe, tmp_path / "alone").result().get_parameter(NAME))
    assert run.network.training is False
    assert scores(tmp_path / "watched")[-1] == (6, 6)


def test_a_run_that_was_broken_off_remembers_its_best_weights(recipe: Recipe, tmp_path: Path):
    def breaking(network: SegmentationNetwork) -> float:
        if len(first.seen) == 4:
            raise KeyboardInterrupt
        return first(network)

    first = Scripted(0.1, 0.8, 0.2, 0.3)
    with pytest.raises(KeyboardInterrupt):
        Run(replace(recipe, validation=Validation(breaking, every=1, patience=3)), tmp_path).train()
    second = Scripted(0.3, 0.4)
    network = Run(watched(recipe, second, patience=3), tmp_path).train()
    assert scores(tmp_path) == [(0, 0.1), (1, 0.8), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert torch.equal(network.get_parameter(NAME), first.seen[1])


def test_a_run_that_is_over_stays_so(recipe: Recipe, tmp_path: Path):
    Run(watched(recipe, Scripted(0.5, 0.1, 0.2)), tmp_path).train()
    assert Run(watched(recipe, Scripted()), tmp_path).train().get_parameter(NAME) is not None


def test_the_last_weights_are_looked_at_whenever_a_run_ends(recipe: Recipe, tmp_path: Path):
    Run(watched(recipe, Scripted(0.1, 0.2, 0.3), every=4), tmp_path).train()
    assert [step for step, _ in scores(tmp_path)] == [0, 4, 6]


def test_numbers_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Validation(lambda network: 0.0, every=0)
