"""The tutorial as it stands, but for some steps of a small untrained network in place of the built-in one."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from masklet.checkpoints import save_network
from masklet.cli import main
from masklet.model.sam2 import SegmentationNetwork

from ..training.conftest import TINY, start

PAGE = (Path(__file__).parents[2] / "docs/finetuning.md").read_text()
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
