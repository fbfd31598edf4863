from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from masklet.model.positions import FourierPositions, rotary_angles, rotate
from masklet.model.prompt_encoder import PromptBatch, PromptEncoder, Sketch


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return PromptEncoder(32).requires_grad_(False)


def test_a_point_lies_half_a_pixel_further_along_each_side(encoder: PromptEncoder):
    tokens, _ = encoder(PromptBatch(torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.int)), 2, 8)
    placed = encoder.positions(torch.tensor([0.5 / 128, 0.5 / 32])) + encoder.labels.weight[1]
    torch.testing.assert_close(tokens[0, 0], placed)


def test_points_become_tokens_with_one_filling_token_behind(encoder: PromptEncoder):
    tokens, dense = encoder(PromptBatch(torch.rand(2, 3, 2), torch.ones(2, 3, dtype=torch.int)), 4, 6)
    assert tokens.shape == (2, 4, 32)
    assert dense.shape == (2, 32, 4, 6)
    assert torch.equal(tokens[:, 3], encoder.no_point.weight.expand(2, -1))


def test_nothing_is_two_filling_tokens(encoder: PromptEncoder):
    tokens, _ = encoder(PromptBatch.nothing(1), 4, 4)
    assert torch.equal(tokens[0], encoder.no_point.weight.expand(2, -1))


def test_nothing_is_encoded_once_for_all_objects_and_follows_size_and_weights():
    torch.manual_seed(0)
    encoder = PromptEncoder(32, sketched=True)
    assert encoder.sketch is not None
    torch.nn.init.normal_(encoder.sketch.paint.weight)
    nothing = PromptBatch.nothing(3)
    for h, w in ((4, 6), (2, 3)):
        wanted = encoder(nothing, h, w)
        with torch.no_grad():
            for found, one in zip(encoder(nothing, h, w), wanted, strict=True):
                torch.testing.assert_close(found, one)
                assert len(found) == 3
                assert found.stride(0) == 0
            torch.nn.init.normal_(encoder.no_mask.weight)
            assert not torch.equal(encoder(nothing, h, w)[1], wanted[1])


def test_a_mask_that_is_added_to_nothing_is_seen(encoder: PromptEncoder):
    nothing = PromptBatch.nothing(1)
    masked = replace(nothing, mask_logits_o1hw=torch.randn(1, 1, 16, 16))
    with torch.no_grad():
        assert not torch.equal(encoder(masked, 4, 4)[1], encoder(nothing, 4, 4)[1].contiguous())


def test_positive_and_negative_clicks_at_one_place_differ(encoder: PromptEncoder):
    place = torch.full((1, 1, 2), 0.4)
    positive, negative = (encoder(PromptBatch(place, torch.full((1, 1), label)), 4, 4)[0] for label in (1, 0))
    assert not torch.equal(positive[0, 0], negative[0, 0])
    assert torch.equal(positive[0, 1], negative[0, 1])


def test_a_mask_gives_the_dense_map_and_no_tokens(encoder: PromptEncoder):
    tokens, dense = encoder(PromptBatch(mask_logits_o1hw=torch.randn(2, 1, 16, 24)), 4, 6)
    assert tokens.shape == (2, 0, 32)
    assert dense.shape == (2, 32, 4, 6)
    assert not torch.equal(dense[0], dense[1])


def test_an_untrained_sketch_changes_nothing():
    torch.manual_seed(0)
    encoder = PromptEncoder(32, sketched=True).requires_grad_(False)
    _, dense = encoder(PromptBatch(torch.rand(2, 3, 2), torch.ones(2, 3, dtype=torch.int)), 4, 6)
    assert torch.equal(dense, encoder.no_mask.weight[:, :, None, None].expand(2, -1, 4, 6))


def test_a_trained_sketch_is_added_to_mask_prompts_too():
    torch.manual_seed(0)
    encoder = PromptEncoder(32, sketched=True).requires_grad_(False)
    assert encoder.sketch is not None
    encoder.sketch.paint.weight.normal_()
    mask = torch.randn(1, 1, 16, 16)
    click = PromptBatch(torch.rand(1, 1, 2), torch.ones(1, 1, dtype=torch.int), mask)
    difference = encoder(click, 4, 4)[1] - encoder(PromptBatch(mask_logits_o1hw=mask), 4, 4)[1]
    assert difference.abs().amin() > 0


def test_a_click_is_drawn_where_it_lies_in_the_channels_of_its_label():
    clicks = torch.tensor([[[0.95, 0.05], [0.05, 0.95]]])
    drawn = Sketch(8).drawn(clicks, torch.tensor([[1, 0]]), 10, 10)
    for channel in range(3):
        assert drawn[0, channel, 0, 9] == drawn[0, channel].max()
        assert drawn[0, 3 + channel, 9, 0] == drawn[0, 3 + channel].max()
    assert drawn[0, 6:].count_nonzero() == 0


def test_a_click_is_drawn_as_a_disc_on_a_wide_picture_too():
    drawn = Sketch(8).drawn(torch.tensor([[[0.5, 0.5]]]), torch.tensor([[1]]), 5, 15)
    torch.testing.assert_close(drawn[0, :3, 2, 5:10], drawn[0, :3, :, 7])


def test_a_box_is_drawn_by_how_much_of_each_cell_it_covers():
    corners = torch.tensor([[[0.25, 0.5], [1.0, 0.875]], [[0.25, 0.5], [1.0, 0.875]]])
    inside = Sketch(8).drawn(corners, torch.tensor([[2, 3], [-1, -1]]), 4, 2)[:, 6]
    expected = torch.tensor([[0, 0], [0, 0], [0.5, 1], [0.25, 0.5]])
    torch.testing.assert_close(inside[0], expected)
    assert inside[1].count_nonzero() == 0


def test_a_grid_is_encoded_by_its_cell_centres():
    torch.manual_seed(0)
    positions = FourierPositions(16)
    centre = positions(torch.tensor([(2 + 0.5) / 5, (1 + 0.5) / 4]))
    torch.testing.assert_close(positions.grid(4, 5)[0, :, 1, 2], centre)


def test_rotated_tokens_know_only_their_displacement():
    torch.manual_seed(0)
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)
    angles = rotary_angles(8, 4, 4)

    def score(query_cell: int, key_cell: int) -> float:
        turned_query, turned_key = rotate(query, angles[[query_cell]]), rotate(key, angles[[key_cell]])
        return float((turned_query * turned_key).sum())

    assert score(0, 5) == pytest.approx(score(5, 10), abs=1e-5)
    assert score(0, 5) != pytest.approx(score(0, 6), abs=1e-3)
