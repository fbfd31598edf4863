"""``masklet evaluate``: how well networks segment annotated pictures and videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from masklet.cli.options import takes_precision, takes_shortcuts, takes_trades
from masklet.evaluation.datasets import DATASETS
from masklet.evaluation.plan import (
    BASELINES,
    CORRECTIONS,
    MODES,
    PROMPTS,
    RUNNERS,
    TARGETS,
    ImageProtocol,
    InteractiveProtocol,
    Plan,
    VosProtocol,
)

if TYPE_CHECKING:
    from masklet.evaluation.report import Report

C = TypeVar("C", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING = click.Path(path_type=Path, exists=True, file_okay=False)
COUNT = click.IntRange(min=1)
SCORE = click.FloatRange(0, 1, min_open=True)
PLANNED = (
    "dataset",
    "split",
    "weights",
    "runner",
    "device",
    "precision",
    "trades",
    "keyframes",
    "still_below",
    "corrections",
)


@click.group("evaluate")
def evaluate() -> None:
    """Measure networks on annotated pictures and videos, and compare two measurements.

    A run that was stopped goes on where it was, with the same command.
    """


def takes_plan(command: C) -> C:
    """Passes ``plan_of``, which makes a plan of a protocol, ``out`` and ``workers``."""

    @click.option("--dataset", required=True, type=click.Choice(list(DATASETS)), help="Layout and rules.")
    @click.option("--root", required=True, type=EXISTING, help="The dataset's folder, as published.")
    @click.option("--split", metavar="NAME", help="Such as val.  [default: the dataset's usual one]")
    @click.option("--weights", default="pico", show_default=True, metavar="NAME_OR_FILE", help="See `masklet models`.")
    @click.option("--runner", default="masklet", show_default=True, type=click.Choice(RUNNERS), help="What segments.")
    @click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 ...  [default: cuda if there is one, else cpu]")
    @takes_precision
    @takes_trades
    @takes_shortcuts
    @click.option("--corrections", default="condition", show_default=True, type=click.Choice(CORRECTIONS))
    @click.option("-o", "--out", required=True, type=FOLDER, metavar="FOLDER", help="For results, new or to go on.")
    @click.option("--workers", default=1, show_default=True, type=COUNT, help="Processes.")
    @wraps(command)
    def with_plan(*, out: Path, workers: int, root: Path, **rest: Any) -> Any:
        about = {name: rest.pop(name) for name in PLANNED}
        return command(
            plan_of=lambda protocol: Plan(root=str(root), protocol=protocol, **about), out=out, workers=workers, **rest
        )

    return with_plan  # type: ignore[return-value]


@evaluate.command("vos", short_help="Objects shown once are followed through videos.")
@takes_plan
@click.option("--prompt", default="mask", show_default=True, type=click.Choice(PROMPTS), help="How they are shown.")
@click.option("--overlap/--no-overlap", default=None, help="Whether they may share pixels.  [default: the dataset's]")
def vos(plan_of: Callable[..., Plan], out: Path, workers: int, prompt: Any, overlap: bool | None) -> None:
    """Objects are shown once, where they are first seen, and followed to the end of the video.

    \b
      masklet evaluate vos --dataset davis2017 --root DAVIS --weights sam2.1-hiera-tiny --out out/davis
      masklet evaluate vos --dataset sa-v --root SA-V --split test --prompt 3-click --out out/sav
    """
    _run(plan_of(VosProtocol(prompt, overlap)), out, workers)


@evaluate.command("interactive", short_help="A simulated user corrects frame after frame.")
@takes_plan
@click.option("--mode", "modes", multiple=True, type=click.Choice(MODES), help="Repeatable.  [default: both]")
@click.option("--rounds", default=8, show_default=True, type=COUNT, help="Prompted frames at most.")
@click.option("--clicks", default=3, show_default=True, type=COUNT, help="Clicks on each of them at most.")
@click.option("--baselines/--no-baselines", default=True, show_default=True, help="Image model, carried along.")
@click.option("--target", "targets", multiple=True, type=SCORE, help="J&F to reach; repeatable.  [default: 0.6 to 0.9]")
def interactive(
    plan_of: Callable[..., Plan],
    out: Path,
    workers: int,
    modes: tuple[Any, ...],
    rounds: int,
    clicks: int,
    baselines: bool,
    targets: tuple[float, ...],
) -> None:
    """A simulated user clicks on one frame after the other, and sees what becomes of the others.

    \b
      masklet evaluate interactive --dataset davis2017 --root DAVIS --weights sam2.1-hiera-tiny --out out/interactive
    """
    protocol = InteractiveProtocol(modes or MODES, rounds, clicks, baselines=BASELINES if baselines else ())
    _run(plan_of(protocol), out, workers, sorted(set(targets)) or TARGETS)


@evaluate.command("image", short_help="Clicks on single pictures.")
@takes_plan
@click.option("--clicks", multiple=True, type=COUNT, help="Repeatable.  [default: 1, 3 and 5]")
@click.option("--every", default=1, show_default=True, type=COUNT, help="Each so many-th annotated picture.")
def image(plan_of: Callable[..., Plan], out: Path, workers: int, clicks: tuple[int, ...], every: int) -> None:
    """Every annotated object of every picture is clicked on, and the IoU taken after some numbers of clicks.

    \b
      masklet evaluate image --dataset folder --root PICTURES --weights sam2.1-hiera-tiny --out out/image
    """
    _run(plan_of(ImageProtocol(tuple(sorted(clicks)) or ImageProtocol.clicks, every)), out, workers)


@evaluate.command("compare", short_help="Two evaluations beside each other, with intervals.")
@click.argument("a", type=EXISTING)
@click.argument("b", type=EXISTING)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(a: Path, b: Path, as_json: bool) -> None:
    """Compare the results in folder B with those in folder A: mean differences, with 95 % intervals of a paired
    bootstrap over the sequences.
    """
    import json
    from dataclasses import asdict

    from masklet.evaluation.compare import compare as differences_of
    from masklet.evaluation.report import as_text

    differences, notes = differences_of(a, b)
    rows = [asdict(difference) for difference in differences]
    click.echo(json.dumps(rows) if as_json else as_text(rows))
    for note in notes:
        click.echo(note, err=True)


def _run(plan: Plan, out: Path, workers: int, targets: Sequence[float] = TARGETS) -> None:
    from masklet.evaluation.plots import can_plot, save_plots
    from masklet.evaluation.report import report
    from masklet.evaluation.run import run

    found = report(plan, run(plan, out, workers=workers), targets=targets)
    paths = found.save(out)
    if can_plot():
        paths += save_plots(found, out)
    else:
        click.echo("No plots: they need matplotlib, `pip install masklet[eval]`.", err=True)
    _tell(found)
    for path in paths:
        click.echo(path)


def _tell(found: Report) -> None:
    from masklet.evaluation.report import as_text

    for note in found.notes:
        click.echo(note, err=True)
    if found.plan.kind == "interactive":
        shown = [as_text(found.tables[name]) for name in ("curves", "needed", "ratios")]
        click.echo("\n\n".join(table for table in shown if table), err=True)
    elif found.rows:
        click.echo(as_text([found.means]), err=True)
