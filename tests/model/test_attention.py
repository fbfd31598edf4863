from __future__ import annotations

import pytest
import torch
from torch import nn

from masklet.model.arithmetic import EXACT, PLAIN, Arithmetic, attend
from masklet.model.attention import Placed, RotaryAttention, Shifts
from masklet.model.positions import Rotation, rotary_angles

H, W, GRIDS = 3, 4, 2


@pytest.fixture
def attention() -> RotaryAttention:
    torch.manual_seed(0)
    return RotaryAttention(16, 2)


def tokens() -> torch.Tensor:
    return torch.randn(1, GRIDS * H * W, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("arithmetic", [PLAIN, EXACT])
def test_shifts_of_turned_keys_are_those_of_their_tokens(attention: RotaryAttention, arithmetic: Arithmetic):
    for module in attention.modules():
        if hasattr(module, "arithmetic"):
            module.arithmetic = arithmetic  # type: ignore[assignment]
    placed = Placed(Rotation(rotary_angles(8, H, W)))
    shift_gc = torch.arange(2 * 16.0).view(GRIDS, 16) / 16
    with torch.no_grad():
        wanted = attention.turned_keys(tokens() + shift_gc.repeat_interleave(H * W, dim=0), placed)
        found = attention.turned_keys(tokens(), placed) + attention.turned_shifts(
            Shifts(shift_gc, shift_gc, (0, 1)), placed
        )
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_shifts_are_made_anew_for_other_slots_places_and_weights(attention: RotaryAttention):
    placed, turned = Placed(Rotation(rotary_angles(8, H, W))), Placed(Rotation(rotary_angles(8, W, H)))
    table_sc = torch.ones(3, 16)
    first, second = Shifts(table_sc[:2], table_sc, (0, 1)), Shifts(0 * table_sc[1:], table_sc, (1, 2))
    with torch.no_grad():
        made = attention.turned_shifts(first, placed)
        assert attention.turned_shifts(first, placed) is made
        assert not attention.turned_shifts(second, placed).any()
        assert not torch.equal(attention.turned_shifts(first, turned), made)
        nn.init.zeros_(attention.key.weight)
        assert not attention.turned_shifts(first, placed).any()


def test_one_row_of_keys_stands_for_all_rows_of_values(attention: RotaryAttention):
    rotation = Rotation(rotary_angles(8, H, W))
    key, values = tokens(), torch.randn(3, GRIDS * H * W, 16)
    query = torch.randn(1, H * W, 16)
    with torch.no_grad():
        together = attention.look(query, attention.turned_keys(key, Placed(rotation)), values, rotation)
        apart = [attention(query, key, value[None], rotation) for value in values]
    torch.testing.assert_close(together, torch.cat(apart))


@pytest.mark.parametrize("learns", [True, False])
def test_a_share_of_the_attention_weights_is_left_out_and_the_others_make_up_for_it(learns: bool):
    torch.manual_seed(0)
    query, one_key = torch.ones(1, 1, 4000, 2, requires_grad=learns), torch.ones(1, 1, 1, 2)
    found = attend(query, one_key, one_key, dropout=0.25)
    assert found.unique().tolist() == pytest.approx([0, 4 / 3])
    assert found.mean().item() == pytest.approx(1, abs=0.05)


def test_nothing_is_left_out_but_while_training(attention: RotaryAttention):
    rotation, x = Rotation(rotary_angles(8, H, W)), tokens()[:, : H * W]
    whole = attention(x, x, x, rotation)
    attention.dropout = 0.5
    assert not torch.equal(attention(x, x, x, rotation), whole)
    assert torch.equal(attention.eval()(x, x, x, rotation), whole)
