from __future__ import annotations

import subprocess
import sys

import torch

from masklet.model.config import PICO
from masklet.model.device import shapes_only
from masklet.model.sam2 import SegmentationNetwork

MAKE = """
import sys
from masklet.model.config import MODELS, PICO
from masklet.model.device import shapes_only
from masklet.model.sam2 import SegmentationNetwork

with shapes_only():
    for config in (PICO, MODELS["sam2.1-hiera-tiny"]):
        SegmentationNetwork(config)
print("torch._dynamo" in sys.modules)
"""


def test_shapes_are_made_without_values_and_without_drawing_random_numbers():
    before = torch.get_rng_state()
    with shapes_only():
        network = SegmentationNetwork(PICO)
    assert torch.equal(torch.get_rng_state(), before)
    tensors = network.state_dict()
    assert {tensor.device.type for tensor in tensors.values()} == {"meta"}
    whole = SegmentationNetwork(PICO).state_dict()
    assert {name: tensor.shape for name, tensor in tensors.items()} == {name: t.shape for name, t in whole.items()}


def test_shapes_are_made_without_the_compiler_of_torch():
    run = subprocess.run([sys.executable, "-c", MAKE], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
