"""Frames in, results out: `read.open_frames` gives any input as a FrameSource, `write.open_writer` takes results."""

from __future__ import annotations

FORMATS = {
    "overlay": "the frames with the masks drawn on them: .mp4 (with sound) or, for one frame, .png/.jpg",
    "png": "one palette PNG per frame, object ids as indices",
    "png-objects": "one folder per object with a black and white PNG per frame",
    "rle": "one JSON file with COCO run lengths, scores and prompted frames",
    "cutout-png": "one PNG per frame, transparent outside the objects",
    "cutout-webm": "a WebM video (VP9), transparent outside the objects",
    "sheet": "one picture with a grid of drawn frames",
}
"""What `write.open_writer` can write, by the name of the format."""
