from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

import masklet
from masklet.checkpoints import describe, save_network
from masklet.cli import main
from masklet.data.datasets import open_dataset
from masklet.data.formats.table import open_writer
from masklet.model.sam2 import SegmentationNetwork

from ..training.conftest import TINY
from ..training.material import write_pictures, write_videos

SHORT = "--device cpu --steps 2 --check-every 1 --clips 1 --parts 1"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_network(SegmentationNetwork(TINY), path, description={})
    return path


def finetune(start: Path, *words: object, workers: int = 0) -> Result:
    arguments = [*SHORT.split(), "--weights", start, "--workers", workers, *words]
    return CliRunner().invoke(main, ["finetune", *map(str, arguments)])


def test_pictures_give_weights_a_table_and_a_picture_once(start: Path, tmp_path: Path):
    data, out = write_pictures(tmp_path / "data", 4), tmp_path / "out"
    result = finetune(start, "--data", data, "--out", out)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(out / "weights.safetensors")
    assert "IoU after 1 click" in result.stdout
    assert masklet.load(out / "weights.safetensors").config == TINY
    assert describe(out / "weights.safetensors")["training"]["material"] == "3 records of the format images"
    assert len((out / "held_out.txt").read_text().split()) == 1
    assert json.loads((out / "before_after.json").read_text())["objects"]["IoU after 3 clicks"] == 1
    assert Image.open(out / "before_after.png").height > 200

    refused = finetune(start, "--data", data, "--out", out)
    assert refused.exit_code == 2
    assert "add --resume to go on" in refused.stderr
    assert finetune(start, "--data", data, "--out", out, "--resume").exit_code == 0


def test_what_could_not_be_read_is_told_and_the_folder_is_called_as_the_data(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    data, watched = write_pictures(tmp_path / "cells.v2", 3), write_pictures(tmp_path / "watched", 1)
    (data / "images/1.png").write_bytes(b"no picture")
    result = finetune(start, "--data", data, "--val", watched, "--clips", 8, workers=1)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(Path("runs/cells.v2/weights.safetensors"))
    assert f"1 record could not be used, see {Path('runs/cells.v2/bad.jsonl')}" in result.stderr
    assert f"3 records, 1 of them bad\n  {data / 'images/1.png'}: " in result.stderr


def test_a_coco_file_of_ones_own_is_learned_from_and_another_watched(start: Path, tmp_path: Path):
    pictures = open_dataset("images", write_pictures(tmp_path / "pictures", 3))
    with open_writer(tmp_path / "coco", "coco") as writer:
        for record in pictures:
            writer.add(record)
    out = tmp_path / "out"
    result = finetune(start, "--data", tmp_path / "coco", "--val", tmp_path / "coco", "--out", out)
    assert result.exit_code == 0, result.output
    assert "learning from 3, watching 3 of the format coco" in result.stderr


def test_videos_are_followed_before_and_after(start: Path, tmp_path: Path):
    data, out = write_videos(tmp_path / "data", 3, frames=3), tmp_path / "out"
    result = finetune(start, "--data", data, "--out", out, "--frames", 2)
    assert result.exit_code == 0, result.output
    assert "J&F of objects that are followed" in result.stdout


def test_the_memory_that_a_step_needs_is_told_without_taking_one(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("masklet.training.footprint.SIDES", (32, 64))
    result = finetune(start, "--data", write_pictures(tmp_path, 2), "--out", tmp_path / "out", "--count-bytes")
    assert result.exit_code == 0, result.output
    head, *lines = [line.split() for line in result.stdout.splitlines()]
    assert head == ["GiB", "float32", "bfloat16"]
    needs = ["parameters", "gradients", "optimiser", "average", "activations", "together"]
    assert [name for name, *_ in lines] == needs
    assert not (tmp_path / "out").exists()


def test_the_memory_for_videos_is_that_of_the_few_clips_that_a_batch_holds(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("masklet.training.footprint.SIDES", (32, 64))
    monkeypatch.setattr("masklet.cli.finetune.GIB", 1)
    data, told = write_videos(tmp_path / "data", 2, frames=5), {}
    command = ["finetune", "--weights", start, "--data", data, "--out", tmp_path / "out", "--count-bytes", "--clips"]
    for clips in (1, 2, 8):
        result = CliRunner().invoke(main, [str(word) for word in (*command, clips)])
        assert result.exit_code == 0, result.output
        told[clips] = float(result.stdout.partition("activations")[2].split()[0])
    assert told[1] == pytest.approx(told[2], rel=0.01)
    assert told[8] > 1.5 * told[2]
