from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from masklet.memory import MemoryBank
from masklet.model.config import HieraConfig, MemoryConfig, NetworkConfig
from masklet.model.detail import Places, detailed_squares, places_of, squares_of, taken, with_squares
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import SegmentationNetwork

HW = (4, 6)
CELLS, SQUARES = 24, 6
CONFIG = NetworkConfig(
    name="small",
    encoder=HieraConfig(embed_dim=16, heads=1, blocks=(1, 1, 2, 1), global_blocks=(3,)),
    image_size=128,
    width=128,
    mask_channels=(16, 8),
    decoder_heads=2,
    decoder_feedforward=64,
    memory=MemoryConfig(channels=32, slots=4, pointers=0, layers=2, feedforward=64, keys_from_image=True),
    dates_pointers=False,
)


def belief(*boxes: tuple[int, int, int, int]) -> Tensor:
    """Certain inside of one box (first row, first column, rows, columns, in cells) for each object."""
    inside_o1hw = torch.zeros(len(boxes), 1, *(16 * side for side in HW))
    for inside_1hw, box in zip(inside_o1hw, boxes, strict=True):
        top, left, rows, columns = (16 * side for side in box)
        inside_1hw[:, top : top + rows, left : left + columns] = 1
    return inside_o1hw


def test_squares_are_the_means_of_their_four_cells():
    cells_nd = torch.arange(float(CELLS))[:, None]
    assert squares_of(cells_nd, *HW)[:, 0].tolist() == [3.5, 5.5, 7.5, 15.5, 17.5, 19.5]
    assert torch.equal(with_squares(cells_nd, *HW)[:CELLS], cells_nd)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.9])
def test_every_cell_is_remembered_once_by_itself_or_in_its_square(share: float):
    ids_nd = torch.eye(CELLS)
    places = Places((places_of(belief((0, 0, 2, 2)), share), places_of(belief((2, 4, 2, 2)), share)), HW)
    cells_1nd = ids_nd[None].repeat(1, 2, 1)
    covered_d = (places.of_cells(cells_1nd)[0] * places.counts().exp()[:, None]).sum(0)
    torch.testing.assert_close(covered_d, torch.full((CELLS,), 2.0))
    assert (places.frames[0] < CELLS).sum() == 4 * detailed_squares(*HW, share)


def test_places_of_each_frame_are_those_of_all_frames_in_a_row():
    places = Places((places_of(belief((0, 0, 2, 2)), 0.3), places_of(belief((2, 4, 2, 2)), 0.3)), HW)
    first_1nd, second_1nd = torch.randn(2, 1, CELLS, 3)
    each = places.of_each([with_squares(x_1nd, *HW) for x_1nd in (first_1nd, second_1nd)])
    torch.testing.assert_close(places.of_cells(torch.cat([first_1nd, second_1nd], dim=1)), each)


def test_what_is_kept_in_detail_is_where_the_object_is():
    left_m, right_m = places_of(belief((0, 0, 2, 2), (2, 4, 2, 2)), 1 / SQUARES)
    assert sorted(left_m[:4].tolist()) == [0, 1, 6, 7]
    assert sorted(right_m[:4].tolist()) == [16, 17, 22, 23]


def test_outlines_go_before_the_middle_of_an_object():
    inside_o1hw = torch.zeros(1, 1, 160, 160)
    inside_o1hw[..., 32:, 32:] = 1
    first = places_of(inside_o1hw, 0.01)[0, 0].item()
    row, column = first // 10, first % 10
    assert min(row, column) < 6, "the corner inside is certain and far from any outline"


def test_each_object_takes_what_is_at_its_own_places():
    x_bnd = torch.arange(10.0).view(2, 5, 1)
    places_om = torch.tensor([[4, 0], [1, 1]])
    assert taken(x_bnd, places_om)[..., 0].tolist() == [[4, 0], [6, 6]]
    assert taken(x_bnd[:1], places_om)[..., 0].tolist() == [[4, 0], [1, 1]]


def followed(network: SegmentationNetwork, objects: int) -> Tensor:
    """What a frame recalls of three memories."""
    torch.manual_seed(1)
    pictures = torch.randn(4, 1, 3, 128, 128)
    memories = []
    for picture in pictures[:3]:
        features = network.encode_image(picture)
        clicks = PromptBatch(torch.rand(objects, 1, 2), torch.ones(objects, 1, dtype=torch.int))
        seen = network.decode(features, network.without_memory(features), clicks, candidates=True)
        memories.append(network.remember(features, network.choose(seen), prompted=False))
    bank = MemoryBank(network.config.memory, {0: memories[0]}, {1: memories[1], 2: memories[2]})
    return network.recall(network.encode_image(pictures[3]), bank.select(3))


def with_detail(detailed: float, **changed: Any) -> SegmentationNetwork:
    torch.manual_seed(0)
    return SegmentationNetwork(replace(CONFIG, memory=replace(CONFIG.memory, detailed=detailed, **changed))).eval()


@pytest.mark.parametrize("objects", [1, 2])
@pytest.mark.parametrize("precision", ["plain", "exact"])
@pytest.mark.parametrize("changed", [{}, {"keys_from_image": False, "pointers": 4}], ids=["image", "memory"])
@torch.no_grad()
def test_all_squares_in_detail_are_the_whole_memory_in_another_order(objects: int, precision, changed):
    networks = (with_detail(share, **changed).set_precision(precision) for share in (1.0, 0.999))
    whole, all_squares = (followed(network, objects) for network in networks)
    torch.testing.assert_close(all_squares, whole, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_part_in_detail_is_nearer_to_the_whole_memory_than_the_least():
    whole, half, least = (followed(with_detail(share), 1) for share in (1.0, 0.5, 0.01))
    assert 0 < (half - whole).abs().mean() < (least - whole).abs().mean()
