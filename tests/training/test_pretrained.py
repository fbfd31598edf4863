from __future__ import annotations

import torch
from torch import nn

from masklet.model.config import IMAGENET_MEAN, IMAGENET_STD
from masklet.model.mobile import InvertedResidual
from masklet.training.pretrained import BATCH_NORM_EPS, INPUT_MEAN, INPUT_STD, fold, normalise_input, rescale


def test_a_folded_convolution_equals_convolution_and_normalisation():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, bias=False)
    norm = nn.BatchNorm2d(5, eps=BATCH_NORM_EPS).eval()
    with torch.no_grad():
        for values in (norm.weight, norm.bias, norm.running_mean):
            assert values is not None
            values.normal_()
        assert norm.running_var is not None
        norm.running_var.uniform_(0.5, 2)
        assert norm.running_mean is not None
        weight, bias = fold(conv.weight, [norm.weight, norm.bias, norm.running_mean, norm.running_var])
        x = torch.randn(2, 3, 8, 8)
        torch.testing.assert_close(nn.functional.conv2d(x, weight, bias), norm(conv(x)))


def test_a_first_layer_made_for_other_pictures_gives_the_same_for_ours():
    torch.manual_seed(0)
    stem = nn.Conv2d(3, 4, 3)
    rgb = torch.rand(1, 3, 8, 8)
    wanted = stem((rgb - INPUT_MEAN) / INPUT_STD)
    normalise_input(stem)
    mean, std = (torch.tensor(v)[:, None, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    torch.testing.assert_close(stem((rgb - mean) / std), wanted)


def test_rescaled_blocks_take_and_give_the_same_in_other_units():
    torch.manual_seed(0)
    first, second = InvertedResidual(4, 6, 6, 3, 2), InvertedResidual(6, 6, 6, 5, 1)
    x = torch.randn(1, 4, 8, 8)
    wanted = second(first(x))
    rescale(first, 1.0, 5.0)
    rescale(second, 5.0, 5.0)
    torch.testing.assert_close(second(first(x)) * 5, wanted)
