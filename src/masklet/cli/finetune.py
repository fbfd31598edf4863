"""``masklet finetune``: the network, better at somebody's own pictures or videos."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from masklet.cli.options import FILE
from masklet.data.formats import READABLE

if TYPE_CHECKING:
    from masklet.data.datasets import Dataset
    from masklet.evaluation.held_out import HeldOut
    from masklet.training.finetune import FineTuning
    from masklet.training.loop import Recipe

COUNT = click.IntRange(min=1)
VIDEO_FRAMES = 4
"""Of the clips that videos are learned from."""
TESTED = 200
"""Objects of --test at most, more than are watched: they are looked at twice only."""
GIB = 1 << 30


@click.command("finetune")
@click.option("--data", required=True, type=FILE, metavar="PATH", help="What to learn from: a folder or a COCO file.")
@click.option("--format", "format_name", type=click.Choice(list(READABLE)), help="Of PATH.  [default: told from it]")
@click.option("--split", "split_name", metavar="NAME", help="A part of PATH, such as train.")
@click.option("--val", type=FILE, metavar="PATH", help="What to watch.  [default: a part of --data]")
@click.option("--val-share", default=0.2, show_default=True, type=float, help="How much of --data that part is.")
@click.option("--test", type=FILE, metavar="PATH", help="What to compare before and after on.  [default: as --val]")
@click.option("--weights", default="pico", show_default=True, metavar="NAME_OR_FILE", help="Where to start from.")
@click.option("-o", "--out", type=FILE, metavar="FOLDER", help="The run's folder.  [default: runs/ and PATH's name]")
@click.option("--frames", type=COUNT, help=f"Per clip.  [default: 1 for pictures, {VIDEO_FRAMES} for videos]")
@click.option("--size", type=COUNT, help="Side of square pictures in training.  [default: the network's]")
@click.option("--clips", default=2, show_default=True, type=COUNT, help="Pictures, or clips, per batch.")
@click.option("--parts", default=2, show_default=True, type=COUNT, help="Batches per step.")
@click.option("--objects", default=3, show_default=True, type=COUNT, help="Per clip at most.")
@click.option("--steps", default=1000, show_default=True, type=COUNT, help="At most.")
@click.option("--rate", default=1e-4, show_default=True, type=float, help="Learning rate.")
@click.option("--learn-trunk", is_flag=True, help="Let the image encoder learn as well: more memory, more time.")
@click.option("--check-every", default=50, show_default=True, type=COUNT, help="Steps between two looks at --val.")
@click.option("--patience", default=5, show_default=True, type=COUNT, help="Looks without gain that end the run.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(min=0), help="Processes that read.")
@click.option("--seed", default=1, show_default=True, type=int)
@click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 ...  [default: cuda if there is one, else cpu]")
@click.option("--resume", is_flag=True, help="Go on with the run in the folder.")
@click.option("--count-bytes", is_flag=True, help="Only tell how much memory a step needs.")
def finetune(
    data: Path,
    format_name: str | None,
    split_name: str | None,
    val: Path | None,
    val_share: float,
    test: Path | None,
    weights: str,
    out: Path | None,
    device: str | None,
    resume: bool,
    count_bytes: bool,
    frames: int | None,
    learn_trunk: bool,
    **options: Any,
) -> None:
    """Learn from annotated pictures or videos of your own, and keep the weights that do best on a part held out.

    `masklet convert --help` lists the formats. The folder gets weights.safetensors, before_after.json and .png,
    held_out.txt and what `masklet train` leaves. Training ends when the held-out part gains nothing any more.

    \b
      masklet finetune --data cells
      masklet finetune --data train.json --val val.json --weights sam2.1-hiera-tiny --out runs/mine
      masklet track clip.mp4 --click 0:480,270 --weights runs/mine/weights.safetensors
    """
    from masklet.data.datasets import open_dataset
    from masklet.evaluation.held_out import HeldOut
    from masklet.model.device import chosen_device
    from masklet.training.finetune import FineTuning, recipe_for, shows_videos, split
    from masklet.training.left_out import left_out
    from masklet.training.validation import Validation

    whole = open_dataset(format_name, data, split_name)
    learned, watched = (whole, open_dataset(format_name, val)) if val else split(whole, val_share, options["seed"])
    place = chosen_device(device)
    settings = FineTuning(
        frames=frames or (VIDEO_FRAMES if shows_videos(learned) else 1),
        frozen_trunk=not learn_trunk,
        bfloat16=place.startswith("cuda"),
        **options,
    )
    held_out = HeldOut(watched)
    validation = Validation(held_out.score, settings.check_every, settings.patience)
    recipe = recipe_for(weights, learned, settings, validation)
    if count_bytes:
        click.echo(told_bytes(recipe, settings))
        return
    folder = out or Path("runs") / (data.stem if data.is_file() else data.resolve().name)
    tested = HeldOut(open_dataset(format_name, test), most=TESTED) if test else held_out
    prepare(folder, watched, resume=resume)
    click.echo(f"learning from {len(learned)}, watching {len(watched)} of the format {whole.format}", err=True)
    learn(recipe, folder, place)
    learned.bad.update(left_out(folder))
    click.echo(compared(weights, tested, folder, place))
    for line in reports(learned, watched, tested.dataset):
        click.echo(line, err=True)
    click.echo(folder / "weights.safetensors")


def prepare(out: Path, watched: Dataset, *, resume: bool) -> None:
    """The run's folder. Raises ValueError if it holds a run and is not to go on."""
    if any(out.glob("*.pt")) and not resume:
        raise ValueError(f"{out} holds a run already; add --resume to go on, or name another --out")
    out.mkdir(parents=True, exist_ok=True)
    (out / "held_out.txt").write_text("".join(f"{entry.name}\n" for entry in watched.entries))


def learn(recipe: Recipe, out: Path, device: str) -> None:
    """Train until nothing is gained, and write the best weights."""
    import torch

    from masklet.training.left_out import told_left_out
    from masklet.training.loop import Run

    torch.set_flush_denormal(True)
    run = Run(recipe, out, device)
    run.save_result(run.train())
    assert run.watch is not None, "fine-tuning watches"
    best = run.watch.best_step
    word = f"best after {best} of {run.step} steps" if best else "nothing was gained, the weights are those of before"
    click.echo(word, err=True)
    click.echo(told_left_out(out), err=True)


def compared(weights: str, tested: HeldOut, out: Path, device: str) -> str:
    """The table of before and after; writes it as JSON, and the picture."""
    from PIL import Image

    from masklet.checkpoints import load_network
    from masklet.evaluation.held_out import sheet, table
    from masklet.evaluation.sessions import SessionRunner

    networks = (load_network(name, device=device) for name in (weights, out / "weights.safetensors"))
    before, after = (tested.measure(SessionRunner(network)) for network in networks)
    scores = {"before": before.means(), "after": after.means(), "objects": {m: len(s) for m, s in after.scores.items()}}
    (out / "before_after.json").write_text(json.dumps(scores, indent=2) + "\n")
    Image.fromarray(sheet(before, after)).save(out / "before_after.png")
    return table(before, after)


def reports(*datasets: Dataset) -> list[str]:
    """What could not be read, once for each dataset."""
    return [dataset.report() for dataset in {id(dataset): dataset for dataset in datasets}.values() if dataset.bad]


def told_bytes(recipe: Recipe, settings: FineTuning) -> str:
    """A line for each thing that needs memory in the dearest step, in float32 and as on a graphics card."""
    in_float32, in_bfloat16 = (needed_bytes(replace(recipe, bfloat16=rounds), settings) for rounds in (False, True))
    lines = [f"{'GiB':<12}{'float32':>9}{'bfloat16':>10}"]
    lines += [f"{name:<12}{count / GIB:9.2f} {in_bfloat16[name] / GIB:9.2f}" for name, count in in_float32.items()]
    return "\n".join(lines)


def needed_bytes(recipe: Recipe, settings: FineTuning) -> dict[str, int]:
    """What the dearest step needs, by what it is for, and together."""
    from masklet.training.footprint import footprint

    kinds = {(1, settings.clips), (settings.frames, settings.clips_of_many_frames)}
    steps = (footprint(recipe, frames=frames, clips=clips, objects=settings.objects) for frames, clips in kinds)
    needed = max(steps, key=lambda step: step.total)
    return {**asdict(needed), "together": needed.total}
