"""Less memory for more computing."""

from __future__ import annotations

from functools import partial

from torch.utils.checkpoint import checkpoint

from masklet.model.hiera import HieraBlock
from masklet.model.mobile import InvertedResidual
from masklet.model.sam2 import SegmentationNetwork


def recompute_blocks(network: SegmentationNetwork) -> None:
    """Let the trunk's blocks forget what they computed and compute it again going backward."""
    for block in network.trunk.modules():
        if isinstance(block, (HieraBlock, InvertedResidual)):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
