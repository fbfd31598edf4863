from __future__ import annotations

import numpy as np
import pytest
import torch

from masklet import masks
from masklet.sessions.everything import enlarge
from masklet.sessions.everything.enlarge import Enlarged, Enlarger, Patch, trimmed

SIZES = [(40, 56), (41, 97), (16, 16), (9, 30), (7, 5), (130, 16)]


def smooth_logits(seed: int, side: int = 16) -> np.ndarray:
    coarse = torch.randn(1, 1, 5, 5, generator=torch.Generator().manual_seed(seed)) * 4
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")[0, 0].numpy()


def plainly_enlarged(logits_hw: np.ndarray, picture_hw: tuple[int, int]) -> np.ndarray:
    return masks.resize_logits(torch.from_numpy(logits_hw), picture_hw).numpy()


@pytest.mark.parametrize("pixel_cost", [0, 1 << 30], ids=["along edges", "everywhere"])
@pytest.mark.parametrize("picture_hw", SIZES)
@pytest.mark.parametrize("at", [-1.0, 0.0, 1.5])
def test_patch_and_area_are_those_of_the_plain_enlargement(
    picture_hw: tuple[int, int], at: float, pixel_cost: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(enlarge, "PIXEL_COST", pixel_cost)
    enlarger = Enlarger((16, 16), picture_hw)
    for seed in range(5):
        logits_hw = smooth_logits(seed)
        expected = plainly_enlarged(logits_hw, picture_hw) > at
        enlarged = enlarger.enlarge(logits_hw)
        patch = enlarged.patch(at)
        assert enlarged.area(at) == expected.sum()
        assert np.array_equal(unpacked(patch, picture_hw), expected)
        if patch is not None:
            assert patch.box_px_xyxy[2] == np.flatnonzero(expected.any(axis=0))[-1]


def unpacked(patch: Patch | None, picture_hw: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(picture_hw, dtype=bool)
    if patch is not None:
        h, w = patch.mask.shape
        mask[patch.y0 : patch.y0 + h, patch.x0 : patch.x0 + w] = patch.mask
    return mask


@pytest.mark.parametrize("pixel_cost", [0, 1])
def test_noise_is_enlarged_as_well(pixel_cost: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(enlarge, "PIXEL_COST", pixel_cost)
    logits_hw = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    patch = Enlarger((16, 16), (60, 70)).enlarge(logits_hw).patch(0.0)
    assert np.array_equal(unpacked(patch, (60, 70)), plainly_enlarged(logits_hw, (60, 70)) > 0)


@pytest.mark.parametrize("level", [-3.0, 0.0])
def test_nothing_above_the_threshold_is_no_patch(level: float):
    enlarged = Enlarger((16, 16), (40, 40)).enlarge(np.full((16, 16), level, dtype=np.float32))
    assert enlarged.patch(0.0) is None
    assert enlarged.area(0.0) == 0


def test_values_are_computed_along_the_edge_only(monkeypatch: pytest.MonkeyPatch):
    computed = 0
    original = Enlarged._values

    def counted(self: Enlarged, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        nonlocal computed
        computed += len(ys)
        return original(self, ys, xs)

    monkeypatch.setattr(Enlarged, "_values", counted)
    y, x = np.mgrid[:128, :128]
    disc = (30 - np.hypot(y - 60, x - 70)).astype(np.float32)
    assert Enlarger((128, 128), (640, 640)).enlarge(disc).area(0.0) == pytest.approx(np.pi * 150**2, rel=0.01)
    assert 0 < computed < 0.03 * 640 * 640


@pytest.mark.parametrize(("x0", "y0"), [(0, 0), (3, 0), (0, 5), (40, 20), (44, 31)])
def test_run_lengths_of_a_patch_are_those_of_the_whole_mask(x0: int, y0: int):
    picture_hw = (40, 50)
    mask = np.random.default_rng(x0 + y0).random((9, 6)) < 0.6
    patch = trimmed(mask)
    assert patch is not None
    assert patch.moved(x0, y0).rle(picture_hw) == masks.encode_rle(unpacked(patch.moved(x0, y0), picture_hw))


def test_run_lengths_join_columns_that_are_full():
    everywhere = Patch(np.ones((4, 3), dtype=bool), 0, 0)
    assert masks.run_lengths(everywhere.rle((4, 3))) == [0, 12]
    assert masks.run_lengths(everywhere.rle((4, 5))) == [0, 12, 8]


@pytest.mark.parametrize("picture_hw", [(60, 80), (24, 28), (70, 28)])
def test_a_cleaned_patch_is_the_cleaned_mask_of_the_picture(picture_hw: tuple[int, int]):
    for seed in range(5):
        mask = plainly_enlarged(smooth_logits(seed, 12), (24, 28)) > 0
        mask ^= np.random.default_rng(seed).random(mask.shape) < 0.05
        patch = trimmed(mask, picture_hw[1] - 28, 0)
        assert patch is not None
        whole = unpacked(patch, picture_hw)
        expected = masks.remove_small_components(masks.fill_small_holes(whole, 12), 12)
        assert np.array_equal(unpacked(patch.cleaned(12, picture_hw), picture_hw), expected)


def test_background_beside_a_patch_is_no_hole_however_small_the_patch():
    corner = np.array([[1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=bool)
    assert np.array_equal(Patch(corner, 20, 20).cleaned(100, (50, 50)).mask, corner)
