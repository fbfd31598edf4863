"""The command line: ``masklet segment``, ``track``, ``everything``, ``evaluate``, ``models`` and ``demo``.

Commands are imported when they are named, and heavy libraries when a command runs, so that ``masklet --help`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from masklet import __version__
from masklet.process import keep_freed_memory

__all__ = ["main"]

COMMANDS = (
    "segment",
    "track",
    "everything",
    "evaluate",
    "data",
    "train",
    "finetune",
    "convert",
    "sav",
    "serve",
    "models",
    "demo",
)
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
    keep_freed_memory()
