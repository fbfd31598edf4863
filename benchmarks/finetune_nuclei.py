"""Fine-tune on microscopy images of nuclei: what does a small network gain on images that it has not seen?

    python benchmarks/finetune_nuclei.py --data nuclei --out runs/nuclei                       # the built-in weights
    python benchmarks/finetune_nuclei.py --data nuclei --weights sam2.1-hiera-tiny --out runs/tiny

NUCLEI holds pictures NAME.jpg and NAME.png of the same size with the number of the nucleus at every pixel, such as the
160 images of the 2018 Data Science Bowl (CC0). The built-in weights have learned from them, so they gain less than on
pictures of a new kind: --rate 2e-4 --steps 60 does most of it. Every fifth image, which their training has left out
since its sixth stage, is used for the table alone; of the others, a fifth is watched to choose the weights. All is done
by `masklet finetune`, to which unknown options are passed on (`--steps 300 --size 256` for a slow machine).

Needs minutes with the built-in weights on two processor cores, and a graphics card for larger networks. The picture is
before_after.png in --out. The last line is JSON: mean IoU after some clicks, before and after, and how many nuclei.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from masklet.data.material import HELD_OUT_EVERY, held_out


def main() -> None:
    """Lay the images out as a person would bring them, and fine-tune."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of NAME.jpg and NAME.png")
    parser.add_argument("--out", type=Path, required=True, help="folder for the run")
    arguments, options = parser.parse_known_args()
    learn, test = lay_out(arguments.data, arguments.out / "data")
    run = arguments.out / "run"
    command = [sys.executable, "-m", "masklet.cli", "finetune", "--format", "images", "--out", str(run)]
    subprocess.run([*command, "--data", str(learn), "--test", str(test), *options], check=True)
    print(run / "before_after.png")
    print(json.dumps(json.loads((run / "before_after.json").read_text())))


def lay_out(data: Path, folder: Path) -> tuple[Path, Path]:
    """The images to learn from and those to test with, each as a folder of pictures and one of masks."""
    pictures = [path for path in sorted(data.glob("*.jpg")) if path.with_suffix(".png").exists()]
    if len(pictures) < HELD_OUT_EVERY:
        raise SystemExit(
            f"expected at least {HELD_OUT_EVERY} pairs of NAME.jpg and NAME.png in {data}, got {len(pictures)}"
        )
    learn, test = folder / "learn", folder / "test"
    tested = set(held_out(pictures))
    for picture in pictures:
        part = test if picture in tested else learn
        for path, kind in ((picture, "images"), (picture.with_suffix(".png"), "masks")):
            (part / kind).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, part / kind / path.name)
    return learn, test


if __name__ == "__main__":
    main()
