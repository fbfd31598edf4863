"""Frames of a video file."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from threading import RLock

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from masklet.video.packets import FrameDecoder, FrameTable, PacketFeed, PacketList, Start, frame_table
from masklet.video.source import ASSUMED_FPS, FrameError, FrameSource, VideoError, size_name

RECENT_PICTURES = 8
"""So many decoded pictures are kept while reading forward, for those who come somewhat later."""

MAX_REORDERED = 17
"""A picture that has not come after so many later ones will not come: no codec holds back more than 16."""


class VideoFile(FrameSource):
    """Frames of a video file, found by their presentation times, which are tabled on opening.

    The picture is turned and mirrored as the file's display matrix says; alpha is dropped, more than 8 bits are
    reduced to 8. Reading forward never seeks. On the way to a frame elsewhere, the pictures of its group are kept,
    at most `cache_bytes` of them, so that reading backward decodes each group about once. Safe to use from threads.
    `on_packet` is called for each packet that is read, as a sign of life while a long file is tabled.

    Raises VideoError if the file holds no video that can be decoded.
    """

    reads_ahead = True

    def __init__(
        self,
        path: str | Path,
        *,
        strict: bool = False,
        cache_bytes: int = 256 << 20,
        on_packet: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__(strict=strict)
        self.path = Path(path)
        self._lock = RLock()
        self._cache = PictureCache(cache_bytes)
        self._reformatter = VideoReformatter()
        self._run: DecodingRun | None = None
        self._missing: dict[int, str] = {}
        self._feed = PacketFeed(self.path, on_packet)
        try:
            self._index()
            self._look()
        except BaseException:
            self._feed.close()
            raise

    @property
    def frame_count(self) -> int:
        return len(self._table)

    @property
    def times(self) -> np.ndarray:
        return self._times

    def time_of(self, index: int) -> float:
        return float(self._times[index])

    def close(self) -> None:
        with self._lock:
            self._run = None
            self._cache.clear()
            self._feed.close()

    def _index(self) -> None:
        packets = self._feed.list_packets()
        self._table = frame_table(self._feed, packets)
        self._times = self._table.pts * float(self._feed.stream.time_base or 0)
        self.fps = _frame_rate(self._feed.stream, self._times)
        self.problems += _what_is_missing(self._feed, packets, self._table)

    def _look(self) -> None:
        """Takes size and orientation from the first frame that decodes; drops what does not from a cut-off end."""
        first = self._first_picture()
        self._orientation = Orientation.of(first)
        height, width = first.height, first.width
        self.video_hw = (width, height) if self._orientation.transposed else (height, width)
        while self.problems and len(self._table) > 1 and not self._has_picture(len(self._table) - 1):
            self._table = self._table.without_last()
            self._times = self._times[:-1]

    def _first_picture(self) -> av.VideoFrame:
        for frame in range(len(self._table)):
            if self._has_picture(frame):
                return self._picture(frame)
        raise VideoError(f"no frame of {self.path} can be decoded: {self._missing.get(0, 'the file is damaged')}")

    def _has_picture(self, frame: int) -> bool:
        try:
            self._picture(frame)
        except FrameError:
            return False
        return True

    def _read(self, index: int) -> np.ndarray:
        with self._lock:
            picture = self._picture(index)
            rgb = self._reformatter.reformat(picture, format="rgb24", threads=1)
            frame = self._orientation.apply(rgb.to_ndarray())
            if frame.shape[:2] != self.video_hw:
                self.damaged[index] = f"frame {index} is {size_name(frame.shape)}; scaled to {size_name(self.video_hw)}"
                frame = cv2.resize(frame, self.video_hw[::-1], interpolation=cv2.INTER_AREA)
            return frame

    def _picture(self, frame: int) -> av.VideoFrame:
        if frame in self._missing:
            raise FrameError(frame, self._missing[frame])
        picture = self._cache.get(frame)
        return self._decode_to(frame) if picture is None else picture

    def _decode_to(self, frame: int) -> av.VideoFrame:
        nearest = self._table.start_index(frame)
        if self._run is not None and self._run.leads_to(frame, self._table.starts[nearest]):
            picture = self._advance_to(frame, set())
            if picture is not None:
                return picture
        seen: set[int] = set()
        for start in (nearest, max(nearest - 1, 0)):
            self._cache.clear()
            self._run = DecodingRun(self._feed, self._table, self._table.starts[start], sought=frame)
            picture = self._advance_to(frame, seen)
            if picture is not None:
                return picture
        self._note_missing(frame, seen)
        raise FrameError(frame, self._missing[frame])

    def _advance_to(self, frame: int, seen: set[int]) -> av.VideoFrame | None:
        """Decodes on to a frame and notes those met. None if all pictures of its group came without it."""
        run = self._run
        assert run is not None
        end = self._table.end_of_group(frame)
        patience = MAX_REORDERED
        for number, picture in run:
            seen.add(number)
            self._cache.keep(number, picture, many=number <= run.sought)
            if run.is_suspect(number, picture):
                self.damaged[number] = f"frame {number} was decoded with errors; parts of the picture may be wrong"
            if number == frame:
                return picture
            patience -= number >= end
            if not patience:
                break
        return None

    def _note_missing(self, frame: int, seen: set[int]) -> None:
        """Two runs through the whole group of a frame came without it: what they did not meet is not there."""
        reason = f": {self._run.error}" if self._run is not None and self._run.error else ""
        first = self._table.starts[self._table.start_index(frame)].frame
        for other in {frame, *range(first, self._table.end_of_group(frame))} - seen:
            self._missing[other] = f"frame {other} of {self.path} cannot be decoded{reason}"


class DecodingRun:
    """Decoding forward from a start. Iterating goes on where it stopped and gives (frame, picture)."""

    def __init__(self, feed: PacketFeed, table: FrameTable, start: Start, sought: int) -> None:
        self.sought = sought
        self._table = table
        self._start = start
        self._last = start.frame - 1
        self._decoder = FrameDecoder(feed)
        self._pictures = self._decoder.pictures(feed.from_key(start.key))

    @property
    def error(self) -> str:
        return self._decoder.error

    def leads_to(self, frame: int, start: Start) -> bool:
        """Whether decoding on reaches a frame no later than beginning at `start` would."""
        return self._last < frame and start.frame <= self._last + 1

    def is_suspect(self, frame: int, picture: av.VideoFrame) -> bool:
        """Whether the decoder had to make up parts, or the picture may build on a broken one of its group."""
        failed = self._table.frame_of(self._decoder.failed_packet)
        return picture.is_corrupt or (
            failed is not None and self._table.start_index(failed) == self._table.start_index(frame)
        )

    def __iter__(self) -> Iterator[tuple[int, av.VideoFrame]]:
        for picture in self._pictures:
            frame = self._table.frame_of(picture.pts)
            if frame is not None and frame >= self._start.frame:
                self._last = max(self._last, frame)
                yield frame, picture


class PictureCache:
    """The pictures decoded last, in the decoder's own format, bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._pictures: OrderedDict[int, av.VideoFrame] = OrderedDict()
        self._bytes = 0

    def get(self, frame: int) -> av.VideoFrame | None:
        return self._pictures.get(frame)

    def keep(self, frame: int, picture: av.VideoFrame, many: bool) -> None:
        """Keeps one more; `many`: as many as the bound allows, else only the last few."""
        self._drop(frame)
        self._pictures[frame] = picture
        self._bytes += _size_in_bytes(picture)
        most = len(self) if many else RECENT_PICTURES
        while len(self) > 1 and (self._bytes > self.max_bytes or len(self) > most):
            self._drop(next(iter(self._pictures)))

    def clear(self) -> None:
        self._pictures.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def _drop(self, frame: int) -> None:
        picture = self._pictures.pop(frame, None)
        if picture is not None:
            self._bytes -= _size_in_bytes(picture)


class Orientation:
    """Quarter turns and mirror images: first swap the sides, then mirror."""

    def __init__(self, transposed: bool = False, mirror_x: bool = False, mirror_y: bool = False) -> None:
        self.transposed = transposed
        self.mirror_x = mirror_x
        self.mirror_y = mirror_y

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Orientation:
        """From a display matrix (ISO/IEC 14496-12, 8.3.2: x' = ax + cy, y' = bx + dy), rounded to a quarter turn."""
        try:
            data = picture.side_data["DISPLAYMATRIX"]  # type: ignore[literal-required]
        except KeyError:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(data), dtype=np.int32)[:5].tolist()
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def apply(self, frame: np.ndarray) -> np.ndarray:
        if self.transposed:
            frame = frame.swapaxes(0, 1)
        frame = frame[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]
        return np.ascontiguousarray(frame)


def _frame_rate(stream: av.VideoStream, times: np.ndarray) -> Fraction | None:
    """The declared rate where the times agree with it, else their average."""
    declared = stream.guessed_rate or stream.average_rate
    if len(times) < 2:
        return declared
    average = (len(times) - 1) / (times[-1] - times[0])
    if declared and abs(float(declared) / average - 1) < 2e-3:
        return declared
    return Fraction(average).limit_denominator(1001)


def _size_in_bytes(picture: av.VideoFrame) -> int:
    return sum(plane.buffer_size for plane in picture.planes)


def _what_is_missing(feed: PacketFeed, packets: PacketList, table: FrameTable) -> list[str]:
    problems = []
    found, declared = len(packets.pts), _declared_packets(feed)
    declared_seconds = _declared_seconds(feed.stream)
    slack_seconds = 3 / float(feed.stream.average_rate or ASSUMED_FPS)
    if declared > found:
        problems.append(f"{feed.path} ends early: it declares {declared} frames, {found} could be read")
    elif declared_seconds and table.pts[-1] * (feed.stream.time_base or 0) < declared_seconds - slack_seconds:
        problems.append(f"{feed.path} ends early: it declares {declared_seconds:.1f} seconds of video")
    elif packets.error:
        problems.append(f"{feed.path} is damaged: reading stopped after {found} frames ({packets.error})")
    if table.left_out:
        problems.append(f"{feed.path} begins with {table.left_out} frames that need pictures from before; left out")
    return problems


def _declared_packets(feed: PacketFeed) -> int:
    """From the index of an MP4, where an edit list has had its say, else from the header; 0 if neither exists."""
    return len(feed.stream.index_entries) if "mp4" in feed.container.format.name else feed.stream.frames


def _declared_seconds(stream: av.VideoStream) -> float:
    """Matroska notes each stream's length in its tags as hours:minutes:seconds; 0 if there is none."""
    noted = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
    return float(int(noted[1]) * 3600 + int(noted[2]) * 60 + float(noted[3])) if noted else 0.0
