from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from masklet.checkpoints import save_network
from masklet.data.datasets import open_dataset
from masklet.data.records import RecordError
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.finetune import FineTuning, complete_config, recipe_for, shows_videos, some_shapes, split
from masklet.training.loop import Run

from .conftest import TINY
from .material import write_pair, write_pictures, write_videos


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "start.safetensors"
    save_network(SegmentationNetwork(TINY), path, description={})
    return path


def test_records_are_learned_from_or_held_out_and_always_the_same(tmp_path: Path):
    data = open_dataset("images", write_pictures(tmp_path, 10))
    learned, held_out = ([entry.name for entry in part.entries] for part in split(data, 0.2))
    assert (len(learned), len(held_out)) == (8, 2)
    assert sorted([*learned, *held_out]) == sorted(entry.name for entry in data.entries)
    assert [entry.name for entry in split(data, 0.2)[1].entries] == held_out


@pytest.mark.parametrize(("share", "expected"), [(0.01, (2, 1)), (0.99, (1, 2))])
def test_neither_part_is_empty(tmp_path: Path, share: float, expected: tuple[int, int]):
    learned, held_out = split(open_dataset("images", write_pictures(tmp_path, 3)), share)
    assert (len(learned), len(held_out)) == expected


def test_a_single_picture_cannot_be_split(tmp_path: Path):
    with pytest.raises(ValueError, match="at least two pictures"):
        split(open_dataset("images", write_pictures(tmp_path, 1)), 0.5)


def test_a_frozen_trunk_stays_and_the_rest_learns(weights: Path, tmp_path: Path):
    data = open_dataset("images", write_pictures(tmp_path / "data", 3))
    settings = FineTuning(steps=2, clips=1, clicks=1, workers=0)
    run = Run(recipe_for(weights, data, settings), tmp_path / "run")
    before = {name: p.detach().clone() for name, p in run.network.named_parameters()}
    run.train()
    moved = {name for name, p in run.network.named_parameters() if not torch.equal(p, before[name])}
    assert not any(name.startswith("trunk.") for name in moved)
    assert "neck.lateral16.weight" in moved


def test_pictures_are_learned_one_by_one_and_videos_as_clips_too(weights: Path, tmp_path: Path):
    pictures = open_dataset("images", write_pictures(tmp_path / "pictures", 2))
    videos = open_dataset("videos", write_videos(tmp_path / "videos", 2))
    assert [shows_videos(data) for data in (pictures, videos)] == [False, True]

    (stills,) = recipe_for(weights, pictures, FineTuning()).sources
    assert stills.make_clip(0).frames_fhwc.shape == (1, 64, 64, 3)
    recipe = recipe_for(weights, videos, FineTuning(frames=3, clips=6, size=32))
    assert {source.name: source.clips for source in recipe.sources} == {"clips": 2, "stills": 6}
    assert recipe.sources[0].make_clip(0).frames_fhwc.shape == (3, 32, 32, 3)
    assert recipe.config.image_size == 32
    assert recipe.released_as == TINY


def test_pictures_are_learned_at_the_size_that_they_are_used_at(weights: Path, tmp_path: Path):
    network = SegmentationNetwork(replace(TINY, still_size=96))
    save_network(network, tmp_path / "larger.safetensors", description={})
    pictures = open_dataset("images", write_pictures(tmp_path / "pictures", 2))
    (stills,) = recipe_for(tmp_path / "larger.safetensors", pictures, FineTuning()).sources
    assert stills.make_clip(0).frames_fhwc.shape == (1, 96, 96, 3)
    clips, _ = recipe_for(tmp_path / "larger.safetensors", pictures, FineTuning(frames=2)).sources
    assert clips.make_clip(0).frames_fhwc.shape == (2, 64, 64, 3)


def test_a_network_that_keeps_shapes_learns_from_pictures_of_the_mean_shape(weights: Path, tmp_path: Path):
    for seed, (h, w) in enumerate([(40, 80), (30, 60), (50, 90)]):
        picture, mask = np.zeros((h, w, 3), np.uint8), np.zeros((h, w), np.uint8)
        mask[10:20, 10:20] = 255
        write_pair(picture, mask, tmp_path / f"images/{seed}.png", tmp_path / f"masks/{seed}.png")
    data = open_dataset("images", tmp_path)
    assert some_shapes(data) == [(40, 80), (30, 60), (50, 90)]
    (stills,) = recipe_for(weights, data, FineTuning(size=128)).sources
    assert stills.make_clip(0).frames_fhwc.shape == (1, 96, 192, 3)


def test_a_dataset_of_nothing_but_bad_records_is_refused(weights: Path, tmp_path: Path):
    data = open_dataset("images", write_pictures(tmp_path, 2))
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(RecordError, match="no record could be read"):
        recipe_for(weights, data, FineTuning())


def test_weights_without_some_part_are_refused():
    network = SegmentationNetwork(TINY)
    del network.memory_encoder
    with pytest.raises(ValueError, match="fine-tune a published checkpoint"):
        complete_config(network, "half.safetensors")


def test_numbers_of_nothing_are_refused():
    with pytest.raises(ValueError, match="a rate over 0"):
        FineTuning(rate=0)
