from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from masklet.data.material import NUCLEI, PEOPLE, Material, held_out


def test_no_clip_shows_every_fifth_picture_of_people_and_of_nuclei(tmp_path: Path):
    for folder in ("kodak", PEOPLE, NUCLEI):
        (tmp_path / folder).mkdir()
        for value in range(11):
            flat = np.full((4, 4), 20 * value, np.uint8)
            assert cv2.imwrite(str(tmp_path / folder / f"{value:02d}.jpg"), flat)
            assert cv2.imwrite(str(tmp_path / folder / f"{value:02d}.png"), flat)
    (tmp_path / "fluent3d_mit").mkdir()
    assert cv2.imwrite(str(tmp_path / "fluent3d_mit/0.webp"), np.zeros((4, 4, 4), np.uint8))
    material, rng = Material(tmp_path), np.random.default_rng(0)
    for drawn in (material.person, material.cells):
        seen = {int(drawn(rng)[1][0, 0]) // 20 for _ in range(300)}
        assert seen == set(range(11)) - {4, 9}
    assert [path.stem for path in held_out(sorted((tmp_path / PEOPLE).glob("*.jpg")))] == ["04", "09"]
