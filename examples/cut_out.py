"""Cut the object at a pixel out of a picture, once for each of the three ways to read an ambiguous click.

python examples/cut_out.py photo.jpg 490 270 out/
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

import masklet
from masklet.video.writers import cut_out


def main() -> None:
    arguments = parsed()
    session = masklet.ImageSession(masklet.load(arguments.weights))
    picture = np.asarray(ImageOps.exif_transpose(Image.open(arguments.picture)).convert("RGB"))
    session.set_image(picture)
    result = session.predict(masklet.Points((arguments.x, arguments.y)))

    arguments.out.mkdir(parents=True, exist_ok=True)
    best_first = result.iou.argsort()[::-1]
    for rank, candidate in enumerate(best_first.tolist(), start=1):
        path = arguments.out / f"{rank}.png"
        Image.fromarray(cut_out(picture, result.masks[candidate])).save(path)
        print(f"{path}  predicted IoU {result.iou[candidate]:.2f}")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("x", type=float, help="pixels from the left")
    parser.add_argument("y", type=float, help="pixels from the top")
    parser.add_argument("out", type=Path, help="folder for the cut-outs")
    parser.add_argument("--weights", default="pico", help="a name that masklet models lists, or a file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
