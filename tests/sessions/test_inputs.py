from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch

from masklet.sessions.inputs import drawn_tensor, picture_tensor


def read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("view", [np.asarray, read_only, np.fliplr], ids=["plain", "read-only", "mirrored"])
def test_arrays_of_any_kind_become_tensors_without_a_warning(view: Callable[[np.ndarray], np.ndarray]):
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    mask = picture[..., 0] > 128
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen, drawn = picture_tensor(view(picture.copy()), (8, 6)), drawn_tensor(view(mask.copy()), (8, 6))
    assert torch.equal(seen, picture_tensor(np.ascontiguousarray(view(picture.copy())), (8, 6)))
    assert torch.equal(drawn, drawn_tensor(np.ascontiguousarray(view(mask.copy())), (8, 6)))
