from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import masklet
from masklet.data.datasets import open_dataset
from masklet.data.sampling import ClipSampling, DatasetClips
from masklet.training.augment import Augmented
from masklet.training.batches import Source
from masklet.training.finetune import split
from masklet.training.loop import Recipe, Run
from masklet.training.optim import Trapezoid
from masklet.training.parallel import Peers
from masklet.training.settings import LONGEST, git, revision, settings_of, told, write_settings

from .material import write_pictures


def test_the_data_that_clips_are_bound_to_is_told(recipe: Recipe, tmp_path: Path):
    data = open_dataset("images", write_pictures(tmp_path / "cells", LONGEST + 1), split=None)
    clips = DatasetClips(data, ClipSampling(3, (48, 64), 2, strides=(1, 4)))
    bound = replace(recipe, sources=(Source(Augmented(clips.clip)),))
    settings = json.loads(json.dumps(settings_of(bound, "cuda:1", Peers(0, 2))))
    assert (settings["device"], settings["processes"]) == ("cuda:1", 2)
    made = settings["recipe"]["sources"][0]["make_clip"]
    assert made["augmentation"]["rotation"] == 25
    assert made["make_clip"]["call"] == "clip"
    of = made["make_clip"]["of"]
    assert of["sampling"] == {
        "is": "ClipSampling",
        "frames": 3,
        "hw": [48, 64],
        "max_objects": 2,
        "strides": [1, 4],
        "reverse_share": 0.5,
        "min_area": 0.0001,
    }
    assert (of["dataset"]["format"], of["dataset"]["root"]) == ("images", str(tmp_path / "cells"))
    assert of["dataset"]["entries"][0]["name"] == "0"
    assert of["dataset"]["entries"][1:] == [f"and {LONGEST} more"]


def test_the_split_of_a_dataset_is_told_of_its_parts_too(tmp_path: Path):
    write_pictures(tmp_path / "train", 3)
    data = open_dataset("images", tmp_path, "train")
    assert [told(part)["split"] for part in (data, data[:2], *split(data, 0.5))] == ["train"] * 4


class Knot:
    """Consists of itself."""

    def __init__(self) -> None:
        self.inner = self


def test_what_has_no_end_is_cut():
    assert len(json.dumps(told(Knot()))) < 1000
    assert told(partial(max, 3, key=abs))["with"] == [3]
    assert told(torch.nn.functional.dropout) == "torch.nn.functional.dropout"


def test_settings_of_before_stay_beside_those_that_differ(recipe: Recipe, tmp_path: Path):
    short = replace(recipe, schedule=Trapezoid(steps=1))
    Run(short, tmp_path).train()
    first = (tmp_path / "settings.json").read_text()
    Run(short, tmp_path).train()
    assert [path.name for path in tmp_path.glob("settings*")] == ["settings.json"]
    Run(replace(short, schedule=Trapezoid(steps=2)), tmp_path).train()
    assert (tmp_path / "settings.1.json").read_text() == first
    assert json.loads((tmp_path / "settings.json").read_text())["recipe"]["schedule"]["steps"] == 2
    write_settings(tmp_path, {})
    assert json.loads((tmp_path / "settings.2.json").read_text())["recipe"]["schedule"]["steps"] == 2


def test_without_git_the_version_is_told_and_training_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", "")
    Run(replace(recipe, schedule=Trapezoid(steps=1)), tmp_path).train()
    assert json.loads((tmp_path / "settings.json").read_text())["revision"] == masklet.__version__


def test_the_revision_is_that_of_the_code_wherever_a_run_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = Path(masklet.__file__).parent
    commit = git(root, "rev-parse", "--short=12", "HEAD")
    if not commit:
        pytest.skip("the tests do not run from a checkout")
    monkeypatch.chdir(tmp_path)
    assert revision().rstrip("+").endswith(commit)
    monkeypatch.setattr(masklet, "__file__", str(root / "not_tracked.py"))
    assert revision() == masklet.__version__
