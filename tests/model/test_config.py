from __future__ import annotations

from dataclasses import replace

import pytest

from masklet.model.config import MODELS, PICO, shaped


@pytest.mark.parametrize("name", [name for name in MODELS if name != "pico"])
def test_the_published_networks_see_squares(name: str):
    config = MODELS[name]
    assert config.canvas((480, 854)) == config.canvas((854, 480)) == (1024, 1024)
    assert config.low_res_hw((480, 854)) == (256, 256)
    assert config.cells == 64


@pytest.mark.parametrize("picture_hw", [(480, 854), (854, 480), (3000, 4000), (500, 333), (100, 100), (1080, 2560)])
def test_a_network_that_keeps_shapes_sees_as_many_pixels_in_the_pictures_own_shape(picture_hw: tuple[int, int]):
    h, w = PICO.canvas(picture_hw)
    assert h % 32 == w % 32 == 0
    assert h * w == pytest.approx(PICO.image_size**2, rel=0.15)
    assert h / w == pytest.approx(picture_hw[0] / picture_hw[1], rel=0.08)
    assert PICO.low_res_hw(picture_hw) == (h // 4, w // 4)
    assert h // 16 % PICO.cells == w // 16 % PICO.cells == 0


def test_turned_pictures_have_turned_canvases():
    assert shaped(448, (480, 854)) == shaped(448, (854, 480))[::-1] == (352, 608)
    assert shaped(448, (77, 77)) == (448, 448)


def test_extremely_long_pictures_are_squeezed_and_tiny_networks_see_something():
    assert shaped(448, (10, 4000)) == shaped(448, (10, 40))
    assert replace(PICO, image_size=32).canvas((480, 854)) == (32, 32)
