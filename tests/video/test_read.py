"""Reading any input as frames: which frame is which, on every kind of file, and what happens to broken ones."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from masklet.video import file as video_file
from masklet.video import source as video_source
from masklet.video.read import (
    ArrayFrames,
    FrameError,
    ImageFolder,
    IteratorFrames,
    VideoError,
    VideoFile,
    open_frames,
)

from .clips import (
    HEIGHT,
    WIDTH,
    cut_by_edit_list,
    damage,
    make_tone,
    make_tone_with_cover,
    make_video,
    number_in,
    numbered_frame,
    set_display_matrix,
)

COUNT = 60
OPEN_GOP = {"x264-params": "open-gop=1:keyint=12:bframes=3:scenecut=0"}
UNEVEN = np.cumsum(np.random.default_rng(0).integers(1, 9, COUNT)).tolist()
HIDDEN_FRAMES = {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "100k"}

FILES: dict[str, Callable[[Path], Path]] = {
    "constant rate": lambda d: make_video(d / "a.mp4"),
    "variable rate": lambda d: make_video(d / "a.mp4", pts=UNEVEN, time_base=Fraction(1, 120)),
    "variable rate with offset": lambda d: make_video(
        d / "a.mkv", pts=[tick + 300 for tick in UNEVEN], time_base=Fraction(1, 120)
    ),
    "open groups": lambda d: make_video(d / "a.mkv", options=OPEN_GOP, b_frames=3),
    "one group": lambda d: make_video(d / "a.mp4", gop=1000),
    "fragmented": lambda d: make_video(d / "a.mp4", container_options={"movflags": "frag_keyframe+empty_moov"}),
    "avi with wrong times": lambda d: make_video(d / "a.avi"),
    "mpeg-4 in avi": lambda d: make_video(d / "a.avi", codec="mpeg4"),
    "no times at all": lambda d: make_video(d / "a.h264", container="h264"),
    "transport stream": lambda d: make_video(d / "a.ts", container="mpegts"),
    "program stream": lambda d: make_video(d / "a.mpg", codec="mpeg2video"),
    "hidden frames": lambda d: make_video(d / "a.webm", codec="libvpx", b_frames=0, options=HIDDEN_FRAMES),
    "alpha": lambda d: make_video(
        d / "a.webm", codec="libvpx-vp9", pix_fmt="yuva420p", b_frames=0, options={"auto-alt-ref": "0"}
    ),
    "10 bit": lambda d: make_video(d / "a.mp4", pix_fmt="yuv420p10le"),
    "10 bit with alpha": lambda d: make_video(d / "a.mov", codec="prores_ks", pix_fmt="yuva444p10le", b_frames=0),
    "odd size": lambda d: make_video(d / "a.mp4", pix_fmt="yuv444p", hw=(65, 97)),
    "gif": lambda d: make_video(d / "a.gif", codec="gif", pix_fmt="rgb8", b_frames=0),
    "with sound": lambda d: make_video(d / "a.mp4", audio_hz=440),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("plain") / "plain.mp4")


def numbers(source: object) -> list[int]:
    return [number_in(frame) for frame in source]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", FILES)
def test_every_frame_is_the_right_one_forward_backward_and_at_random(kind: str, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    with open_frames(FILES[kind](tmp_path)) as frames:
        assert len(frames) == COUNT
        assert numbers(frames) == list(range(COUNT))
        assert [number_in(frames[index]) for index in reversed(range(COUNT))] == list(reversed(range(COUNT)))
        sought = chance.integers(COUNT, size=200).tolist()
        assert [number_in(frames[index]) for index in sought] == sought
        assert not frames.damaged
        assert not frames.problems


def test_times_are_those_in_the_file_also_where_the_rate_varies(tmp_path: Path) -> None:
    with open_frames(FILES["variable rate"](tmp_path)) as frames:
        assert frames.times == pytest.approx(np.array(UNEVEN) / 120, abs=1e-3)
        assert frames.time_of(7) == pytest.approx(UNEVEN[7] / 120, abs=1e-3)
        assert float(frames.fps or 0) == pytest.approx(120 * (COUNT - 1) / (UNEVEN[-1] - UNEVEN[0]), rel=1e-3)


def test_a_declared_rate_is_kept_exactly(tmp_path: Path) -> None:
    with open_frames(make_video(tmp_path / "a.mp4", 12, rate=Fraction(30000, 1001))) as frames:
        assert frames.fps == Fraction(30000, 1001)


def test_frames_hidden_by_an_edit_list_are_not_counted(plain: Path, tmp_path: Path) -> None:
    with open_frames(cut_by_edit_list(plain, tmp_path / "cut.mp4", shown_from=0.6)) as frames:
        assert numbers(frames) == list(range(15, COUNT))
        assert number_in(frames[44]) == 59
        assert number_in(frames[0]) == 15
        assert frames.times[0] == pytest.approx(0)
        assert not frames.problems


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((0, 1, 0, -1, 0, 0, 0, 0, 1), lambda frame: np.rot90(frame, -1)),
        ((0, -1, 0, 1, 0, 0, 0, 0, 1), lambda frame: np.rot90(frame, 1)),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), lambda frame: np.rot90(frame, 2)),
        ((-1, 0, 0, 0, 1, 0, 0, 0, 1), np.fliplr),
        ((1, 0, 0, 0, -1, 0, 0, 0, 1), np.flipud),
        ((0, 1, 0, 1, 0, 0, 0, 0, 1), lambda frame: frame.swapaxes(0, 1)),
    ],
)
def test_the_display_matrix_turns_and_mirrors_the_picture(
    matrix: tuple[int, ...], turned: Callable[[np.ndarray], np.ndarray], plain: Path, tmp_path: Path
) -> None:
    copy = set_display_matrix(Path(shutil.copy(plain, tmp_path / "turned.mp4")), matrix)
    with open_frames(plain) as upright, open_frames(copy) as frames:
        expected = turned(upright[7])
        assert frames.video_hw == expected.shape[:2]
        assert np.array_equal(frames[7], expected)


def test_colours_survive_within_what_the_codec_loses(plain: Path) -> None:
    with open_frames(plain) as frames:
        assert np.abs(frames[5].astype(int) - numbered_frame(5)).mean() < 6
        assert frames[5].dtype == np.uint8


def test_reading_forward_never_seeks(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    with VideoFile(plain) as frames:
        _count_runs(monkeypatch, runs)
        assert numbers(frames) == list(range(COUNT))
    assert len(runs) == 0


def test_reading_backward_decodes_each_group_once(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []
    with VideoFile(plain) as frames:
        _count_runs(monkeypatch, runs)
        for index in reversed(range(COUNT)):
            assert number_in(frames[index]) == index
        assert runs == [59, 47, 35, 23, 11]


def test_the_cache_stays_within_its_bytes_and_frames_stay_right(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", gop=1000)
    with VideoFile(path, cache_bytes=100_000) as frames:
        for index in reversed(range(COUNT)):
            assert number_in(frames[index]) == index
            assert frames._cache._bytes <= 100_000


def test_forward_reading_keeps_only_a_few_pictures(plain: Path) -> None:
    with VideoFile(plain) as frames:
        for _ in frames:
            assert len(frames._cache) <= video_file.RECENT_PICTURES


@pytest.mark.parametrize("fraction", [0.9, 0.6])
def test_a_video_that_ends_early_gives_the_frames_it_has_and_says_so(fraction: float, tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mp4", b_frames=0, container_options={"movflags": "faststart"})
    data = whole.read_bytes()
    pictures_at = data.index(b"mdat")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: pictures_at + int((len(data) - pictures_at) * fraction)])
    with open_frames(cut) as frames:
        assert 0 < len(frames) < COUNT
        assert numbers(frames) == list(range(len(frames)))
        assert "ends early: it declares 60 frames" in frames.problems[0]


def test_a_matroska_file_that_ends_early_says_so(tmp_path: Path) -> None:
    data = make_video(tmp_path / "whole.mkv", b_frames=0).read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 6 // 10])
    with open_frames(cut) as frames:
        assert numbers(frames) == list(range(len(frames)))
        assert "ends early: it declares 2.4 seconds" in frames.problems[0]


def test_a_recording_that_begins_within_a_group_leaves_out_what_cannot_be_decoded(tmp_path: Path) -> None:
    data = make_video(tmp_path / "whole.ts", container="mpegts").read_bytes()
    cut = tmp_path / "cut.ts"
    cut.write_bytes(data[188 * 20 :])
    with open_frames(cut) as frames:
        assert numbers(frames) == list(range(12, COUNT))
        assert "left out" in frames.problems[0]


def test_broken_frames_are_replaced_by_the_nearest_earlier_one_in_any_order(plain: Path, tmp_path: Path) -> None:
    broken = damage(plain, range(20, 22), tmp_path / "broken.mp4")
    with open_frames(broken) as frames, open_frames(broken) as backward:
        seen = numbers(frames)
        assert seen[:19] == list(range(19))
        assert seen[24:] == list(range(24, COUNT))
        lost = [index for index, reason in frames.damaged.items() if "cannot be decoded" in reason]
        assert lost
        assert set(lost) <= set(range(18, 24))
        assert seen[lost[0]] == seen[lost[0] - 1]
        assert [number_in(backward[index]) for index in reversed(range(COUNT))] == seen[::-1]
        assert set(lost) <= set(backward.damaged)


def test_a_broken_key_frame_costs_the_frames_up_to_the_next_one(plain: Path, tmp_path: Path) -> None:
    with open_frames(damage(plain, range(12, 13), tmp_path / "broken.mp4")) as frames:
        seen = numbers(frames)
        assert seen[:12] == list(range(12))
        assert seen[24:] == list(range(24, COUNT))
        assert set(frames.damaged) <= set(range(10, 24))  # the two before it are predicted from it, too


def test_a_strict_source_raises_and_names_the_broken_frame(plain: Path, tmp_path: Path) -> None:
    with open_frames(damage(plain, range(24, 25), tmp_path / "broken.mp4"), strict=True) as frames:
        with pytest.raises(FrameError, match=r"frame 24 of .* cannot be decoded") as raised:
            frames[24]
        assert raised.value.frame == 24
        assert number_in(frames[23]) == 23


def test_a_video_without_any_good_frame_is_an_error(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"no frame of .* can be decoded"):
        open_frames(damage(plain, range(COUNT), tmp_path / "broken.mp4"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"this is a letter, not a video\n" * 50),
        ("noise.mp4", np.random.default_rng(0).bytes(5000)),
        ("list.m3u8", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nplain.mp4\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", b"ffconcat version 1.0\nfile plain.mp4\n"),
    ],
)
def test_what_is_no_video_is_a_clear_error(name: str, content: bytes, plain: Path) -> None:
    path = plain.with_name(name)
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"no video that can be read .*; expected MP4"):
        open_frames(path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="has no video in it, only audio"):
        open_frames(make_tone(tmp_path / "tone.m4a", hz=440, seconds=0.5))


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="has no video in it"):
        open_frames(make_tone_with_cover(tmp_path / "tone.mp4"))


def test_a_missing_file_and_an_address_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="check the name"):
        open_frames(tmp_path / "none.mp4")
    with pytest.raises(FileNotFoundError, match="download it first"):
        open_frames("https://example.org/a.mp4")


def test_huge_frames_are_refused_before_they_are_decoded(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = tmp_path / "large.png"
    Image.new("L", (200, 100)).save(picture)
    monkeypatch.setattr(video_source, "MAX_FRAME_PIXELS", 1000)
    for path in (plain, picture):
        with pytest.raises(VideoError, match="over the limit of 1000 pixels"):
            open_frames(path)


def test_a_header_that_claims_a_huge_picture_fills_no_memory(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.gif", 3, codec="gif", pix_fmt="rgb8", b_frames=0)
    data = bytearray(path.read_bytes())
    data[6:10] = (60000).to_bytes(2, "little") * 2
    path.write_bytes(data)
    with pytest.raises(VideoError):
        open_frames(path)


def test_indices_count_from_the_end_too_and_stop_at_both(plain: Path) -> None:
    with open_frames(plain) as frames:
        assert number_in(frames[-1]) == 59
        for index in (60, -61):
            with pytest.raises(IndexError, match="frames are 0 to 59"):
                frames[index]


def test_a_folder_is_read_in_natural_order_without_other_files(tmp_path: Path) -> None:
    for number in (10, 9, 100, 1):
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"shot{number}.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / ".shot5.png").write_bytes(b"hidden")
    with open_frames(tmp_path) as frames:
        assert isinstance(frames, ImageFolder)
        assert numbers(frames) == [1, 9, 10, 100]
        assert frames.name_of(2) == "shot10"
        assert frames.video_hw == (HEIGHT, WIDTH)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
def test_each_kind_of_picture_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"one.{suffix}"
    Image.fromarray(numbered_frame(77)).save(path)
    with open_frames(path) as frames:
        assert numbers(frames) == [77]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(numbered_frame(5)).save(tmp_path / "a.png", exif=exif)
    with open_frames(tmp_path) as frames:
        assert frames.video_hw == (WIDTH, HEIGHT)
        assert np.array_equal(frames[0], np.rot90(numbered_frame(5), -1))


def test_grey_of_16_bits_is_scaled_and_alpha_is_dropped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    Image.fromarray(np.full((32, 32, 4), (9, 8, 7, 0), dtype=np.uint8)).save(tmp_path / "b.png")
    with open_frames(tmp_path) as frames:
        assert np.array_equal(frames[0][..., 1], ramp // 257)
        assert np.array_equal(frames[1], np.full((32, 32, 3), (9, 8, 7)))


def test_a_folder_of_unequal_pictures_names_the_first_that_differs(tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "1.png")
    Image.new("RGB", (40, 20)).save(tmp_path / "2.png")
    with pytest.raises(VideoError, match=r"2\.png is 40x20 but the first picture is 40x30"):
        open_frames(tmp_path)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="holds no pictures"):
        open_frames(tmp_path)


def test_a_broken_picture_in_a_folder_is_replaced_and_reported(tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(numbered_frame(number)).save(tmp_path / f"{number}.png")
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "0.png").write_bytes(b"nothing")
    with open_frames(tmp_path) as frames:
        assert numbers(frames) == [1, 1, 1, 3]
        assert sorted(frames.damaged) == [0, 2]
        assert "2.png cannot be read" in frames.damaged[2]


def test_arrays_and_lists_are_frames() -> None:
    stack = np.stack([numbered_frame(number) for number in range(5)])
    pictures = [Image.fromarray(frame) for frame in stack]
    for given in (stack, list(stack), tuple(pictures)):
        frames = open_frames(given, fps=10)
        assert isinstance(frames, ArrayFrames)
        assert numbers(frames) == [0, 1, 2, 3, 4]
        assert frames.times == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert len(open_frames(stack[0])) == 1


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([np.zeros((4, 4, 4), np.uint8)], r"must be an RGB uint8 array .*, got uint8 \(4, 4, 4\)"),
        ([np.zeros((4, 4, 3), np.float32)], "scale floats by 255"),
        ([], "no frames"),
        (7, "cannot take frames from int"),
        (iter([]), "gave no frames"),
    ],
)
def test_what_is_no_frame_is_named(frames: object, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        open_frames(frames)


def test_an_array_of_another_size_in_a_list_is_named() -> None:
    frames = open_frames([np.zeros((4, 6, 3), np.uint8), np.zeros((4, 8, 3), np.uint8)])
    with pytest.raises(VideoError, match="frame 1 is 8x4, the first one 6x4"):
        frames[1]


def test_an_iterator_is_drawn_from_only_as_far_as_needed_and_can_be_read_again() -> None:
    drawn: list[int] = []

    def camera() -> object:
        for number in range(9):
            drawn.append(number)
            yield numbered_frame(number)

    with open_frames(camera()) as frames:
        assert isinstance(frames, IteratorFrames)
        assert number_in(frames[3]) == 3
        assert drawn == [0, 1, 2, 3]
        assert frames.frame_count is None
        with pytest.raises(TypeError, match="not known"):
            len(frames)
        assert np.array_equal(frames[1], numbered_frame(1))
        assert numbers(frames) == list(range(9))
        assert len(frames) == 9
        assert number_in(frames[-2]) == 7
        with pytest.raises(IndexError):
            frames[9]


def test_an_iterator_keeps_at_most_so_many_bytes_and_says_which_frames_are_gone() -> None:
    with IteratorFrames((numbered_frame(number) for number in range(9)), disk_bytes=4 * HEIGHT * WIDTH * 3) as frames:
        assert number_in(frames[8]) == 8
        assert [number_in(frames[index]) for index in (5, 6, 7)] == [5, 6, 7]
        with pytest.raises(VideoError, match=r"frame 4 is no longer kept, only the newest 4 are"):
            frames[4]


def test_an_iterator_that_fails_has_not_ended() -> None:
    def camera() -> Iterator[np.ndarray]:
        yield numbered_frame(0)
        raise IndexError("no such picture")

    with open_frames(camera()) as frames, pytest.raises(RuntimeError, match=r"failed at frame 1.*no such picture"):
        list(frames)


def test_a_frame_that_could_not_be_written_is_not_lost() -> None:
    with IteratorFrames(numbered_frame(number) for number in range(4)) as frames:
        with files_of_at_most(3 * HEIGHT * WIDTH + 100), pytest.raises(OSError, match=r"frame 1 could not.*with space"):
            frames[1]
        assert [number_in(frames[index]) for index in (1, 0, 2)] == [1, 0, 2]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_error_of_the_iterator_is_passed_on_and_earlier_frames_stay() -> None:
    def camera() -> object:
        yield numbered_frame(0)
        raise OSError("unplugged")

    with open_frames(camera()) as frames:
        with pytest.raises(OSError, match="unplugged"):
            frames[1]
        assert number_in(frames[0]) == 0


def test_a_picture_of_another_size_within_a_video_is_scaled_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    parts = [make_video(tmp_path / f"{width}.ts", 12, hw=(64, width), container="mpegts") for width in (96, 128)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with open_frames(path) as frames:
        shapes = {frame.shape for frame in frames}
        assert shapes == {(64, 96, 3)}
        assert any("is 128x64; scaled to 96x64" in reason for reason in frames.damaged.values())


def _count_runs(monkeypatch: pytest.MonkeyPatch, runs: list[int]) -> None:
    """Notes the frame sought by every new decoding run."""

    class CountedRun(video_file.DecodingRun):
        def __init__(self, feed: object, table: object, start: object, sought: int) -> None:
            runs.append(sought)
            super().__init__(feed, table, start, sought)  # type: ignore[arg-type]

    monkeypatch.setattr(video_file, "DecodingRun", CountedRun)


def test_pyav_brings_the_codecs_that_the_writers_need() -> None:
    for name in ("libx264", "libvpx-vp9", "aac"):
        assert av.Codec(name, "w")
