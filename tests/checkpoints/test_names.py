"""Names of the eight published checkpoints, as listed in tests/parity/keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from masklet.checkpoints.configs import infer_config
from masklet.checkpoints.loading import build_network
from masklet.checkpoints.names import from_published, to_published
from masklet.model.config import MODELS
from masklet.model.device import shapes_only
from masklet.model.sam2 import SegmentationNetwork

KEYS = sorted((Path(__file__).parents[1] / "parity" / "keys").glob("*.json"))


def published_shapes(path: Path) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in json.loads(path.read_text()).items()}


def shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_all_eight_published_checkpoints_are_known():
    assert len(KEYS) == 8


@pytest.mark.parametrize("path", KEYS, ids=lambda path: path.stem)
def test_published_tensors_fit_their_network_strictly_and_come_back(path: Path):
    published = published_shapes(path)
    ours = from_published(published)
    network = build_network(infer_config(ours), ours, source=path.name)
    assert network.config == MODELS[path.stem.replace("_", "-")]
    assert shapes(to_published(network)) == shapes(published)


def test_published_values_come_back(small_network: SegmentationNetwork):
    ours = from_published(to_published(small_network))
    assert ours.keys() == small_network.state_dict().keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in small_network.state_dict().items())


def test_the_network_with_another_trunk_has_no_published_names():
    with shapes_only():
        pico = SegmentationNetwork(MODELS["pico"])
    with pytest.raises(ValueError, match=r"pico cannot be written under the published names.*save_network"):
        to_published(pico)
