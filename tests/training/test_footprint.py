from __future__ import annotations

from dataclasses import replace

import pytest

from masklet.model.sam2 import SegmentationNetwork
from masklet.training.footprint import footprint, kept_bytes
from masklet.training.loop import Recipe, with_image_size
from masklet.training.optim import Rates


@pytest.fixture(autouse=True)
def small_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masklet.training.footprint.SIDES", (64, 128))


def test_what_learns_is_counted_four_times_and_what_is_frozen_once(recipe: Recipe):
    recipe = replace(recipe, rates=Rates(frozen=("trunk.",)))
    parameters = dict(SegmentationNetwork(recipe.config).named_parameters())
    learning = sum(p.numel() for name, p in parameters.items() if not name.startswith("trunk."))
    needed = footprint(recipe, frames=1, clips=1, objects=1)
    assert needed.parameters == 4 * sum(p.numel() for p in parameters.values())
    assert (needed.gradients, needed.optimiser) == (4 * learning, 8 * learning)
    assert needed.total == needed.parameters + 12 * learning + needed.activations
    averaged = footprint(replace(recipe, average=0.9), frames=1, clips=1, objects=1)
    assert (needed.average, averaged.average) == (0, needed.parameters)
    assert averaged.total == averaged.activations + 2 * needed.parameters + 12 * learning


def test_what_is_kept_of_a_large_picture_is_told_from_small_ones(recipe: Recipe):
    large = replace(recipe, config=with_image_size(recipe.config, 256))
    told = footprint(large, frames=2, clips=1, objects=2).activations
    assert told == pytest.approx(kept_bytes(large, 256, frames=2, objects=2), rel=0.03)


def test_a_frozen_trunk_and_fewer_clips_keep_less(recipe: Recipe):
    learning, frozen = (replace(recipe, rates=Rates(frozen=prefixes)) for prefixes in ((), ("trunk.",)))
    assert kept_bytes(frozen, 64, frames=1, objects=1) < 0.8 * kept_bytes(learning, 64, frames=1, objects=1)
    one, two = (footprint(frozen, frames=1, clips=clips, objects=1).activations for clips in (1, 2))
    assert two == pytest.approx(2 * one, rel=0.01)
