from __future__ import annotations

import torch

from masklet.model.arithmetic import Kept
from masklet.model.config import HieraConfig
from masklet.model.hiera import Hiera, block_shapes, from_windows, pool_2x2, to_windows


def test_windows_put_together_again_are_the_picture():
    picture = torch.randn(2, 10, 13, 3)
    windows = to_windows(picture, 4)
    assert windows.shape == (2 * 3 * 4, 4, 4, 3)
    assert torch.equal(from_windows(windows, 10, 13), picture)


def test_pooling_takes_the_largest_of_every_cell():
    picture = torch.arange(16.0).reshape(1, 4, 4, 1)
    assert pool_2x2(picture).flatten().tolist() == [5, 7, 13, 15]
    with torch.no_grad():
        assert pool_2x2(picture).flatten().tolist() == [5, 7, 13, 15]


def test_the_window_lags_one_block_at_a_change_of_stage():
    config = HieraConfig(embed_dim=8, heads=1, blocks=(1, 2, 3, 1), global_blocks=(4,), windows=(8, 4, 14, 7))
    shapes = list(block_shapes(config))
    assert [shape.window for shape in shapes] == [8, 8, 4, 4, 0, 14, 14]
    assert [shape.pools for shape in shapes] == [False, True, False, True, False, False, True]
    assert [shape.out_width for shape in shapes] == [8, 16, 16, 32, 32, 32, 64]
    assert [shape.heads for shape in shapes] == [1, 2, 2, 4, 4, 4, 8]


def test_the_trunk_gives_maps_at_four_strides():
    config = HieraConfig(embed_dim=8, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,))
    maps = Hiera(config)(torch.randn(1, 3, 96, 96))
    assert [tuple(m.shape) for m in maps] == [(1, 8, 24, 24), (1, 16, 12, 12), (1, 32, 6, 6), (1, 64, 3, 3)]
    assert [m.shape[1] for m in maps] == list(config.channels)


def test_positions_that_are_kept_follow_the_weights_and_the_size():
    trunk = Hiera(HieraConfig(embed_dim=8, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,)))
    small, large = torch.randn(1, 3, 96, 96), torch.randn(1, 3, 128, 128)

    def assert_fresh() -> None:
        kept = [trunk(picture)[0] for picture in (small, large, small)]
        trunk._kept_position = Kept()
        torch.testing.assert_close(kept, [trunk(picture)[0] for picture in (small, large, small)], atol=0, rtol=0)

    with torch.no_grad():
        before = trunk(small)[0]
        assert_fresh()
        trunk.window_position.fill_(1.0)
        assert not torch.equal(trunk(small)[0], before)
        assert_fresh()
        state = {name: torch.randn_like(tensor) for name, tensor in trunk.state_dict().items()}
        trunk.load_state_dict(state, assign=True)
        assert_fresh()
