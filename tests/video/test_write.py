"""Writing results: what comes out must be readable by others and be what went in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from masklet.masks import decode_rle
from masklet.video import FORMATS
from masklet.video.read import ArrayFrames, FrameSource, open_frames
from masklet.video.write import PromptMarks, VideoWriter, open_writer

from .clips import HEIGHT, WIDTH, make_video, number_in, numbered_frame

UNEVEN = np.cumsum(np.random.default_rng(1).integers(2, 9, 30)).tolist()


def box_mask(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


LEFT, RIGHT = box_mask(10, 20, 40, 50), box_mask(30, 30, 80, 56)


def frames_of(count: int, fps: int | None = 25) -> FrameSource:
    return open_frames([numbered_frame(number) for number in range(count)], fps=fps)


def write_plain(path: Path, source: FrameSource, frames: range) -> None:
    writer = VideoWriter(path, source)
    for index in frames:
        writer.add(index, source[index])
    writer.close()


def sound_of(path: Path) -> np.ndarray:
    """Mono samples of a file's sound, from the first that is heard."""
    with av.open(str(path)) as file:
        parts = [sound.to_ndarray()[0] for sound in file.decode(audio=0)]
    return np.concatenate(parts)


def pitch_hz(samples: np.ndarray, rate: int = 48000) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


def test_a_video_keeps_frames_rate_and_times(tmp_path: Path) -> None:
    source = open_frames(make_video(tmp_path / "in.mp4", 30, rate=Fraction(30000, 1001)))
    write_plain(tmp_path / "out.mp4", source, range(30))
    with open_frames(tmp_path / "out.mp4") as written:
        assert [number_in(frame) for frame in written] == list(range(30))
        assert written.fps == Fraction(30000, 1001)
        assert written.times == pytest.approx(source.times, abs=1e-6)


def test_uneven_frame_times_are_kept_relative_to_the_first_frame_written(tmp_path: Path) -> None:
    source = open_frames(make_video(tmp_path / "in.mkv", 30, pts=UNEVEN, time_base=Fraction(1, 100)))
    write_plain(tmp_path / "out.mp4", source, range(5, 25))
    with open_frames(tmp_path / "out.mp4") as written:
        assert [number_in(frame) for frame in written] == list(range(5, 25))
        assert written.times == pytest.approx(source.times[5:25] - source.times[5], abs=1e-4)


def test_frames_that_are_skipped_leave_their_time(tmp_path: Path) -> None:
    write_plain(tmp_path / "out.mp4", frames_of(20), range(0, 20, 5))
    with open_frames(tmp_path / "out.mp4") as written:
        assert written.times == pytest.approx([0, 0.2, 0.4, 0.6])


def test_odd_sides_grow_by_one_pixel(tmp_path: Path) -> None:
    source = open_frames([numbered_frame(number, (65, 97)) for number in range(4)], fps=25)
    write_plain(tmp_path / "out.mp4", source, range(4))
    with open_frames(tmp_path / "out.mp4") as written:
        assert written.video_hw == (66, 98)
        assert number_in(written[3]) == 3
        assert np.abs(written[0][:65, :97].astype(int) - source[0]).mean() < 8


def test_colours_come_back(tmp_path: Path) -> None:
    frame = np.zeros((64, 96, 3), dtype=np.uint8)
    frame[:, :32], frame[:, 32:64], frame[:, 64:] = (220, 30, 30), (30, 200, 60), (40, 60, 210)
    write_plain(tmp_path / "out.mp4", open_frames([frame], fps=25), range(1))
    with open_frames(tmp_path / "out.mp4") as written:
        for x in (16, 48, 80):
            assert written[0][32, x] == pytest.approx(frame[32, x], abs=4)


def test_frames_out_of_order_are_refused(tmp_path: Path) -> None:
    source = frames_of(4)
    with open_writer(tmp_path / "out.mp4", source) as writer:
        writer.add(2, source[2], {})
        with pytest.raises(ValueError, match="frame 1 came after 2"):
            writer.add(1, source[1], {})
    assert writer.ascending


def test_sound_is_copied_unchanged(tmp_path: Path) -> None:
    source = open_frames(make_video(tmp_path / "in.mp4", 50, audio_hz=440))
    write_plain(tmp_path / "out.mp4", source, range(50))
    with av.open(str(tmp_path / "out.mp4")) as written:
        assert written.streams.audio[0].codec_context.name == "aac"
    samples = sound_of(tmp_path / "out.mp4")
    assert len(samples) / 48000 == pytest.approx(2.0, abs=0.06)
    assert pitch_hz(samples[4800:-4800]) == pytest.approx(440, abs=2)


def test_sound_is_cut_with_the_frames(tmp_path: Path) -> None:
    source = open_frames(make_video(tmp_path / "in.mp4", 50, audio_hz=440))
    write_plain(tmp_path / "out.mp4", source, range(10, 30))
    with av.open(str(tmp_path / "out.mp4")) as written:
        packets = [packet for packet in written.demux(audio=0) if packet.size]
        times = [float(packet.pts * packet.time_base) for packet in packets]
    assert 0 <= times[0] < 0.03
    assert times[-1] < 0.8
    assert len(sound_of(tmp_path / "out.mp4")) / 48000 == pytest.approx(0.8, abs=0.06)


def test_sound_that_mp4_cannot_hold_is_recoded(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.mkv", 50, audio_hz=440, audio_codec="pcm_s16le")
    write_plain(tmp_path / "out.mp4", open_frames(path), range(50))
    samples = sound_of(tmp_path / "out.mp4")
    assert pitch_hz(samples[4800:-4800]) == pytest.approx(440, abs=2)


def test_sound_that_only_mp4_can_hold_is_recoded_for_mov(tmp_path: Path) -> None:
    path = make_video(tmp_path / "in.webm", 50, codec="libvpx-vp9", audio_hz=440, audio_codec="libopus")
    for name, codec in (("out.mp4", "opus"), ("out.mov", "aac")):
        write_plain(tmp_path / name, open_frames(path), range(50))
        with av.open(str(tmp_path / name)) as written:
            assert written.streams.audio[0].codec_context.codec.canonical_name == codec
        assert pitch_hz(sound_of(tmp_path / name)[4800:-4800]) == pytest.approx(440, abs=2)


def test_a_killed_process_leaves_a_video_that_plays(tmp_path: Path) -> None:
    script = f"""
import numpy as np, os, signal
from masklet.video.read import open_frames
from masklet.video.write import open_writer
frames = np.random.default_rng(0).integers(0, 255, (4, 64, 96, 3), dtype=np.uint8)
def camera():
    for n in range(120): yield frames[n % 4]
source = open_frames(camera(), fps=25)
writer, notes = open_writer({str(tmp_path / "out.mp4")!r}, source), open_writer({str(tmp_path / "out.json")!r}, source)
for n in range(120):
    writer.add(n, source[n], {{}})
    notes.add(n, source[n], {{1: source[n][..., 0] > 128}})
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], check=False, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    with open_frames(tmp_path / "out.mp4") as written:
        assert len(written) >= 60
        assert written[50].shape == (64, 96, 3)
    document = json.loads((tmp_path / "out.json").read_text())
    assert len(document["frames"]) == 120
    assert document["complete"] is False


def test_an_error_between_two_frames_leaves_the_finished_ones(tmp_path: Path) -> None:
    source = frames_of(20)

    def track_until_stopped() -> None:
        with open_writer(tmp_path / "out.mp4", source) as writer, open_writer(tmp_path / "out.json", source):
            for index in range(7):
                writer.add(index, source[index], {1: LEFT})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track_until_stopped()
    assert json.loads((tmp_path / "out.json").read_text())["complete"] is False
    with open_frames(tmp_path / "out.mp4") as written:
        assert len(written) == 7
        assert not written.problems


def test_overlays_show_each_object_in_its_own_colour(tmp_path: Path) -> None:
    source = frames_of(3)
    with open_writer(tmp_path / "out.mp4", source) as writer:
        for index in range(3):
            writer.add(index, source[index], {1: LEFT, 2: box_mask(60, 30, 90, 56)})
    with open_frames(tmp_path / "out.mp4") as written:
        first, second, ground = (written[1][40, x].astype(int) for x in (25, 75, 50))
        assert first[0] > ground[0] + 30
        assert second[2] > ground[2] + 30


def test_alpha_survives_in_webm(tmp_path: Path) -> None:
    source = frames_of(6)
    with open_writer(tmp_path / "out.webm", source) as writer:
        for index in range(6):
            writer.add(index, source[index], {1: LEFT, 2: RIGHT})
    decoder = av.CodecContext.create("libvpx-vp9", "r")
    with av.open(str(tmp_path / "out.webm")) as file:
        pictures = [picture for packet in file.demux(video=0) for picture in decoder.decode(packet)]
    assert len(pictures) == 6
    assert pictures[3].format.name == "yuva420p"
    alpha = pictures[3].reformat(format="rgba").to_ndarray()[..., 3]
    assert np.mean((alpha > 128) != (LEFT | RIGHT)) < 0.01
    with open_frames(tmp_path / "out.webm") as written:
        assert written[0][40, 25] == pytest.approx(source[0][40, 25], abs=12)


def test_palette_pictures_hold_the_object_ids_and_the_davis_colours(tmp_path: Path) -> None:
    source = frames_of(2)
    with open_writer(tmp_path / "masks", source) as writer:
        writer.add(1, source[1], {7: LEFT, 9: RIGHT})
    picture = Image.open(tmp_path / "masks" / "00001.png")
    assert picture.mode == "P"
    assert np.array_equal(np.asarray(picture), np.where(RIGHT, 9, np.where(LEFT, 7, 0)))
    palette = np.array(picture.getpalette()).reshape(-1, 3)
    assert palette[:6].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [128, 0, 128]]


def test_palette_pictures_refuse_ids_that_do_not_fit(tmp_path: Path) -> None:
    source = frames_of(1)
    with open_writer(tmp_path / "masks", source) as writer:
        for object_id in (0, 256):
            with pytest.raises(ValueError, match='use the format "png-objects"'):
                writer.add(0, source[0], {object_id: LEFT})


def test_object_folders_keep_overlaps(tmp_path: Path) -> None:
    source = frames_of(1)
    with open_writer(tmp_path / "masks", source, "png-objects") as writer:
        writer.add(0, source[0], {3: LEFT, 300: RIGHT})
    for name, mask in (("003", LEFT), ("300", RIGHT)):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "masks" / name / "00000.png")), mask * 255)


def test_pictures_are_named_like_the_frames_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in (5, 10):
        Image.fromarray(numbered_frame(number)).save(tmp_path / "in" / f"{number:06d}.jpg")
    source = open_frames(tmp_path / "in")
    with open_writer(tmp_path / "out", source) as writer:
        for index in range(2):
            writer.add(index, source[index], {1: LEFT})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["000005.png", "000010.png"]


def test_run_lengths_come_back_as_the_masks_with_scores(tmp_path: Path) -> None:
    source = frames_of(4)
    with open_writer(tmp_path / "out.json", source) as writer:
        for index in (2, 1):
            writer.add(
                index, source[index], {1: LEFT, 5: RIGHT}, predicted_iou={1: 0.98765}, presence={1: 1.0}, prompted={5}
            )
            assert len(json.loads((tmp_path / "out.json").read_text())["frames"]) == writer.written
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["complete"] is True
    assert document["video"] == {"name": None, "height": HEIGHT, "width": WIDTH, "fps": 25.0, "frame_count": 4}
    assert [(entry["frame"], entry["time"]) for entry in document["frames"]] == [(2, 0.08), (1, 0.04)]
    first, second = document["frames"][0]["objects"]
    assert np.array_equal(decode_rle(first.pop("segmentation")), LEFT)
    assert np.array_equal(decode_rle(second.pop("segmentation")), RIGHT)
    assert first == {"object": 1, "predicted_iou": 0.9877, "presence": 1.0, "prompted": False}
    assert second == {"object": 5, "predicted_iou": None, "presence": None, "prompted": True}


def test_cutout_pictures_are_transparent_outside_the_objects(tmp_path: Path) -> None:
    source = frames_of(1)
    with open_writer(tmp_path / "cut", source, "cutout-png") as writer:
        writer.add(0, source[0], {1: LEFT, 2: RIGHT})
    rgba = np.asarray(Image.open(tmp_path / "cut" / "00000.png"))
    assert np.array_equal(rgba[..., 3] == 255, LEFT | RIGHT)
    assert np.array_equal(rgba[LEFT][:, :3], source[0][LEFT])
    assert not rgba[~(LEFT | RIGHT)].any()


@pytest.mark.parametrize(("count", "tiles"), [(1, 1), (5, 5), (100, 12)])
def test_a_sheet_has_at_most_twelve_tiles_from_first_to_last(count: int, tiles: int, tmp_path: Path) -> None:
    source = ArrayFrames(np.stack([numbered_frame(number % 8) for number in range(count)]))
    with open_writer(tmp_path / "sheet.png", source, "sheet") as writer:
        for index in range(count):
            writer.add(index, source[index], {1: LEFT})
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    columns, rows = (sheet.shape[1] - 6) // 326, (sheet.shape[0] - 6) // (213 + 6)
    filled = [
        (sheet[6 + row * 219 : 219 + row * 219, 6 + column * 326 : 326 + column * 326] != 24).any()
        for row in range(rows)
        for column in range(columns)
    ]
    assert sum(filled) == tiles


def test_one_picture_becomes_one_picture(tmp_path: Path) -> None:
    source = frames_of(1, fps=None)
    for name, format_name, mode in (("o.png", None, "RGB"), ("m.png", "png", "P"), ("c.png", "cutout-png", "RGBA")):
        with open_writer(tmp_path / name, source, format_name) as writer:
            writer.add(0, source[0], {1: LEFT})
        assert Image.open(tmp_path / name).mode == mode


def test_a_second_frame_does_not_overwrite_a_single_picture(tmp_path: Path) -> None:
    source = frames_of(2)
    with open_writer(tmp_path / "m.png", source, "png") as writer:
        writer.add(0, source[0], {1: LEFT})
        with pytest.raises(ValueError, match="one frame only; give a folder"):
            writer.add(1, source[1], {1: LEFT})


@pytest.mark.parametrize(
    ("name", "format_name", "message"),
    [
        ("out.mp4", "gif", "choose one of overlay, png, png-objects, rle, cutout-png, cutout-webm, sheet"),
        ("out.xyz", None, "cannot tell the format"),
        ("out.mp4", "rle", r"needs a file name ending in \.json"),
        ("out.png", "png-objects", "leave off the suffix"),
        ("out.mp4", "png", "leave off the suffix"),
    ],
)
def test_formats_that_do_not_exist_or_fit_are_named(
    name: str, format_name: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        open_writer(tmp_path / name, frames_of(2), format_name)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_refuses_masks_of_another_size_or_kind(name: str, tmp_path: Path) -> None:
    suffix = {"overlay": ".mp4", "rle": ".json", "cutout-webm": ".webm", "sheet": ".png"}.get(name, "")
    source = frames_of(2)
    with open_writer(tmp_path / f"out{suffix}", source, name) as writer:
        with pytest.raises(ValueError, match="mask of object 1 is 4x4 but the frame is 64x96"):
            writer.add(0, source[0], {1: np.zeros((4, 4), dtype=bool)})
        with pytest.raises(ValueError, match="must be a bool array, got float32"):
            writer.add(0, source[0], {1: np.zeros((HEIGHT, WIDTH), dtype=np.float32)})


def test_prompts_are_drawn_where_they_were_given(tmp_path: Path) -> None:
    source = frames_of(1)
    marks = PromptMarks(1, points_px_xy=[(48, 40)], labels=[1], box_px_xyxy=(20, 20, 70, 60))
    with open_writer(tmp_path / "o.png", source) as writer:
        writer.add(0, source[0], {}, prompts=[marks])
    drawn = np.asarray(Image.open(tmp_path / "o.png")).astype(int)
    changed = np.abs(drawn - source[0]).sum(axis=2) > 60
    assert changed[40, 48]
    assert changed[20, 40]
    assert changed[40, 70]
    assert not changed[40, 30]
