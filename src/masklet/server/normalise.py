"""What was uploaded, as the page needs it: H.264 at a constant rate with frequent key frames, sound, and thumbnails.

    python -m masklet.server.normalise LIMITS FOLDER FILE...

This runs in a process of its own, since the files may be hostile. It bounds its own memory, writes ``video.mp4`` and
``thumbnails.jpg`` into FOLDER, and tells its progress on standard output, one JSON object a line: ``{"done", "total"}``
while it works, then the ``VideoInfo`` or ``{"error"}``. Every frame that can be decoded becomes exactly one frame.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image

from masklet.process import keep_freed_memory
from masklet.video.encode import SoundTrack
from masklet.video.pictures import ImageFiles
from masklet.video.read import VideoFile
from masklet.video.source import FrameSource, VideoError

KEY_FRAME_EVERY = 12
"""Frames. Seeking decodes at most so many."""

THUMBNAILS = 40
THUMBNAIL_HEIGHT = 54
PICTURE_FPS = Fraction(4)
FPS_RANGE = (Fraction(1), Fraction(120))
TELL_EVERY = 5
LIFE_SECONDS = 5.0
"""So often at most a sign of life is given where there is no progress to tell of."""

SOUND_SECONDS = 10
"""Of sound that are coded between two signs of life."""

NO_ROOM = "this server has no room for the video, so cut it"

_PICTURES = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"BM": ".bmp",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
_MP4 = {"movflags": "faststart", "use_editlist": "0"}
_H264 = {"crf": "20", "preset": "veryfast", "bf": "0", "sc_threshold": "0", "x264-params": "open-gop=0"}


def picture_suffix(head: bytes) -> str | None:
    """The suffix for a picture's file, by its first 16 bytes; None if it is no still picture."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _PICTURES.items() if head.startswith(magic)), None)


class Teller:
    """Tells what progress there is on standard output, and again while there is none but work goes on."""

    def __init__(self) -> None:
        self._news: dict[str, Any] = {"done": 0, "total": 0}
        self._told = time.monotonic()

    def tell(self, news: dict[str, Any]) -> None:
        """One line."""
        self._news, self._told = news, time.monotonic()
        print(json.dumps(news), flush=True)

    def live(self) -> None:
        """A sign of life, now and then."""
        if time.monotonic() - self._told > LIFE_SECONDS:
            self.tell(self._news)


def open_uploaded(paths: Sequence[Path], on_packet: Callable[[], object] = lambda: None) -> FrameSource:
    """The frames of one video, or of pictures in order; what a file is, its first bytes say.

    ``on_packet`` is called for each packet that is read. Raises VideoError when they are neither.
    """
    suffixes = [picture_suffix(path.open("rb").read(16)) for path in paths]
    if len(paths) == 1 and suffixes[0] is None:
        try:
            return VideoFile(paths[0], on_packet=on_packet)
        except VideoError as error:
            reason = str(error).replace(str(paths[0]), "the file")
            raise VideoError(f"this is no video or picture that can be read ({reason})") from error
    named = []
    for path, suffix in zip(paths, suffixes, strict=True):
        if suffix is None:
            raise VideoError("expected one video, or pictures only; upload videos one by one")
        named.append(path.rename(path.with_suffix(suffix)))
    return ImageFiles(named, fps=PICTURE_FPS, strict=True)


def check_limits(source: FrameSource, limits: dict[str, Any]) -> None:
    """Raises VideoError for pictures that are too large and videos that are too long."""
    height, width = source.video_hw
    if max(height, width) > limits["input_side"]:
        raise VideoError(
            f"the video is {width}x{height}; this server takes at most {limits['input_side']} pixels a side"
        )
    count, seconds = len(source), len(source) / float(source.fps or PICTURE_FPS)
    if count > limits["frames"] or seconds > limits["seconds"]:
        raise VideoError(
            f"the video has {count} frames in {seconds:.0f} seconds; this server takes at most {limits['frames']} "
            f"frames and {limits['seconds']:.0f} seconds, so cut it"
        )


def fitted_hw(video_hw: tuple[int, int], side: int) -> tuple[int, int]:
    """The size with its longer side at most ``side`` and even sides, as H.264 needs them."""
    scale = min(1.0, side / max(video_hw))
    height, width = (max(round(edge * scale / 2) * 2, 2) for edge in video_hw)
    return height, width


def normalise(source: FrameSource, folder: Path, side: int, tell: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Writes the video and its thumbnails, and gives back what ``VideoInfo`` holds but the name."""
    height, width = fitted_hw(source.video_hw, side)
    rate = min(max(Fraction(source.fps or PICTURE_FPS), FPS_RANGE[0]), FPS_RANGE[1]).limit_denominator(1001)
    count = len(source)
    shown = np.unique(np.linspace(0, count - 1, min(THUMBNAILS, count)).round().astype(int)).tolist()
    thumbnails = []
    with av.open(str(folder / "video.mp4"), "w", options=_MP4) as output:
        stream = output.add_stream("libx264", rate=rate, options=_H264)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = KEY_FRAME_EVERY
        stream.codec_context.time_base = 1 / rate
        stream.codec_context.colorspace = stream.codec_context.color_primaries = stream.codec_context.color_trc = 1
        for index in range(count):
            frame = _scaled(source[index], (height, width))
            if index in shown:
                thumbnails.append(_thumbnail(frame))
            output.mux(stream.encode(_picture(frame, index, rate)))
            if index % TELL_EVERY == 0:
                tell({"done": index, "total": count})
        output.mux(stream.encode(None))
    _check_written(folder / "video.mp4", count)
    Image.fromarray(np.concatenate(thumbnails, axis=1)).save(folder / "thumbnails.jpg", quality=80)
    is_done = partial(tell, {"done": count, "total": count})
    has_sound = isinstance(source, VideoFile) and add_sound(folder, source, count / float(rate), is_done)
    return {
        "width": width,
        "height": height,
        "frames": count,
        "fps": float(rate),
        "sound": has_sound,
        "thumbnails": len(thumbnails),
    }


def add_sound(folder: Path, original: VideoFile, seconds: float, live: Callable[[], object]) -> bool:
    """Puts the sound of a file, from its first frame on, into ``video.mp4``. False: there is none that can be read.

    It is always coded anew, since the server itself opens that file and what was uploaded may be hostile. The pictures
    keep their times, which begin at 0: what a sound encoder puts before that is left out. ``live`` is called after
    every few of its ``seconds``.
    """
    video, sound, both = (folder / name for name in ("video.mp4", "sound.mp4", "both.mp4"))
    try:
        if not _extract_sound(original, sound, seconds, live):
            return False
        _interleave(video, sound, both)
        both.replace(video)
    except (FFmpegError, ValueError, OSError):
        return False
    finally:
        for path in (sound, both):
            path.unlink(missing_ok=True)
    return True


def _extract_sound(original: VideoFile, path: Path, seconds: float, live: Callable[[], object]) -> bool:
    assert original.path is not None
    begin = original.time_of(0)
    with av.open(str(path), "w") as output:
        track = SoundTrack.of(original.path, output, begin, copyable=())
        if track is None:
            return False
        for end in np.arange(0, seconds, SOUND_SECONDS):
            track.copy_until(begin + min(end + SOUND_SECONDS, seconds))
            live()
        track.close()
    return True


def _interleave(video: Path, sound: Path, both: Path) -> None:
    """The pictures of one file with the sound of the other, which ends with them."""
    with av.open(str(video)) as pictures, av.open(str(sound)) as sounds, av.open(str(both), "w", options=_MP4) as out:
        streams = [pictures.streams.video[0], sounds.streams.audio[0]]
        targets = {one.type: out.add_stream_from_template(one) for one in streams}
        end = float(pictures.duration or 0) / av.time_base
        for packet in heapq.merge(*(_timed(one.container.demux(one)) for one in streams), key=_begins_at):
            if _begins_at(packet) < end:
                packet.stream = targets[packet.stream.type]
                out.mux(packet)


def _timed(packets: Iterable[Packet]) -> Iterator[Packet]:
    return (packet for packet in packets if packet.size and packet.pts is not None and packet.pts >= 0)


def _begins_at(packet: Packet) -> float:
    return float((packet.pts or 0) * packet.time_base)


def main(arguments: Sequence[str]) -> int:
    """What the process does. 0: the files are there."""
    teller = Teller()
    limits, folder, *files = json.loads(arguments[0]), Path(arguments[1]), *map(Path, arguments[2:])
    _bound_process(limits["memory_bytes"], limits["video_bytes"])
    keep_freed_memory()
    try:
        with open_uploaded(files, teller.live) as source:
            check_limits(source, limits)
            teller.tell({"done": 0, "total": len(source)})
            teller.tell(normalise(source, folder, limits["side"], teller.tell))
    except (ValueError, OSError, MemoryError, FFmpegError) as error:
        teller.tell({"error": _sentence(error, folder)})
        return 1
    return 0


def _check_written(path: Path, count: int) -> None:
    """Writers do not tell of a full disk."""
    try:
        with av.open(str(path)) as video:
            written = sum(packet.size > 0 for packet in video.demux(video=0))
    except FFmpegError:
        written = 0
    if written != count:
        raise VideoError(f"{written} of {count} frames could be written; {NO_ROOM}")


def _sentence(error: Exception, folder: Path) -> str:
    """What went wrong, without the place of the files, which is none of the user's business."""
    if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOSPC):
        return NO_ROOM
    return str(error).replace(f"{folder}{os.sep}", "") or "the file needs too much memory"


def _scaled(frame: np.ndarray, hw: tuple[int, int]) -> np.ndarray:
    if frame.shape[:2] == hw:
        return frame
    return cv2.resize(frame, hw[::-1], interpolation=cv2.INTER_AREA)


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    width = max(round(frame.shape[1] * THUMBNAIL_HEIGHT / frame.shape[0]), 1)
    return _scaled(frame, (THUMBNAIL_HEIGHT, min(width, 4 * THUMBNAIL_HEIGHT)))


def _picture(frame: np.ndarray, index: int, rate: Fraction) -> av.VideoFrame:
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
    picture.pts, picture.time_base = index, 1 / rate
    return picture


def _bound_process(memory_bytes: int, file_bytes: int) -> None:
    """On systems that can: taking more memory or writing larger files fails, and no core file is written."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
