"""Options that commands share. Each decorator hands the command one finished argument in place of several options."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from masklet.data.formats import AT_THE_END
from masklet.model.config import Trades
from masklet.model.precision import PRECISIONS
from masklet.video import FORMATS

if TYPE_CHECKING:
    from masklet.cli.shown import Shown
    from masklet.model.precision import Precision
    from masklet.model.sam2 import SegmentationNetwork

C = TypeVar("C", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)

FORMATS_HELP = """\b
Formats, by the name of --out or as --format:
""" + "\n".join(f"  {name:<12} {text}" for name, text in FORMATS.items())
AT_THE_END_HELP = f"{FORMATS_HELP}\n\n\b\nAs --format, of datasets (a folder, written at the end):\n" + "\n".join(
    f"  {name:<13} {text}" for name, text in AT_THE_END.items()
)


class TypedPrompt(click.ParamType):
    """A prompt on the command line."""

    def __init__(self, name: str, form: str) -> None:
        self.name = name
        self.form = form

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Shown:
        from masklet.cli.shown import TYPED

        try:
            return TYPED[self.name](value)
        except (ValueError, FileNotFoundError) as error:
            self.fail(f"{value!r}: {error}; expected {self.form}", param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return self.form


CLICK = TypedPrompt("click", "[FRAME:]X,Y[:-][@OBJECT]")
BOX = TypedPrompt("box", "[FRAME:]X0,Y0,X1,Y1[@OBJECT]")
MASK = TypedPrompt("mask", "[FRAME:]FILE[@OBJECT]")


def takes_prompts(command: C) -> C:
    """Passes ``shown``, a list with one entry per frame and object, which is not empty."""

    @click.option("--click", "clicks", multiple=True, type=CLICK, help="A point on the object; with :- beside it.")
    @click.option("--box", "boxes", multiple=True, type=BOX, help="A box around the object: left, top, right, bottom.")
    @click.option("--mask", "masks", multiple=True, type=MASK, help="A picture of the object's mask.")
    @click.option("--prompts", type=FILE, metavar="FILE", help="A JSON file with a list of prompts.")
    @wraps(command)
    def with_shown(*, clicks: Any, boxes: Any, masks: Any, prompts: Path | None, **rest: Any) -> Any:
        from masklet.cli.shown import merged, read_prompts

        shown = merged([*boxes, *masks, *clicks, *(read_prompts(prompts) if prompts else [])])
        if not shown:
            raise click.UsageError("No object is shown. Give a --click, --box, --mask or --prompts file.")
        return command(shown=shown, **rest)

    return with_shown  # type: ignore[return-value]


def takes_outputs(command: C) -> C:
    """Passes ``paths`` and ``formats``."""
    name = click.option("-o", "--out", "paths", multiple=True, type=FILE, metavar="PATH", help="Output; repeatable.")
    known = click.Choice([*FORMATS, *AT_THE_END])
    kind = click.option("--format", "formats", multiple=True, type=known, metavar="FORMAT", help="Its format.")
    return name(kind(command))


takes_precision = click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(PRECISIONS),
    help="auto: what the device is fastest with; exact: float32.",
)


def takes_trades(command: C) -> C:
    """Passes ``trades``."""
    count, share = click.IntRange(min=1), click.FloatRange(0, 1)

    @click.option("--fast", is_flag=True, help="Trade accuracy for speed: half the side, two memories fewer.")
    @click.option("--image-size", type=count, metavar="PIXELS", help="Side that pictures are resized to.")
    @click.option("--memories", type=count, metavar="COUNT", help="Memories that a frame attends to.")
    @click.option("--pooled-memory", default=1, type=count, metavar="CELLS", help="Average memories over such squares.")
    @click.option("--detailed-memory", type=share, metavar="SHARE", help="Average memories but for this share.")
    @wraps(command)
    def with_trades(**given: Any) -> Any:
        trades = Trades(**{field.name: given.pop(field.name) for field in fields(Trades)})
        return command(trades=trades, **given)

    return with_trades  # type: ignore[return-value]


def takes_shortcuts(command: C) -> C:
    """Passes ``keyframes`` and ``still_below``."""
    keyframes = click.option(
        "--keyframes",
        default=1,
        show_default=True,
        type=click.IntRange(min=1),
        metavar="N",
        help="Follow into each N-th frame; optical flow carries masks to those between.",
    )
    still_below = click.option(
        "--still-below",
        default=0.0,
        show_default=True,
        type=click.FloatRange(min=0),
        metavar="LEVELS",
        help="Leave masks as they are where a frame changes less, in the mean of grey levels 0 to 255.",
    )
    return keyframes(still_below(command))


def takes_network(command: C) -> C:
    """Passes ``load``, which loads the network when it is called."""

    @click.option("--weights", default="pico", show_default=True, metavar="NAME_OR_FILE", help="See `masklet models`.")
    @click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 ...  [default: cuda if there is one, else cpu]")
    @click.option("--compiled", is_flag=True, help="Translate the network first: for long videos on a GPU.")
    @takes_precision
    @takes_trades
    @wraps(command)
    def with_load(
        *, weights: str, device: str | None, compiled: bool, precision: Precision, trades: Trades, **rest: Any
    ) -> Any:
        return command(load=lambda: load_network_on(weights, device, precision, trades, compiled), **rest)

    return with_load  # type: ignore[return-value]


def load_network_on(
    weights: str, device: str | None, precision: Precision, trades: Trades, compiled: bool = False
) -> SegmentationNetwork:
    """Raises ValueError for a device that is not there, and what loading raises."""
    from masklet.checkpoints import load_network
    from masklet.model.device import chosen_device

    return load_network(weights, device=chosen_device(device), precision=precision, trades=trades, compiled=compiled)
