from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from tests.video.clips import make_video, number_in, numbered_frame

from masklet.server import normalise as normalising
from masklet.server.limits import Limits
from masklet.server.normalise import (
    KEY_FRAME_EVERY,
    Teller,
    check_limits,
    fitted_hw,
    normalise,
    open_uploaded,
    picture_suffix,
)
from masklet.server.preparing import PreparationError, prepare
from masklet.video.read import VideoFile, open_frames
from masklet.video.source import VideoError


def prepared(paths: Sequence[Path], folder: Path, **limits: Any) -> dict[str, Any]:
    return asyncio.run(prepare(paths, folder, Limits(**limits), lambda done, total: None))


def numbers_in(path: Path) -> list[int]:
    with VideoFile(path) as source:
        return [number_in(frame) for frame in source]


def test_every_frame_becomes_one_frame_at_a_constant_rate_with_frequent_key_frames(tmp_path: Path):
    uneven = [0, 40, 50, 160, 170, 180, 400, 410] + [500 + 40 * i for i in range(22)]
    path = make_video(tmp_path / "uneven.mkv", 30, pts=uneven, time_base=Fraction(1, 1000), b_frames=3)
    with open_uploaded([path]) as source:
        info = normalise(source, tmp_path, 1920, lambda news: None)
    assert numbers_in(tmp_path / "video.mp4") == list(range(30))
    with av.open(str(tmp_path / "video.mp4")) as video:
        packets = [packet for packet in video.demux(video=0) if packet.size]
    assert (info["frames"], info["width"], info["height"]) == (30, 96, 64)
    assert np.ptp(np.diff([packet.pts for packet in packets])) == 0
    assert packets[0].pts == 0
    assert max(np.diff([place for place, packet in enumerate(packets) if packet.is_keyframe])) <= KEY_FRAME_EVERY
    assert [packet.pts for packet in packets] == [packet.dts for packet in packets]


@pytest.mark.parametrize("codec", ["aac", "libopus"])
def test_sound_comes_along_and_leaves_the_pictures_where_they_were(tmp_path: Path, codec: str):
    path = make_video(tmp_path / "loud.mkv", 25, audio_hz=440, audio_codec=codec)
    with open_uploaded([path]) as source:
        assert normalise(source, tmp_path, 1920, lambda news: None)["sound"]
    with av.open(str(tmp_path / "video.mp4")) as video:
        names = [stream.codec_context.name for stream in video.streams]
        packets = [packet for packet in video.demux(video=0) if packet.size]
        assert [packet.pts for packet in packets] == [packet.dts for packet in packets]
        assert (packets[0].pts, len(packets)) == (0, 25)
    with av.open(str(tmp_path / "video.mp4")) as video:
        seconds = sum(float(packet.duration * packet.time_base) for packet in video.demux(audio=0) if packet.size)
    assert names == ["h264", "aac"]
    assert seconds == pytest.approx(1, abs=0.1)
    assert not [*tmp_path.glob("sound.*"), *tmp_path.glob("both.*")]


def test_large_videos_are_scaled_to_even_sides():
    assert fitted_hw((2160, 3840), 1920) == (1080, 1920)
    assert fitted_hw((63, 95), 1920) == (64, 96)
    assert fitted_hw((1, 4000), 1920) == (2, 1920)


def test_thumbnails_are_one_strip(tmp_path: Path, uploaded: Path):
    with open_frames(uploaded) as source:
        info = normalise(source, tmp_path, 1920, lambda news: None)
    width, height = Image.open(tmp_path / "thumbnails.jpg").size
    assert (info["thumbnails"], height, width) == (10, 54, 10 * 81)


def test_pictures_become_a_video_in_their_order(tmp_path: Path):
    paths = [tmp_path / f"{name}.upload" for name in "abc"]
    for number, path in enumerate(paths):
        Image.fromarray(numbered_frame(5 + number)).save(path, "PNG")
    info = prepared(paths, tmp_path)
    assert info["frames"] == 3
    assert numbers_in(tmp_path / "video.mp4") == [5, 6, 7]


def test_a_picture_that_cannot_be_read_is_named_without_the_server_s_folders(tmp_path: Path):
    paths = [tmp_path / f"{name}.upload" for name in "ab"]
    for path in paths:
        Image.fromarray(numbered_frame(5)).save(path, "PNG")
    paths[1].write_bytes(paths[1].read_bytes()[:-200])
    with pytest.raises(PreparationError, match=r"b\.png") as refused:
        prepared(paths, tmp_path)
    assert str(tmp_path) not in str(refused.value)


def test_a_picture_is_known_by_its_first_bytes():
    assert picture_suffix(b"\xff\xd8\xff\xe0") == ".jpg"
    assert picture_suffix(b"RIFF\0\0\0\0WEBPVP8 ") == ".webp"
    assert picture_suffix(b"RIFF\0\0\0\0AVI LIST") is None


def test_limits_name_what_came_and_what_is_taken(uploaded: Path):
    with open_frames(uploaded) as source:
        wrongs: list[dict[str, Any]] = [{"frames": 9}, {"seconds": 0.3}, {"input_side": 90}]
        for wrong in wrongs:
            with pytest.raises(VideoError, match="at most"):
                check_limits(source, asdict(Limits(**wrong)))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_video_that_is_cut_off_gives_what_is_left_or_an_error(tmp_path: Path, suffix: str):
    whole = make_video(tmp_path / f"whole.{suffix}", 30).read_bytes()
    for share in (0.02, 0.3, 0.6, 0.97):
        folder = tmp_path / str(share)
        folder.mkdir()
        path = folder / "cut.upload"
        path.write_bytes(whole[: int(len(whole) * share)])
        with suppress(VideoError):
            assert 0 < made_ready(path)["frames"] <= 30
            numbers = numbers_in(folder / "video.mp4")
            assert numbers == sorted(set(numbers))


def made_ready(path: Path, **limits: Any) -> dict[str, Any]:
    """In this process, which is quicker."""
    with open_uploaded([path]) as source:
        check_limits(source, asdict(Limits(**limits)))
        return normalise(source, path.parent, 1920, lambda news: None)


def test_a_video_of_bomb_dimensions_is_refused(tmp_path: Path):
    """Few bytes, whose header asks for pictures of gigabytes."""
    path = make_video(tmp_path / "small.avi", 10, codec="mjpeg", pix_fmt="yuvj420p", b_frames=0)
    data = path.read_bytes()
    small, huge = (struct.pack(">BHH", 8, *hw) for hw in ((64, 96), (60_000, 60_000)))
    assert data.count(small) == 10
    path.with_name("bomb.upload").write_bytes(data.replace(small, huge))
    with pytest.raises(PreparationError, match="no frame"):
        prepared([path.with_name("bomb.upload")], tmp_path)


def test_a_video_of_pictures_that_are_larger_than_any_is_refused(tmp_path: Path):
    path = make_video(tmp_path / "wide.mkv", 2, hw=(64, 8192), codec="mjpeg", pix_fmt="yuvj420p", b_frames=0)
    with pytest.raises(VideoError, match="at most 4320 pixels a side"):
        made_ready(path)


def test_an_endless_video_is_given_up(tmp_path: Path):
    """One whose frames repeat for ever; the time that it takes is bounded whatever it says of itself."""
    path = make_video(tmp_path / "long.ts", 60)
    path.write_bytes(path.read_bytes() * 400)
    with pytest.raises(PreparationError, match=r"took too long|cut it"):
        prepared([path], tmp_path, prepare_seconds=20)


@pytest.mark.parametrize("codec", ["aac", "mp3"])
def test_sound_is_always_coded_anew(tmp_path: Path, codec: str):
    path = make_video(tmp_path / "loud.mkv", 25, audio_hz=440, audio_codec=codec)
    made_ready(path)

    def packets(place: Path) -> list[bytes]:
        with av.open(str(place)) as file:
            return [bytes(packet) for packet in file.demux(audio=0) if packet.size > 20]

    assert not set(packets(path)) & set(packets(tmp_path / "video.mp4"))


def test_a_long_search_for_frames_and_sound_give_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(normalising, "LIFE_SECONDS", 0.0)
    monkeypatch.setattr(normalising, "SOUND_SECONDS", 0.25)
    path = make_video(tmp_path / "loud.mkv", 25, audio_hz=440)
    teller = Teller()
    with open_uploaded([path], teller.live) as source:
        opening = capsys.readouterr().out.splitlines()
        normalise(source, tmp_path, 1920, teller.tell)
    assert len(opening) >= 25
    assert set(opening) == {'{"done": 0, "total": 0}'}
    assert capsys.readouterr().out.splitlines().count('{"done": 25, "total": 25}') == 4


def test_a_picture_of_bomb_dimensions_is_refused(tmp_path: Path):
    path = tmp_path / "bomb.upload"
    Image.new("1", (30_000, 30_000)).save(path, "PNG")
    with pytest.raises(PreparationError, match="pixels"):
        prepared([path], tmp_path)


def test_a_decoder_that_hangs_is_ended(tmp_path: Path, uploaded: Path):
    with pytest.raises(PreparationError, match="took too long"):
        prepared([uploaded], tmp_path, stall_seconds=0.001)


def test_a_decoder_that_dies_is_an_error_for_the_user(tmp_path: Path, uploaded: Path):
    with pytest.raises(PreparationError, match=r"decode|memory"):
        prepared([uploaded], tmp_path, memory_bytes=200 << 20)


def test_a_video_that_grows_too_large_is_given_up(tmp_path: Path, uploaded: Path):
    with pytest.raises(PreparationError, match="no room for the video"):
        prepared([uploaded], tmp_path, video_bytes=1000)


def test_limits_travel_as_json():
    assert json.loads(json.dumps(asdict(Limits())))["side"] == 1920
    with pytest.raises(ValueError, match="side must be more than 0"):
        Limits(side=0)
