"""Encoding videos frame by frame: H.264 with the original's times and sound, VP9 with alpha."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from masklet.video.packets import open_container
from masklet.video.source import ASSUMED_FPS, FrameSource

_COPYABLE_TO_MOV = ("aac", "mp3", "ac3", "eac3", "alac")
_COPYABLE_TO_MP4 = (*_COPYABLE_TO_MOV, "flac", "opus")
_BT709 = 1
_LIMITED_RANGE = 1


class Clock:
    """Times of a source's frames as whole ticks: the source's own rate where it is constant, else 1/90000 s."""

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self.rate = source.fps or ASSUMED_FPS
        times = source.times
        even = times[:1] + np.arange(len(times)) / float(self.rate)
        self._is_even = bool(len(times) == 0 or np.abs(times - even).max() < 0.25 / float(self.rate))
        self.tick = 1 / self.rate if self._is_even else Fraction(1, 90000)

    def ticks_between(self, first: int, frame: int) -> int:
        """From the showing of one frame to that of another."""
        if self._is_even:
            return frame - first
        return round((self._source.time_of(frame) - self._source.time_of(first)) / float(self.tick))


class VideoWriter:
    """Writes RGB frames as H.264 (MP4, MOV or MKV) or, with `alpha`, RGBA frames as VP9 (WebM).

    Frames must come in ascending order; each is shown at the time that it has in `source`, counted from the first one
    written. The sound of the source's file comes along, cut to the frames written. Odd sides grow by one pixel, since
    4:2:0 colour needs even ones. An MP4 that is never closed plays up to the last second or so.
    """

    def __init__(self, path: str | Path, source: FrameSource, *, alpha: bool = False, sound: bool = True) -> None:
        self.path = Path(path)
        self._source = source
        self._clock = Clock(source)
        self._alpha = alpha
        self._reformatter = VideoReformatter()
        self._sound_path = source.path if sound and not alpha and source.path and source.path.is_file() else None
        self._sound: SoundTrack | None = None
        self._output: OutputContainer | None = None
        self._first = 0
        self._last: int | None = None

    def add(self, frame_index: int, frame: np.ndarray) -> None:
        """Encodes one more frame (h, w, 3), or (h, w, 4) with alpha. Raises ValueError if it is not a later one."""
        if self._last is not None and frame_index <= self._last:
            raise ValueError(f"frame {frame_index} came after {self._last}; a video is written in ascending order")
        even = _with_even_sides(frame)
        if self._output is None:
            self._open(even, frame_index)
        assert self._output is not None
        picture = self._convert(even)
        picture.pts = self._clock.ticks_between(self._first, frame_index)
        picture.time_base = self._clock.tick
        self._output.mux(self._stream.encode(picture))
        self._last = frame_index
        if self._sound is not None:
            self._sound.copy_until(self._source.time_of(frame_index))

    def close(self) -> None:
        """Finishes the file. Without any frame there is none."""
        if self._output is None or self._last is None:
            return
        output, self._output = self._output, None
        try:
            output.mux(self._stream.encode(None))
            if self._sound is not None:
                self._sound.copy_until(self._source.time_of(self._last) + 1 / float(self._clock.rate))
        finally:
            if self._sound is not None:
                self._sound.close()
            output.close()

    def _open(self, frame: np.ndarray, frame_index: int) -> None:
        height, width = frame.shape[:2]
        fragments = {"movflags": "hybrid_fragmented"} if self.path.suffix.lower() in (".mp4", ".mov") else {}
        self._output = av.open(str(self.path), "w", options=fragments)
        codec, options = _VP9 if self._alpha else _H264
        self._stream = self._output.add_stream(codec, rate=self._clock.rate, options=options)
        self._stream.width, self._stream.height = width, height
        self._stream.pix_fmt = "yuva420p" if self._alpha else "yuv420p"
        context = self._stream.codec_context
        context.time_base = self._clock.tick
        context.gop_size = max(round(float(self._clock.rate)), 1)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        self._first = frame_index
        if self._sound_path is not None:
            copyable = _COPYABLE_TO_MOV if self.path.suffix.lower() == ".mov" else _COPYABLE_TO_MP4
            self._sound = SoundTrack.of(self._sound_path, self._output, self._source.time_of(frame_index), copyable)

    def _convert(self, frame: np.ndarray) -> av.VideoFrame:
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgba" if self._alpha else "rgb24")
        return self._reformatter.reformat(
            picture,
            format=self._stream.pix_fmt,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )


class SoundTrack:
    """Copies the sound of a file into a container, packet by packet; recodes to AAC what is not ``copyable``."""

    def __init__(
        self,
        container: InputContainer,
        stream: AudioStream,
        output: OutputContainer,
        begin: float,
        copyable: Collection[str],
    ) -> None:
        self._container = container
        self._output = output
        self._begin = begin
        self._recodes = stream.codec_context.codec.canonical_name not in copyable
        self._target = _sound_stream(output, stream, self._recodes)
        self._packets = self._from_begin(container, stream)
        self._next = next(self._packets, None)

    @classmethod
    def of(cls, path: Path, output: OutputContainer, begin: float, copyable: Collection[str]) -> SoundTrack | None:
        """None if the file has no sound that can be read."""
        try:
            container = open_container(path)
        except (FFmpegError, ValueError):
            return None
        streams = [stream for stream in container.streams.audio if stream.codec_context is not None]
        if not streams:
            container.close()
            return None
        return cls(container, streams[0], output, begin, copyable)

    def copy_until(self, seconds: float) -> None:
        """Writes what begins before a time on the source's clock."""
        while self._next is not None and _begins_at(self._next) < seconds:
            self._write(self._next)
            self._next = next(self._packets, None)

    def close(self) -> None:
        if self._recodes:
            self._output.mux(self._target.encode(None))
        self._container.close()

    def _from_begin(self, container: InputContainer, stream: AudioStream) -> Iterator[Packet]:
        """Damaged sound just ends: the picture is what counts."""
        try:
            container.seek(max(int((self._begin - 1) / (stream.time_base or 1)), stream.start_time or 0), stream=stream)
            for packet in container.demux(stream):
                if packet.pts is not None and packet.size and _begins_at(packet) >= self._begin:
                    yield packet
        except FFmpegError:
            return

    def _write(self, packet: Packet) -> None:
        if self._recodes:
            self._recode(packet)
            return
        shift = round(self._begin / packet.time_base)
        packet.pts = (packet.pts or 0) - shift
        packet.dts = packet.pts
        packet.stream = self._target
        self._output.mux(packet)

    def _recode(self, packet: Packet) -> None:
        try:
            sounds = packet.decode()
        except FFmpegError:
            return
        for sound in sounds:
            if sound.pts is not None and sound.time_base is not None:
                sound.pts -= round(self._begin / sound.time_base)
            self._output.mux(self._target.encode(sound))


# Without B-frames the first frame is shown at 0 in a fragmented file too, and sample n is frame n for every player.
_H264 = ("libx264", {"crf": "18", "preset": "veryfast", "bf": "0"})
_VP9 = ("libvpx-vp9", {"crf": "24", "b": "0", "auto-alt-ref": "0", "deadline": "good", "cpu-used": "5", "row-mt": "1"})


def _sound_stream(output: OutputContainer, stream: AudioStream, recodes: bool) -> AudioStream:
    if recodes:
        return output.add_stream("aac", rate=stream.codec_context.sample_rate)
    return output.add_stream_from_template(stream)


def _begins_at(packet: Packet) -> float:
    return float((packet.pts or 0) * packet.time_base)


def _with_even_sides(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return frame
    return cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
