from __future__ import annotations

import torch
from torch import nn

from masklet.training.pretrained import BATCH_NORM_EPS, fold


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
