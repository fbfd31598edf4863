"""How many bytes a training step needs, before a graphics card is bought or filled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from masklet.model.sam2 import SegmentationNetwork
from masklet.training.batches import ClipBatch
from masklet.training.loop import Recipe, with_image_size
from masklet.training.optim import optimizer
from masklet.training.simulation import Plan, Simulation
from masklet.training.sparing import recompute_blocks
from masklet.training.unroll import Unroll

BYTES = 4
"""Of a number in float32."""
MOMENTS = 2
"""Numbers that AdamW keeps for each that learns."""
SIDES = (224, 448)
"""Pictures that a step is tried on; sides of whole windows of every trunk."""


@dataclass(frozen=True)
class Footprint:
    """Bytes by what they are for."""

    parameters: int
    gradients: int
    optimiser: int
    average: int
    """The moving average of the weights, if there is one."""
    activations: int
    """What autograd keeps from the way forward for the way back."""

    @property
    def total(self) -> int:
        """All of them."""
        return sum(astuple(self))


def footprint(recipe: Recipe, *, frames: int, clips: int, objects: int) -> Footprint:
    """Bytes of a step with batches of so many clips, frames per clip and objects per clip.

    Parameters are counted. What autograd keeps is measured on one clip of two small sizes; it grows linearly with the
    pixels and with the clips, as attention keeps no matrix of weights.
    """
    network = SegmentationNetwork(recipe.config)
    learning = numbers(p for group in optimizer(network, recipe.rates).param_groups for p in group["params"])
    parameters = BYTES * numbers(network.parameters())
    pixels = np.square(SIDES)
    kept = [kept_bytes(recipe, side, frames, objects) for side in SIDES]
    per_pixel, fixed = np.polyfit(pixels, kept, 1)
    return Footprint(
        parameters=parameters,
        gradients=BYTES * learning,
        optimiser=BYTES * MOMENTS * learning,
        average=parameters if recipe.average else 0,
        activations=round(clips * (per_pixel * recipe.config.image_size**2 + max(fixed, 0))),
    )


def kept_bytes(recipe: Recipe, side: int, frames: int, objects: int) -> int:
    """What autograd keeps of one clip of side x side pixels, without the parameters."""
    network = SegmentationNetwork(with_image_size(recipe.config, side)).train()
    optimizer(network, recipe.rates)
    if recipe.recompute:
        recompute_blocks(network)
    own = {address(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if address(tensor) not in own:
            kept[address(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    batch = centred_square(side, frames, objects)
    plan = dearest_plan(recipe.simulation, frames)
    with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, recipe.bfloat16):
        loss = Unroll(network, batch, plan, batch.generators(), recipe.losses).run().loss(1)
    assert loss.requires_grad, "something learns"
    return sum(kept.values())


def dearest_plan(simulation: Simulation, frames: int) -> Plan:
    """The one that asks the network most often."""
    corrected = range(min(simulation.corrected_frames, frames))
    return Plan(frames, prompted={0: "click"}, corrected=frozenset(corrected), clicks=simulation.clicks)


def centred_square(side: int, frames: int, objects: int) -> ClipBatch:
    """One clip of objects that all are the same."""
    masks_ofhw = torch.zeros(objects, frames, side, side, dtype=torch.bool)
    masks_ofhw[..., side // 4 : -side // 4, side // 4 : -side // 4] = True
    frames_bfchw = torch.zeros(1, frames, 3, side, side, dtype=torch.uint8)
    return ClipBatch(frames_bfchw, masks_ofhw, torch.zeros(objects, dtype=torch.long), seeds=(0,))


def numbers(tensors: Iterable[Tensor]) -> int:
    """How many numbers tensors hold."""
    return sum(tensor.numel() for tensor in tensors)


def address(tensor: Tensor) -> int:
    """Where a tensor's numbers lie; views share them."""
    return tensor.untyped_storage().data_ptr()
