from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import masklet
from masklet.cli import main

RECIPE = '''"""For the test."""
from tests.training.conftest import small_recipe
from masklet.training.optim import Trapezoid


def recipe(steps: int = 2):
    return small_recipe(schedule=Trapezoid(steps=steps, warmup=1, decay=1))
'''


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    path = tmp_path / "short.py"
    path.write_text(RECIPE)
    return path


def train(*words: object):
    return CliRunner().invoke(main, ["train", *map(str, words)])


def test_a_recipe_gives_weights_that_load(recipe: Path, tmp_path: Path):
    out = tmp_path / "run"
    result = train(recipe, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out / "weights.safetensors")
    assert "all records could be used" in result.stderr
    assert masklet.load(out / "weights.safetensors").config.name == "test"


def test_torchrun_starts_processes_that_learn_together(recipe: Path, tmp_path: Path):
    out, root = tmp_path / "run", Path(__file__).parents[2]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "masklet.cli", "train", recipe, "seed=3", "--out", out, "--device", "cpu", "--threads", "1"]
    done = subprocess.run(
        [*torchrun, *map(str, command)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out / "weights.safetensors")
    assert masklet.load(out / "weights.safetensors").config.name == "test"
    settings = json.loads((out / "settings.json").read_text())
    assert (settings["processes"], settings["recipe"]["seed"]) == (2, 3)
    assert settings["recipe"]["origin"]["settings"] == ["seed=3"]
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [0, 1]


def test_a_folder_with_a_run_is_only_touched_to_go_on(recipe: Path, tmp_path: Path):
    out = tmp_path / "run"
    train(recipe, "--out", out)
    refused = train(recipe, "steps=4", "--out", out)
    assert refused.exit_code == 2
    assert "holds a run of 2 steps; add --resume" in refused.stderr
    assert train(recipe, "steps=4", "--out", out, "--resume").exit_code == 0
    assert (out / "step_00000004.pt").exists()
