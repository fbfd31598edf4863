"""How long it takes from the start of a Python process to the masks of a click on a picture.

Measured: masklet and PyPI sam2 1.1.0 with the same seeded weights of tiny in a file, and masklet's built-in network,
each in a fresh process of its own, by turns: importing, loading the weights, encoding the picture, one click. Medians,
the lowest and the highest time, and the ratio to the package. Files lie in the system's cache after the first round,
which is not counted.

Command: .venv-peers/bin/python benchmarks/first_mask.py --out benchmarks/results/start.json
Needs the environment that benchmarks/peers.py makes. Time: a minute on two cores. The last line printed is JSON.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
from PIL import Image

from contestants import PEER_CONFIG, PLACES, Reference
from machine import machine
from speed import REFERENCE, Times, tell

OURS = """
import sys
import masklet
session = masklet.ImageSession(masklet.load(sys.argv[1]))
session.set_image(sys.argv[2])
print(session.predict(masklet.Points((int(sys.argv[3]), int(sys.argv[4])))).masks.sum())
"""
THEIRS = f"""
import sys
import numpy as np
from PIL import Image
from sam2.build_sam import build_sam2
from sam2.sam2_image_predictor import SAM2ImagePredictor
predictor = SAM2ImagePredictor(build_sam2({PEER_CONFIG!r}, sys.argv[1], device="cpu"))
predictor.set_image(np.asarray(Image.open(sys.argv[2])))
masks, _, _ = predictor.predict(np.array([[int(sys.argv[3]), int(sys.argv[4])]]), np.array([1]))
print(masks.sum())
"""


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--out", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(rounds: int, out: Path | None) -> None:
    times = Times()
    with TemporaryDirectory() as folder:
        reference, picture, weights = Reference(REFERENCE, 1024), Path(folder, "picture.png"), Path(folder, "tiny.pt")
        Image.fromarray(reference.picture()).save(picture)
        torch.save({"model": reference.weights()}, weights)
        ways = {"sam2": (THEIRS, weights), "masklet": (OURS, weights), "masklet, built in": (OURS, "pico")}
        for count in range(rounds + 1):
            for name, (program, network) in ways.items():
                command = [sys.executable, "-W", "ignore", "-c", program, str(network), str(picture)]
                begin = time.perf_counter()
                subprocess.run([*command, *map(str, PLACES[0])], check=True, stdout=subprocess.DEVNULL)
                if count:
                    times.add(name, time.perf_counter() - begin)
    tell({"case": "start", "image_size": 1024, "machine": machine(), "times": times.summary()}, out)


if __name__ == "__main__":
    main()
