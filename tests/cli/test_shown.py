from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masklet.cli import shown
from masklet.cli.shown import merged, read_mask, read_prompts, typed_box, typed_click, typed_mask
from masklet.masks import encode_rle
from masklet.prompts import Box, Mask, Points


def written(path: Path, entries: Any) -> Path:
    path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
    return path


def clicks_of(prompt: object) -> list[tuple[float, ...]]:
    assert isinstance(prompt, Points)
    return [(*xy, label) for xy, label in zip(prompt.xy.tolist(), prompt.labels.tolist(), strict=True)]


@pytest.mark.parametrize(
    ("text", "frame", "obj", "label"),
    [
        ("480,270", 0, 1, 1),
        ("7:480,270", 7, 1, 1),
        ("7:480,270:-", 7, 1, 0),
        ("7:480,270@2", 7, 2, 1),
        ("7:480,270:-@12", 7, 12, 0),
    ],
)
def test_a_click_says_frame_object_and_sign(text: str, frame: int, obj: int, label: int):
    one = typed_click(text)
    assert (one.frame, one.obj) == (frame, obj)
    assert clicks_of(one.prompts[0]) == [(480, 270, label)]


@pytest.mark.parametrize("text", ["", "@2", "0:", "0:1", "0:1,2,3", "0:a,b", "0:1,2:x", "x:1,2", "0:1,nan", "0:1,2@b"])
def test_what_is_no_click_is_refused(text: str):
    with pytest.raises(ValueError, match=r"."):
        typed_click(text)


def test_a_box_has_four_numbers():
    assert typed_box("3:10,20.5,90,80@2").prompts == (Box(10, 20.5, 90, 80),)
    with pytest.raises(ValueError, match="is not 4 numbers"):
        typed_box("3:10,20,90")


def test_a_mask_file_may_have_colons_and_at_signs_in_its_name(tmp_path: Path):
    path = tmp_path / "a:b@c.png"
    Image.new("1", (8, 6), 1).save(path)
    assert typed_mask(f"4:{path}@2").obj == 2


def test_a_palette_mask_holds_the_object_of_the_number(tmp_path: Path):
    ids = np.zeros((6, 8), dtype=np.uint8)
    ids[:2], ids[4:] = 2, 5
    picture = Image.fromarray(ids).convert("P")
    picture.putdata(ids.ravel().tolist())
    picture.save(tmp_path / "ids.png")
    assert np.array_equal(read_mask(tmp_path / "ids.png", 5).array, ids == 5)
    with pytest.raises(ValueError, match=r"holds the objects \[2, 5\] but not object 1; name one of them as @2"):
        read_mask(tmp_path / "ids.png", 1)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA"])
def test_the_bright_or_opaque_part_of_a_picture_is_the_mask(mode: str, tmp_path: Path):
    wanted = np.zeros((6, 8), dtype=bool)
    wanted[1:4, 2:5] = True
    white = Image.fromarray(wanted.astype(np.uint8) * 255)
    if "A" in mode:
        picture = Image.new(mode, white.size)
        picture.putalpha(white)
    else:
        picture = white.convert(mode)
    picture.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", 1).array, wanted)


def test_a_mask_that_is_no_picture_is_refused(tmp_path: Path):
    (tmp_path / "mask.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"mask .*mask\.png cannot be read"):
        read_mask(tmp_path / "mask.png", 1)


def test_prompts_of_one_frame_and_object_go_together_with_the_box_first():
    one, other = merged([typed_click("0:1,2"), typed_click("0:3,4:-"), typed_box("5:1,2,3,4"), typed_box("0:0,0,9,9")])
    assert (one.frame, other.frame) == (0, 5)
    assert one.prompts[0] == Box(0, 0, 9, 9)
    assert clicks_of(one.prompts[1]) == [(1, 2, 1), (3, 4, 0)]


def test_objects_on_one_frame_stay_apart_in_the_order_of_their_numbers():
    apart = merged([typed_click("0:1,2@9"), typed_click("0:1,2@4"), typed_click("0:5,6@9")])
    assert [one.obj for one in apart] == [4, 9]


def test_two_boxes_for_one_object_and_frame_are_refused():
    with pytest.raises(ValueError, match=r"object 1 has 2 boxes, 0 masks and 0 clicks on frame 0; .* write @2 after"):
        merged([typed_box("0:0,0,9,9"), typed_box("0:0,0,8,8")])


def test_marks_show_clicks_and_box():
    (one,) = merged([typed_click("0:3,4:-@2"), typed_box("0:1,2,5,6@2")])
    marks = one.marks
    assert (marks.object_id, marks.points_px_xy, marks.labels, marks.box_px_xyxy) == (2, [[3, 4]], [0], [1, 2, 5, 6])


def test_a_json_file_holds_points_labels_boxes_and_masks(tmp_path: Path):
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:3] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")
    entries = [
        {"frame": 3, "object": 2, "points": [[1, 2], [3, 4.5]], "labels": [1, 0], "box": [0, 0, 9, 9]},
        {"points": [[5, 6]]},
        {"frame": 1, "mask": "mask.png"},
        {"frame": 2, "mask": encode_rle(mask)},
    ]
    both, click, *masks = read_prompts(written(tmp_path / "prompts.json", entries))
    assert (both.frame, both.obj, both.prompts[0]) == (3, 2, Box(0, 0, 9, 9))
    assert clicks_of(both.prompts[1]) == [(1, 2, 1), (3, 4.5, 0)]
    assert (click.frame, click.obj, clicks_of(click.prompts[0])) == (0, 1, [(5, 6, 1)])
    for one in masks:
        assert isinstance(one.prompts[0], Mask)
        assert np.array_equal(one.prompts[0].array, mask)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([], "expected an object"),
        ({"point": [1, 2]}, "fields"),
        ({}, "shows nothing"),
        ({"frame": -1, "points": [[1, 2]]}, "frame must be a whole number"),
        ({"frame": True, "points": [[1, 2]]}, "frame must be a whole number"),
        ({"object": "cat", "points": [[1, 2]]}, "object must be a whole number"),
        ({"points": [[1, 2, 3]]}, "points must have shape"),
        ({"points": [[1, None]]}, "finite"),
        ({"points": [[10**400, 1]]}, "too large"),
        ({"points": [[1, 2]] * 1001}, "at most 1000"),
        ({"points": [[1, 2]], "labels": [1, 1]}, "one label per point"),
        ({"labels": [1]}, "labels without points"),
        ({"box": [1, 2, 3]}, "box must have shape"),
        ({"box": [5, 5, 1, 1]}, "is empty"),
        ({"mask": "missing.png"}, "there is no mask"),
        ({"mask": {"size": [10**6, 10**6], "counts": "0"}}, "over the limit"),
    ],
)
def test_a_wrong_entry_is_named(entry: Any, message: str, tmp_path: Path):
    path = written(tmp_path / "prompts.json", [{"points": [[1, 2]]}, entry])
    with pytest.raises(ValueError, match=rf"prompts\.json, entry 2: .*{message}"):
        read_prompts(path)


@pytest.mark.parametrize("text", ["", "{}", "7", "[" * 100_000, "\x00", "[{}"])
def test_what_is_no_list_of_prompts_is_refused(text: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"prompts\.json (must hold a list|is not JSON)"):
        read_prompts(written(tmp_path / "prompts.json", text))


def test_the_size_of_a_json_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shown, "MAX_JSON_BYTES", 100)
    with pytest.raises(ValueError, match="longer than 100 bytes"):
        read_prompts(written(tmp_path / "prompts.json", [{"points": [[1, 2]]}] * 20))
