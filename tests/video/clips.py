"""Small videos made for the tests. Every frame carries its number as black and white blocks in its top rows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import av.container
import numpy as np
from av.stream import Disposition

BITS = 10
BLOCK_PX = 8
HEIGHT, WIDTH = 64, 96


def numbered_frame(number: int, hw: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """RGB (h, w, 3): the number's bits, lowest first, over grey, with a red left and a blue lower edge."""
    frame = np.full((*hw, 3), 90, dtype=np.uint8)
    frame[:, :BLOCK_PX] = (200, 40, 40)
    frame[-BLOCK_PX:] = (40, 40, 200)
    for bit in range(BITS):
        frame[:BLOCK_PX, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = 235 if number >> bit & 1 else 20
    return frame


def number_in(frame: np.ndarray) -> int:
    """The number that `numbered_frame` drew."""
    middles = [frame[BLOCK_PX // 2, bit * BLOCK_PX + BLOCK_PX // 2].mean() for bit in range(BITS)]
    return sum(1 << bit for bit, value in enumerate(middles) if value > 128)


def make_video(
    path: Path,
    count: int = 60,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    hw: tuple[int, int] = (HEIGHT, WIDTH),
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
    rate: int | Fraction = 25,
    gop: int = 12,
    b_frames: int = 2,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio_hz: int = 0,
    audio_codec: str = "aac",
    container: str | None = None,
) -> Path:
    """Encodes numbered frames. `audio_hz` adds a tone of that pitch as long as the video."""
    with av.open(str(path), "w", format=container, options=container_options or {}) as output:
        stream = output.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = hw
        stream.pix_fmt = pix_fmt
        stream.gop_size = gop
        stream.max_b_frames = b_frames
        stream.codec_context.time_base = time_base or 1 / Fraction(rate)
        audio = output.add_stream(audio_codec, rate=48000) if audio_hz else None
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered_frame(index, hw))
            frame.pts = pts[index] if pts else index
            frame.time_base = stream.codec_context.time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if audio is not None:
            _add_tone(output, audio, audio_hz, seconds=count / float(rate))
    return path


def _add_tone(output: av.container.OutputContainer, stream: av.AudioStream, hz: int, seconds: float) -> None:
    samples = np.arange(int(seconds * 48000)) / 48000
    tone = (0.4 * np.sin(2 * np.pi * hz * samples)).astype(np.float32)
    for begin in range(0, len(tone), 1024):
        chunk = np.tile(tone[begin : begin + 1024], (2, 1))
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = 48000, begin, Fraction(1, 48000)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def make_tone(path: Path, hz: int, seconds: float, codec: str = "aac") -> Path:
    """A file with sound only."""
    with av.open(str(path), "w") as output:
        _add_tone(output, output.add_stream(codec, rate=48000), hz, seconds)
    return path


def make_tone_with_cover(path: Path) -> Path:
    """An MP4 of sound with a cover, which demuxers see as a video stream of one attached picture."""
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=48000)
        cover = output.add_stream("png")
        cover.height, cover.width = HEIGHT, WIDTH
        cover.pix_fmt = "rgb24"
        cover.disposition = Disposition.attached_pic
        output.mux(cover.encode(av.VideoFrame.from_ndarray(numbered_frame(1))))
        output.mux(cover.encode(None))
        _add_tone(output, sound, 440, seconds=0.5)
    return path


def cut_by_edit_list(source: Path, path: Path, shown_from: float) -> Path:
    """A copy of an MP4 whose edit list hides everything before a time, although the packets are still in the file.

    The muxer writes such a list when packets have negative times.
    """
    with av.open(str(source)) as video, av.open(str(path), "w", options={"use_editlist": "1"}) as output:
        incoming = video.streams.video[0]
        outgoing = output.add_stream_from_template(incoming, opaque=True)
        shift = round(shown_from / incoming.time_base)
        for packet in video.demux(incoming):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, outgoing
                output.mux(packet)
    return path


def set_display_matrix(path: Path, matrix: tuple[int, ...]) -> Path:
    """Overwrites the video track's matrix (a, b, u, c, d, v, x, y, w) of an MP4 in place, in 16.16 fixed point."""
    data = bytearray(path.read_bytes())
    header = data.index(b"tkhd")
    place = header + 4 + 40  # version and flags, times, track number, duration, layer, volume
    shifts = (16, 16, 30, 16, 16, 30, 16, 16, 30)
    for index, (value, shift) in enumerate(zip(matrix, shifts, strict=True)):
        data[place + 4 * index : place + 4 * index + 4] = (value << shift).to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


def damage(path: Path, packet_numbers: range, target: Path) -> Path:
    """A copy of a video in which the contents of some packets are overwritten with noise."""
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    with av.open(str(path)) as video:
        packets = [packet for packet in video.demux(video=0) if packet.size]
    for number in packet_numbers:
        packet = packets[number]
        data[packet.pos : packet.pos + packet.size] = rng.bytes(packet.size)
    target.write_bytes(data)
    return target
