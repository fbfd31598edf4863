from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from masklet.model.config import IMAGENET_MEAN, IMAGENET_STD, NetworkConfig
from masklet.sessions.inputs import drawn_tensor, frame_tensor, picture_tensor, resized_frame

from .conftest import KEYED, SMALL


def read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


@pytest.mark.parametrize("config", [SMALL, KEYED], ids=["published", "keeps shape"])
@pytest.mark.parametrize("view", [np.asarray, read_only, np.fliplr], ids=["plain", "read-only", "mirrored"])
def test_arrays_of_any_kind_become_tensors_without_a_warning(
    view: Callable[[np.ndarray], np.ndarray], config: NetworkConfig
):
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    mask = picture[..., 0] > 128
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        seen, framed = picture_tensor(view(picture.copy()), config), resized_frame(view(picture.copy()), config)
        drawn = drawn_tensor(view(mask.copy()), (8, 6))
    assert torch.equal(seen, picture_tensor(np.ascontiguousarray(view(picture.copy())), config))
    assert np.array_equal(framed, resized_frame(np.ascontiguousarray(view(picture.copy())), config))
    assert torch.equal(drawn, drawn_tensor(np.ascontiguousarray(view(mask.copy())), (8, 6)))


def test_frames_are_resized_and_normalised_as_published():
    frame = np.random.default_rng(0).integers(0, 255, (48, 80, 3), np.uint8)
    resized = torch.from_numpy(np.array(Image.fromarray(frame).resize((64, 64)))).permute(2, 0, 1) / 255
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    assert torch.equal(frame_tensor(resized_frame(frame, SMALL))[0], (resized - mean) / deviation)


@pytest.mark.parametrize("hw", [(480, 800), (30, 50)], ids=["shrunk", "enlarged"])
def test_the_quick_way_shows_about_what_the_published_ways_show(hw: tuple[int, int]):
    noise = np.random.default_rng(0).integers(0, 255, (*hw, 3), np.uint8)
    blurred = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), hw[0] / 20)
    picture = (255 * (blurred - blurred.min()) / np.ptp(blurred)).astype(np.uint8)
    quick, published = replace(KEYED, image_size=256), replace(SMALL, image_size=256)
    seen = picture_tensor(picture, quick)
    assert torch.equal(seen, frame_tensor(resized_frame(picture, quick)))
    assert seen.shape == (1, 3, 192, 320)
    slow = picture_tensor(picture, published, hw=(192, 320))
    assert (seen - slow).abs().mean() < 0.05 * slow.std()
