from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from masklet.data.synthetic import Clip
from masklet.training.batches import Source, collate
from masklet.training.loop import Recipe, Run
from masklet.training.optim import Trapezoid
from masklet.training.report import forget_after, picture
from masklet.training.unroll import Outcome

from .conftest import moving_square


def test_a_run_leaves_settings_log_curve_and_board(recipe: Recipe, tmp_path: Path):
    Run(recipe, tmp_path).train()
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert settings["recipe"]["seed"] == recipe.seed
    assert settings["recipe"]["schedule"]["steps"] == 6
    assert settings["recipe"]["sources"][0]["make_clip"] == "tests.training.conftest.moving_square"
    assert (settings["processes"], settings["device"], settings["torch"]) == (1, "cpu", torch.__version__)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(6))
    assert all(record["gradient"] > 0 for record in records)
    assert [record["rate"] for record in records] == pytest.approx([5e-4, 1e-3, 1e-3, 1e-3, 1e-3, 5e-4])
    assert Image.open(tmp_path / "curve.png").width > 500
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    assert {"loss", "rate", "gradient", "waited"} <= set(board.Tags()["scalars"])
    assert {"terms/dice", "terms/focal", "terms/iou", "terms/presence"} <= set(board.Tags()["scalars"])
    assert [event.value for event in board.Scalars("rate")] == pytest.approx([record["rate"] for record in records])


def test_waiting_for_clips_is_told_apart_from_learning(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def slow(seed: int) -> Clip:
        time.sleep(0.3)
        return moving_square(seed)

    Run(replace(recipe, sources=(Source(slow, clips=2),), schedule=Trapezoid(steps=2)), tmp_path).train()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert all(record["waited"] > 0.6 for record in records)
    waited = sum(record["waited"] for record in records)
    whole = waited + sum(record["seconds"] for record in records)
    shown = capsys.readouterr().err.splitlines()[-1]
    assert f"waits={waited / whole:.0%}" in shown
    assert f"clips/s={4 / whole:.2f}" in shown


def test_the_curve_is_drawn_whenever_a_run_is_saved(recipe: Recipe, tmp_path: Path):
    drawn: list[bool] = []

    def looking(seed: int) -> Clip:
        drawn.append((tmp_path / "curve.png").exists())
        return moving_square(seed)

    Run(replace(recipe, sources=(Source(looking, clips=1),), save_every=2), tmp_path).train()
    assert drawn == [False, False, True, True, True, True]


def test_lines_of_steps_that_are_taken_again_are_dropped(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 0}\n{"step": 1}\n{"step": 2}\n{"st')
    with log.open() as before:
        forget_after(log, 2)
        assert before.read().endswith('{"st'), "the old file was replaced, not written over"
    assert log.read_text() == '{"step": 0}\n{"step": 1}\n'
    assert list(tmp_path.iterdir()) == [log]


def test_the_picture_shows_answers_above_the_truth():
    batch = collate([moving_square(0)], [0])
    answers = {frame: torch.full((1, 1, 16, 16), -5.0) for frame in range(3)}
    seen = picture(Outcome(answers=answers), batch)
    assert seen.shape == (128, 192, 3)
    assert np.array_equal(seen[:64, :64], batch.frames_bfchw[0, 0].permute(1, 2, 0).numpy())
    assert not np.array_equal(seen[64:, :64], seen[:64, :64])
