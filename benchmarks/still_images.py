"""How well clicks on still pictures are answered: people, garments and body parts, and nuclei under a microscope.

Measured: mean IoU after 1, 3 and 5 clicks of the simulated user, for 200 people or parts, one a photo, and 200 nuclei.
They are drawn from the pictures of the training material that no clip shows (``masklet.data.material.held_out``),
seeded: of every other photo the whole person, else a part; labels of less than a tenth of the picture's largest one
and of less than 30 pixels are left out, as in training.

Command: python benchmarks/still_images.py --assets ASSETS --weights pico --out out/stills
ASSETS is laid out as ``masklet.data.material`` says. Time: a minute with the built-in weights on two cores. The worst
cases are out/stills/*/gallery.png. The last line printed is JSON.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
from PIL import Image

from masklet.data.material import NUCLEI, PEOPLE, held_out
from masklet.data.synthetic import sizeable
from masklet.evaluation.plan import ImageProtocol, Plan
from masklet.evaluation.report import as_text, report
from masklet.evaluation.run import run
from masklet.model.precision import PRECISIONS, Precision


@click.command(help=__doc__)
@click.option("--assets", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--weights", default="pico", show_default=True)
@click.option("--precision", default="auto", show_default=True, type=click.Choice(PRECISIONS))
@click.option("--count", default=200, show_default=True, type=click.IntRange(min=1), help="Objects of each kind.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("out/stills"), show_default=True)
def main(assets: Path, weights: str, precision: Precision, count: int, out: Path) -> None:
    means = {}
    for kind, name in (("people and parts", PEOPLE), ("nuclei", NUCLEI)):
        folder = out / name
        pictures = held_out(sorted((assets / name).glob("*.jpg")))
        drawn = people(pictures, count) if name == PEOPLE else nuclei(pictures, count)
        objects = lay_out(drawn, folder / "data")
        plan = Plan("folder", str(folder / "data"), None, ImageProtocol(), weights=weights, precision=precision)
        found = report(plan, run(plan, folder))
        found.save(folder)
        means[kind] = {"objects": objects, **found.means}
    print(as_text([{"pictures": kind, **of_kind} for kind, of_kind in means.items()]))
    print(json.dumps(means))


def people(pictures: list[Path], count: int, seed: int = 0) -> Iterator[tuple[Path, np.ndarray]]:
    """Photos, and in each 1 for the pixels of the person or of one part."""
    rng = np.random.default_rng(seed)
    for number, picture in enumerate(pictures[:count]):
        labels = read_labels(picture)
        yield picture, labels > 0 if number % 2 == 0 else labels == rng.choice(sizeable(labels))


def nuclei(pictures: list[Path], count: int, seed: int = 0) -> Iterator[tuple[Path, np.ndarray]]:
    """Images, and in each the numbers of some nuclei."""
    rng = np.random.default_rng(seed)
    for number, picture in enumerate(pictures):
        here = count * (number + 1) // len(pictures) - count * number // len(pictures)
        labels = read_labels(picture)
        yield picture, np.where(np.isin(labels, rng.permutation(sizeable(labels))[:here]), labels, 0)


def read_labels(picture: Path) -> np.ndarray:
    with Image.open(picture.with_suffix(".png")) as labels:
        return np.asarray(labels)


def lay_out(drawn: Iterator[tuple[Path, np.ndarray]], folder: Path) -> int:
    """A folder of loose pictures and annotations for ``masklet evaluate``. Gives the number of objects."""
    objects = 0
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("JPEGImages", "Annotations"):
        (folder / part).mkdir(parents=True)
    for picture, labels in drawn:
        numbers, ids = np.unique(labels, return_inverse=True)
        objects += len(numbers) - 1
        shutil.copyfile(picture, folder / "JPEGImages" / picture.name)
        Image.fromarray(ids.reshape(labels.shape).astype(np.uint8)).save(folder / "Annotations" / f"{picture.stem}.png")
    return objects


if __name__ == "__main__":
    main()
