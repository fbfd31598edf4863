"""``masklet models``: the networks that can be had by name."""

from __future__ import annotations

import click

from masklet.checkpoints.download import Download
from masklet.checkpoints.registry import NAMES, PICO, PUBLISHED, BuiltIn, is_at_hand, weights_path


@click.command("models")
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(NAMES))
def models(names: tuple[str, ...]) -> None:
    """List the networks that can be had by name: size, licence, whether the weights are already here, and where they
    come from. With names, download those that are not here yet.
    """
    if names:
        for name in names:
            click.echo(f"{name}: {weights_path(name)}")
        return
    rows = [("NAME", "SIZE", "LICENCE", "HERE", "SOURCE")]
    rows += [_row(entry) for entry in (PICO, *PUBLISHED.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(entry: BuiltIn | Download) -> tuple[str, str, str, str, str]:
    here = "yes" if is_at_hand(entry.name) else "no"
    return entry.name, f"{entry.size / 1e6:.0f} MB", entry.licence, here, entry.source
