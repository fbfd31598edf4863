"""Averaging two stages of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from click.testing import CliRunner

from masklet.checkpoints import describe, load_network, save_network
from masklet.model.config import PICO
from masklet.model.sam2 import SegmentationNetwork

SMALL = replace(PICO, image_size=64)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    paths = []
    for seed, name in enumerate(("earlier", "later")):
        torch.manual_seed(seed)
        paths.append(tmp_path_factory.mktemp("stages") / f"{name}.safetensors")
        facts = {"licence": "Apache-2.0", "training": {"recipe": "mine", "steps": name, "average": "0.5 of each"}}
        save_network(SegmentationNetwork(SMALL), paths[-1], description=facts)
    return paths[0], paths[1]


def test_every_weight_lies_between_those_of_the_stages(tool: ModuleType, stages: tuple[Path, Path], tmp_path: Path):
    out = tmp_path / "between.safetensors"
    options = ["--share", "0.25", "--steps", "2", "--out", str(out)]
    result = CliRunner().invoke(tool.main, [*map(str, stages), *options])
    assert result.exit_code == 0, result.output
    first, second, between = (load_network(path).state_dict() for path in (*stages, out))
    for name, tensor in between.items():
        torch.testing.assert_close(tensor, 0.75 * first[name] + 0.25 * second[name], atol=1e-3, rtol=1e-3)
    assert describe(out)["training"] == {
        "recipe": "mine",
        "steps": "2",
        "average": "0.25 of the last stage, 0.75 of what it began with (0.5 of each)",
    }


def test_networks_of_another_shape_are_refused(tool: ModuleType, stages: tuple[Path, Path], tmp_path: Path):
    other = tmp_path / "other.safetensors"
    save_network(SegmentationNetwork(replace(SMALL, decoder_feedforward=64)), other, description={})
    result = CliRunner().invoke(tool.main, [str(stages[0]), str(other), "--out", str(tmp_path / "out.safetensors")])
    assert result.exit_code == 1
    assert "expected two stages of one network" in result.output
    assert not (tmp_path / "out.safetensors").exists()
