"""Formats that are written only: overlays, cut-outs, arrays. Each video becomes one file, or one folder."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from masklet.data.formats.base import Holds, RecordWriter
from masklet.data.records import Masklet, Record
from masklet.masks import decode_rle
from masklet.video.write import open_writer


class ViewWriter(RecordWriter):
    """Draws the annotated frames, each shown until the next one."""

    holds = Holds(gaps=True, rate=True)
    format: ClassVar[str]
    suffix: ClassVar[str]
    picture_suffix: ClassVar[str]

    def _write(self, record: Record) -> None:
        frames = record.annotated_frames
        if len(frames) < record.frame_count:
            self.losses.note("frames on which nothing is annotated are left out", record.video_id)
        suffix = self.picture_suffix if record.is_picture else self.suffix
        with record.open_frames() as source, open_writer(_target(self, record, suffix), source, self.format) as writer:
            for frame in frames:
                writer.add(frame, source[frame], record.masks_at(frame))


class OverlayWriter(ViewWriter):
    """NAME.mp4, or NAME.png for pictures."""

    format, suffix, picture_suffix = "overlay", ".mp4", ".png"


class CutoutWriter(ViewWriter):
    """NAME/00000.png ..., or NAME.png for pictures."""

    format, suffix, picture_suffix = "cutout-png", "", ".png"


class CutoutVideoWriter(ViewWriter):
    """NAME.webm."""

    format, suffix, picture_suffix = "cutout-webm", ".webm", ".webm"


class NumpyWriter(RecordWriter):
    """NAME.npz: for each object masks_ID (n, h, w) bool and frames_ID (n,) int64; video_hw and frame_count.

    Masks are written one after the other, so that memory holds one.
    """

    holds = Holds(gaps=True)

    def _write(self, record: Record) -> None:
        path = _target(self, record, ".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            _add(archive, "video_hw", np.array(record.video_hw))
            _add(archive, "frame_count", np.array(record.frame_count))
            for masklet in record.masklets:
                frames = sorted(masklet.masks)
                _add(archive, f"frames_{masklet.id}", np.array(frames, dtype=np.int64))
                _add_masks(archive, masklet, frames, record.video_hw)


def _target(writer: RecordWriter, record: Record, suffix: str) -> Path:
    """NAME with its suffix in the output folder, or the output itself where it is called like a file."""
    root = writer.root
    if not root.suffix or root.is_dir():
        return root / (writer.split or "") / f"{record.video_id}{suffix}"
    if writer.written:
        raise ValueError(f"{root} can hold one video only; give a folder")
    return root


def _add(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array)


def _add_masks(archive: zipfile.ZipFile, masklet: Masklet, frames: Sequence[int], video_hw: tuple[int, int]) -> None:
    header = {"descr": "|b1", "fortran_order": False, "shape": (len(frames), *video_hw)}
    with archive.open(f"masks_{masklet.id}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for frame in frames:
            file.write(decode_rle(masklet.masks[frame]).tobytes())
