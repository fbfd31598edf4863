from __future__ import annotations

import numpy as np
import pytest

from masklet.evaluation.kept import Kept, PackedMask


@pytest.mark.parametrize("hw", [(1, 1), (3, 5), (48, 64)])
def test_a_packed_mask_is_the_mask(hw):
    mask = np.random.default_rng(0).random(hw) > 0.5
    packed = PackedMask.of(mask)
    assert np.array_equal(packed.mask, mask)
    assert packed.mask.dtype == bool
    assert packed.nbytes == -(-mask.size // 8)


def test_what_fits_is_made_once_and_the_rest_whenever_it_is_asked_for():
    made: list[int] = []

    def make(key: int) -> np.ndarray:
        made.append(key)
        return np.full(10, key, dtype=np.uint8)

    kept = Kept(make, most_bytes=25)
    for _ in range(2):
        assert [int(kept(key)[0]) for key in range(4)] == [0, 1, 2, 3]
    assert made == [0, 1, 2, 3, 2, 3]
