"""The packets of a video file, numbered from its beginning, and the table of the frames they hold.

A packet's number travels through the decoder in place of its presentation time. So a decoded frame is known by
number whatever the file's own time stamps are worth, and the table says which frame of the video that is.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Discard, Disposition

from masklet.video import source
from masklet.video.source import ASSUMED_FPS, VideoError, check_pixels

DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,ogg,asf,mxf,nut,ivf,obu,gif,apng,"
    "h264,hevc,vvc,m4v,mjpeg,dv,rm,yuv4mpegpipe,wtv,ismv"
)
"""Formats that hold their pictures themselves. Playlists and the like, which name other files to be opened, are out."""

_NO_TIME = -(1 << 63)
_GENERATE_TIMES = 0x0001
_OUTPUT_CORRUPT = 1 << 3
_FRAMES_TO_PROVE = 16


@dataclass(frozen=True)
class KeyPacket:
    """A packet that decoding can begin at, with all that a file might let one find it by."""

    number: int
    pts: int | None
    dts: int | None
    position: int | None
    size: int

    @property
    def fingerprint(self) -> tuple[int | None, int]:
        return _fingerprint(self)

    def seek_targets(self) -> Iterator[dict[str, Any]]:
        """Arguments of a seek, best first: formats differ in what they sort their index by."""
        for time in dict.fromkeys((self.pts, self.dts)):
            if time is not None:
                yield {"offset": time}
        if self.pts is None and self.position is not None:
            yield {"offset": self.position, "unsupported_byte_offset": True}


@dataclass
class PacketList:
    """What one pass over the file, without decoding, found out about each packet."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    hidden: array[int] = field(default_factory=lambda: array("b"))
    keys: list[KeyPacket] = field(default_factory=list)
    error: str = ""

    def add(self, packet: av.Packet, number: int) -> None:
        self.pts.append(_NO_TIME if packet.pts is None else packet.pts)
        self.hidden.append(packet.is_discard)
        if packet.is_keyframe:
            self.keys.append(KeyPacket(number, packet.pts, packet.dts, packet.pos, packet.size))


@dataclass(frozen=True)
class Start:
    """A frame from which on frames can be decoded, and the packet to begin at."""

    frame: int
    key: KeyPacket


class FrameTable:
    """The frames in order of presentation: the one authority on which frame is which.

    packets: (n,) int64, number of the packet that holds each frame.
    pts: (n,) int64, presentation times, ascending, in units of the stream.
    starts: where decoding can begin, ascending.
    left_out: so many frames come before the first start; they cannot be decoded and are not in the table.
    """

    def __init__(self, packets: np.ndarray, pts: np.ndarray, starts: list[Start], left_out: int = 0) -> None:
        self.packets = packets
        self.pts = pts
        self.starts = starts
        self.left_out = left_out
        self._by_packet = np.argsort(packets)
        self._start_frames = np.array([start.frame for start in starts], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.packets)

    def frame_of(self, packet_number: int | None) -> int | None:
        """The frame that a packet holds; None for packets that are never shown."""
        if packet_number is None:
            return None
        place = int(np.searchsorted(self.packets, packet_number, sorter=self._by_packet))
        if place == len(self) or self.packets[self._by_packet[place]] != packet_number:
            return None
        return int(self._by_packet[place])

    def start_index(self, frame: int) -> int:
        """Which start to decode from to get a frame: the last at or before it in order of presentation.

        (A frame shown before a key frame may need pictures from before it even if it is stored after it.)
        """
        return max(int(np.searchsorted(self._start_frames, frame, side="right")) - 1, 0)

    def end_of_group(self, frame: int) -> int:
        """The first frame of the next start, or the number of frames."""
        following = self.start_index(frame) + 1
        return self.starts[following].frame if following < len(self.starts) else len(self)

    def without_last(self) -> FrameTable:
        return FrameTable(self.packets[:-1], self.pts[:-1], self.starts, self.left_out)


class PacketFeed:
    """Numbered packets of the video stream of one file, from its beginning or from any key packet on.

    ``on_packet`` is called for each that is read.
    """

    def __init__(self, path: Path, on_packet: Callable[[], object] = lambda: None) -> None:
        self.path = path
        self._on_packet = on_packet
        self._numbers: dict[tuple[int | None, int], int] = {}
        self._open()

    def _open(self) -> None:
        self.container = open_container(self.path)
        self.stream = _video_stream(self.container, self.path)
        for other in self.container.streams:
            if other.index != self.stream.index:
                other.discard = Discard.all  # type: ignore[attr-defined]
        context = self.stream.codec_context
        context.flags |= _OUTPUT_CORRUPT
        context.options = {**context.options, "max_pixels": str(source.MAX_FRAME_PIXELS)}
        self.stream.thread_type = "AUTO"  # type: ignore[assignment]

    def close(self) -> None:
        self.container.close()

    def list_packets(self) -> PacketList:
        """Reads through the file once. Reading errors end the list and are noted in it."""
        packets = PacketList()
        try:
            for number, packet in self.from_beginning():
                packets.add(packet, number)
        except FFmpegError as error:
            packets.error = str(error)
        counts: dict[tuple[int | None, int], int] = {}
        for key in packets.keys:
            counts[key.fingerprint] = counts.get(key.fingerprint, 0) + 1
        self._numbers = {key.fingerprint: key.number for key in packets.keys if counts[key.fingerprint] == 1}
        return packets

    def from_beginning(self) -> Iterator[tuple[int, av.Packet]]:
        self.close()
        self._open()
        yield from enumerate(self._packets())

    def from_key(self, key: KeyPacket) -> Iterator[tuple[int, av.Packet]]:
        """The packets from a key packet on. Where no kind of seek leads there, it reads up to it from the beginning."""
        for target in key.seek_targets():
            packets = self._after_seek(key, target)
            if packets is not None:
                yield from packets
                return
        yield from islice(self.from_beginning(), key.number, None)

    def _after_seek(self, key: KeyPacket, target: dict[str, Any]) -> Iterator[tuple[int, av.Packet]] | None:
        try:
            self.container.seek(stream=self.stream, **target)
            packets = self._packets()
            for packet in packets:
                number = self._number_of(packet)
                if number is not None:
                    return self._count_on(number, packet, packets, key.number) if number <= key.number else None
        except FFmpegError:
            return None
        return None

    def _count_on(
        self, number: int, packet: av.Packet, packets: Iterator[av.Packet], wanted: int
    ) -> Iterator[tuple[int, av.Packet]]:
        if number >= wanted:
            yield number, packet
        for following in packets:
            known = self._number_of(following)
            number = number + 1 if known is None else known
            if number >= wanted:
                yield number, following

    def _number_of(self, packet: av.Packet) -> int | None:
        return self._numbers.get(_fingerprint(packet)) if packet.is_keyframe else None

    def _packets(self) -> Iterator[av.Packet]:
        for packet in self.container.demux(self.stream):
            self._on_packet()
            if packet.size:  # an empty one would tell the decoder that the video has ended
                yield packet


class FrameDecoder:
    """Decodes numbered packets. Broken ones are skipped; `error` and `failed_packet` tell of the last."""

    def __init__(self, feed: PacketFeed) -> None:
        self.feed = feed
        self.error = ""
        self.failed_packet: int | None = None

    def pictures(self, packets: Iterator[tuple[int, av.Packet]]) -> Iterator[av.VideoFrame]:
        """The pictures in the order in which they are shown, with `pts` being the number of the packet."""
        try:
            for number, packet in packets:
                packet.pts = number
                yield from self._decode(packet, number)
        except FFmpegError as error:
            self.error = error.strerror or str(error)
        yield from self._decode(None, None)

    def _decode(self, packet: av.Packet | None, number: int | None) -> list[av.VideoFrame]:
        try:
            return self.feed.stream.codec_context.decode(packet)
        except FFmpegError as error:
            self.error = error.strerror or str(error)
            self.failed_packet = number
            return []


def frame_table(feed: PacketFeed, packets: PacketList) -> FrameTable:
    """Which frames the file shows. Decodes the whole file only where its time stamps prove wrong.

    Raises VideoError if there are no frames.
    """
    pts = np.array(packets.pts, dtype=np.int64)
    shown = np.flatnonzero(np.array(packets.hidden, dtype=np.int8) == 0)
    if len(shown) == 0:
        raise VideoError(f"{feed.path} holds no video frames" + (f" ({packets.error})" if packets.error else ""))
    has_times = bool((pts[shown] != _NO_TIME).all()) and len(np.unique(pts[shown])) == len(shown)
    if has_times:
        order = shown[np.argsort(pts[shown])]
        table = _table(order, pts[order], packets.keys)
        if _is_proved(feed, table):
            return table
    return _table_by_decoding(feed, pts, packets.keys)


def _table(order: np.ndarray, pts: np.ndarray, keys: list[KeyPacket]) -> FrameTable:
    """The table for packets in order of presentation, without what is shown before the first key frame."""
    frames = {int(number): frame for frame, number in enumerate(order)}
    starts = [Start(_first_frame_from(key, frames, pts), key) for key in keys]
    starts = sorted((start for start in starts if start.frame < len(order)), key=lambda start: start.frame)
    if not starts:
        return FrameTable(order, pts, [Start(0, KeyPacket(0, None, None, None, 0))])
    cut = starts[0].frame
    return FrameTable(order[cut:], pts[cut:], [Start(start.frame - cut, start.key) for start in starts], left_out=cut)


def _first_frame_from(key: KeyPacket, frames: dict[int, int], pts: np.ndarray) -> int:
    """A key frame itself or, where an edit list hides it, the first frame that is shown after it."""
    if key.number in frames:
        return frames[key.number]
    return len(pts) if key.pts is None else int(np.searchsorted(pts, key.pts))


def _is_proved(feed: PacketFeed, table: FrameTable) -> bool:
    """Whether the first frames come out of the decoder as the table says. Decoding errors prove nothing against it."""
    decoder = FrameDecoder(feed)
    numbers: list[int] = []
    for picture in decoder.pictures(feed.from_key(table.starts[0].key)):
        if picture.is_corrupt or decoder.error:
            return True
        frame = table.frame_of(picture.pts)
        if frame is not None:
            numbers.append(frame)
        if len(numbers) == _FRAMES_TO_PROVE:
            break
    return bool(decoder.error) or numbers == list(range(min(_FRAMES_TO_PROVE, len(table))))


def _table_by_decoding(feed: PacketFeed, pts: np.ndarray, keys: list[KeyPacket]) -> FrameTable:
    pictures = FrameDecoder(feed).pictures(feed.from_beginning())
    numbers = dict.fromkeys(picture.pts for picture in pictures if picture.pts is not None)
    order = np.array(list(numbers), dtype=np.int64)
    if len(order) == 0:
        raise VideoError(f"no frame of {feed.path} can be decoded; the file is damaged")
    times = np.sort(pts[order])
    if times[0] == _NO_TIME or len(np.unique(times)) < len(times):
        rate = feed.stream.guessed_rate or feed.stream.average_rate or ASSUMED_FPS
        ticks = float(1 / rate / (feed.stream.time_base or Fraction(1, 1000)))
        times = np.round(np.arange(len(order)) * ticks).astype(np.int64)
    return _table(order, times, keys)


def _fingerprint(packet: Any) -> tuple[int | None, int]:
    """The place in the file where a packet has one; some formats only know it for some packets."""
    position = packet.position if isinstance(packet, KeyPacket) else packet.pos
    return (packet.pts if position is None else position), packet.size


def open_container(path: Path) -> InputContainer:
    """A file of one of the DEMUXERS' formats. Raises VideoError for all others, which might name further files."""
    options = {"format_whitelist": DEMUXERS, "protocol_whitelist": "file"}
    try:
        container = av.open(str(path.resolve()), metadata_errors="replace", container_options=options)
    except (FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and not path.is_file():
            raise
        raise VideoError(
            f"{path} is no video that can be read ({getattr(error, 'strerror', None) or error}); "
            "expected MP4, MOV, MKV, WebM, AVI, MPEG or GIF, whole and not encrypted"
        ) from error
    container.flags |= _GENERATE_TIMES
    return container


def _video_stream(container: InputContainer, path: Path) -> av.VideoStream:
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError(f"{path} has no video in it, only {_other_content(container)}")
    best = container.streams.best("video")
    stream = next((stream for stream in streams if stream is best), streams[0])
    if stream.codec_context is None:
        raise VideoError(f"{path} is coded in a way that cannot be decoded here; convert it to H.264")
    check_pixels(stream.height, stream.width, path)
    return stream


def _other_content(container: InputContainer) -> str:
    return " and ".join(sorted({stream.type for stream in container.streams})) or "nothing"
