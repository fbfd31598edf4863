"""The tutorial as it stands, but that cells are drawn for some steps of a small untrained network.

What the built-in one gains on real nuclei is measured where the environment variable MASKLET_NUCLEI names a folder of
them: NAME.jpg, and NAME.png with the number of the nucleus at every pixel.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from masklet.checkpoints import save_network
from masklet.cli import main
from masklet.model.sam2 import SegmentationNetwork

from ..training.conftest import TINY, start

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/finetuning.md").read_text()
NUCLEI = os.environ.get("MASKLET_NUCLEI", "")
CLICK_GAIN, GAIN = 0.02, 0.004
"""Half of what one click gains on the page, and a third of what all counts of clicks gain in the mean."""
FAST = "--device cpu --workers 0 --learn-trunk --rate 3e-3 --steps 2 --check-every 2 --clips 1 --parts 1 --objects 1"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run(code: str, folder: Path) -> None:
    (folder / "block.py").write_text(code)
    runpy.run_path(str(folder / "block.py"))


def untrained(folder: Path) -> Path:
    torch.manual_seed(0)
    network = SegmentationNetwork(TINY)
    start(network)
    save_network(network, folder / "untrained.safetensors", description={})
    return folder / "untrained.safetensors"


def test_the_tutorial_leads_from_drawn_cells_to_weights_that_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    draw, use = blocks("python")
    run(draw, tmp_path)
    (command,) = re.findall(r"^\$ masklet (finetune .*--test.*)$", PAGE, re.MULTILINE)
    result = CliRunner().invoke(main, [*shlex.split(command), "--weights", str(untrained(tmp_path)), *FAST.split()])
    assert result.exit_code == 0, result.output
    assert json.loads(Path("runs/cells/before_after.json").read_text())["objects"]["IoU after 1 click"] > 9
    assert Path("runs/cells/before_after.png").exists()
    run(use, tmp_path)
    assert capsys.readouterr().out.endswith(" pixels\n")


@pytest.mark.skipif(not NUCLEI, reason="MASKLET_NUCLEI names no folder of nuclei")
def test_the_built_in_weights_gain_on_real_nuclei_that_were_held_out(tmp_path: Path):
    (command,) = re.findall(r"^\$ python (benchmarks/finetune_nuclei.py .*)$", PAGE, re.MULTILINE)
    places = {"nuclei": NUCLEI, "runs/nuclei": str(tmp_path / "run")}
    words = [places.get(word, word) for word in shlex.split(command)]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    scores = json.loads(done.stdout.splitlines()[-1])
    assert min(scores["objects"].values()) > 150
    before, after = (np.array([*scores[when].values()]) for when in ("before", "after"))
    assert after[0] - before[0] > CLICK_GAIN, scores
    assert (after - before).mean() > GAIN, scores
