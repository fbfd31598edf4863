from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from tests.video.clips import make_video, number_in, numbered_frame

from masklet.server.limits import Limits
from masklet.server.normalise import KEY_FRAME_EVERY, check_limits, fitted_hw, normalise, open_uploaded, picture_suffix
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


def test_a_truncated_video_gives_what_is_left_or_an_error(tmp_path: Path, uploaded: Path):
    path = tmp_path / "cut.upload"
    path.write_bytes(uploaded.read_bytes()[:400])
    with pytest.raises(PreparationError, match="no video or picture"):
        prepared([path], tmp_path)


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
    with pytest.raises(PreparationError, match=r"too large|could not be decoded"):
        prepared([uploaded], tmp_path, video_bytes=2000)


def test_limits_travel_as_json():
    assert json.loads(json.dumps(asdict(Limits())))["side"] == 1920
    with pytest.raises(ValueError, match="side must be more than 0"):
        Limits(side=0)
