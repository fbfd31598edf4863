"""The command line: ``masklet segment``, ``track``, ``everything``, ``evaluate``, ``models`` and ``demo``.

Commands are imported when they are named, and heavy libraries when a command runs, so that ``masklet --help`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from masklet import __version__

__all__ = ["main"]

COMMANDS = {
    "segment": "Cut objects out of a picture.",
    "track": "Follow objects through a video.",
    "everything": "Find all objects of a picture, or follow all of a video.",
    "evaluate": "Measure networks on annotated pictures and videos.",
    "data": "Look at what a recipe learns from.",
    "train": "Train a network as a recipe says.",
    "finetune": "Make a network better at your own pictures or videos.",
    "convert": "Turn annotations from one format into another.",
    "sav": "Check, count and look at SA-V files.",
    "serve": "Open the web demo: click an object and watch it followed.",
    "models": "List the networks that can be had by name, or download them.",
    "demo": "Follow an object through the clip that ships with masklet.",
}
"""What each is for, so that the list of all does not import them."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the number of the signal."""


class UserError(click.ClickException):
    """Something that the user can put right: one line, no traceback."""

    exit_code = 2


class Commands(click.Group):
    """Commands that live in a module of their name each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return getattr(import_module(f"masklet.cli.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Errors of the kinds that masklet raises for users end in a message; all others are ours and keep theirs."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            ctx.exit(INTERRUPTED)
        except (OSError, ValueError) as error:
            raise UserError(str(error)) from error


@click.group("masklet", cls=Commands)
@click.version_option(__version__, prog_name="masklet")
def main() -> None:
    """Click an object in a picture or a video, or draw a box around it, and get its mask.

    `masklet COMMAND --help` explains a command.
    """
    from masklet.process import keep_freed_memory

    keep_freed_memory()
