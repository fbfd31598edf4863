from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from masklet.training.batches import collate
from masklet.training.loop import Recipe, Run
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
    assert Image.open(tmp_path / "curve.png").width > 500
    assert list((tmp_path / "board").glob("events.*"))


def test_lines_of_steps_that_are_taken_again_are_dropped(tmp_path: Path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 0}\n{"step": 1}\n{"step": 2}\n{"st')
    forget_after(log, 2)
    assert log.read_text() == '{"step": 0}\n{"step": 1}\n'


def test_the_picture_shows_answers_above_the_truth():
    batch = collate([moving_square(0)], [0])
    answers = {frame: torch.full((1, 1, 16, 16), -5.0) for frame in range(3)}
    seen = picture(Outcome(answers=answers), batch)
    assert seen.shape == (128, 192, 3)
    assert np.array_equal(seen[:64, :64], batch.frames_bfchw[0, 0].permute(1, 2, 0).numpy())
    assert not np.array_equal(seen[64:, :64], seen[:64, :64])
