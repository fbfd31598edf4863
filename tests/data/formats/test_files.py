from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.data.formats.files import as_int, as_rate, inside, names_in, natural, read_ids, read_json, write_json
from masklet.data.records import RecordError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"a": NaN}', "NaN is no JSON number"),
        ('{"a": 1', "is no JSON that can be read"),
        ("\x00\xff", "is no JSON that can be read"),
    ],
)
def test_json_that_could_do_harm_is_refused_with_its_path(text: str, message: str, tmp_path: Path):
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RecordError, match=message) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_json_over_the_limit_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "large.json"
    path.write_text("[" + "0," * 1000 + "0]")
    with pytest.raises(RecordError, match="over the limit"):
        read_json(path, max_bytes=1000)


def test_json_is_written_in_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "new" / "a.json"
    write_json({"a": 1}, path)
    with pytest.raises(ValueError, match="Out of range float"):
        write_json({"a": float("nan")}, path)
    assert read_json(path) == {"a": 1}


@given(st.lists(st.sampled_from(["..", ".", "a", "/", "\\", "C:", "b.png", "\x00", ""]), max_size=6).map("/".join))
def test_no_name_leads_out_of_its_folder(name: str):
    folder = Path("/data/set")
    try:
        path = inside(folder, name)
    except RecordError:
        return
    assert folder in path.resolve().parents


def test_numbers_in_names_are_sorted_by_value():
    names = ["10.jpg", "2.jpg", "b.jpg", "1.jpg"]
    assert [path.name for path in natural(map(Path, names))] == ["1.jpg", "2.jpg", "10.jpg", "b.jpg"]


def test_a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path: Path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    data = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    path = tmp_path / "huge.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(RecordError, match=r"huge\.png"):
        read_ids(path)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("bear", "bear"),
        ("walk.1080p", "walk.1080p"),
        ("  my clip ", "my clip"),
        ("/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png", "bear"),
        ("JPEGImages/480p/my clip.1/00000.jpg JPEGImages/480p/my clip.1/00000.png", "my clip.1"),
        ("480p/bear.1", "bear.1"),
    ],
)
def test_a_line_of_a_list_names_a_video_or_its_files(line: str, name: str, tmp_path: Path):
    (tmp_path / "val.txt").write_text(f"{line}\n\n{line}\n")
    assert names_in(tmp_path / "val.txt") == [name]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400, True, "3", None, 2.5, [3]])
def test_what_is_no_whole_number_is_refused(value: object):
    with pytest.raises(RecordError, match="expected a whole number"):
        as_int(value, "height")


@pytest.mark.parametrize("value", [float("inf"), -1, 0, "24", None, 10**400])
def test_what_is_no_rate_is_none(value: object):
    assert as_rate(value) is None
    assert as_rate(24) == 24
