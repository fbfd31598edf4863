"""Follow what is in the middle of a camera's picture, live, with memory that does not grow.

python examples/camera.py                                    # the first camera; q or Esc ends
python examples/camera.py clip.mp4 --save overlay.mp4        # a file or a stream's address, without a window
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

import masklet
from masklet.video.draw import overlay


def main() -> None:
    arguments = parsed()
    camera = cv2.VideoCapture(int(arguments.source) if arguments.source.isdigit() else arguments.source)
    session = masklet.VideoSession(masklet.load(arguments.weights), keep_frames=100)
    out = None
    while True:
        there, bgr = camera.read()
        if not there:
            break
        result = session.step(bgr[..., ::-1])
        if result.frame == 0:
            result = session.prompt(0, 1, middle(bgr))
        seen = overlay(np.ascontiguousarray(bgr[..., ::-1]), {found.obj: found.mask for found in result})[..., ::-1]
        if arguments.save:
            out = out or writer(arguments.save, camera, seen)
            out.write(seen)
        elif shown(seen):
            break
    if out is not None:
        out.release()
        print(arguments.save)


def middle(bgr: np.ndarray) -> masklet.Box:
    h, w = bgr.shape[:2]
    return masklet.Box(0.3 * w, 0.3 * h, 0.7 * w, 0.7 * h)


def writer(path: str, camera: cv2.VideoCapture, seen: np.ndarray) -> cv2.VideoWriter:
    fps = camera.get(cv2.CAP_PROP_FPS) or 30.0
    return cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), fps, (seen.shape[1], seen.shape[0]))


def shown(seen: np.ndarray) -> bool:
    """Show a frame; whether the user wants to end. Windows need opencv-python instead of its headless twin."""
    cv2.imshow("masklet", seen)
    return cv2.waitKey(1) in (ord("q"), 27)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="0", help="number of a camera, a file, or a stream's address")
    parser.add_argument("--save", help="an .mp4 for the overlay instead of a window")
    parser.add_argument("--weights", default="pico", help="a name that masklet models lists, or a file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
