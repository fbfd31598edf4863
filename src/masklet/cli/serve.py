"""``masklet serve``: the web demo."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import click

from masklet.cli.options import takes_network
from masklet.process import without_helpers

if TYPE_CHECKING:
    from masklet.model.sam2 import SegmentationNetwork

MISSING = 'masklet serve needs packages that are not installed: {}; install them with: pip install "masklet[serve]"'

FRAMES_PER_SECOND = 60
"""Videos of so many are taken up to the bound on their length."""

PREPARING_FACTOR = 4
"""So many times as long as a video takes to play, making it ready may take."""

STORED_FILES = 10
"""Of the largest size, together."""


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", default=8321, show_default=True, type=click.IntRange(1, 65535))
@click.option("--token", metavar="TEXT", help="What visitors have to know.  [default: made up, unless on localhost]")
@click.option("--name", "names", multiple=True, metavar="HOST", help="A further name of this server; repeatable.")
@click.option("--browser/--no-browser", default=True, help="Whether to open the page.")
@click.option("--max-mb", default=2048, show_default=True, type=click.IntRange(1), help="Size of a file.")
@click.option("--max-minutes", default=15.0, show_default=True, type=click.FloatRange(0.1), help="Length of a video.")
@click.option("--max-side", default=1920, show_default=True, type=click.IntRange(64), help="Larger videos are scaled.")
@click.option("--max-input-side", default=4320, show_default=True, type=click.IntRange(64), help="Larger are refused.")
@click.option("--max-pictures", default=300, show_default=True, type=click.IntRange(1), help="Opened as one video.")
@click.option("--max-sessions", default=40, show_default=True, type=click.IntRange(1), help="Open at once.")
@click.option("--idle-minutes", default=60.0, show_default=True, type=click.FloatRange(1), help="Until a session ends.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where sessions lie and outlive the server.  [default: they end with it]",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="Of the network.  [default: all cores; one less where the browser is on this machine too]",
)
@takes_network
def serve(
    host: str,
    port: int,
    token: str | None,
    names: tuple[str, ...],
    browser: bool,
    max_mb: int,
    max_minutes: float,
    max_side: int,
    max_input_side: int,
    max_pictures: int,
    max_sessions: int,
    idle_minutes: float,
    keep: Path | None,
    threads: int | None,
    load: Callable[[], SegmentationNetwork],
) -> None:
    """Serve the web page: click an object, watch it followed.

    By default only this machine reaches the page. With another --host, visitors need the token in the address that is
    printed.
    """
    try:
        from masklet.server.app import LOCAL_NAMES, make_app
        from masklet.server.app import serve as run
        from masklet.server.limits import Limits
        from masklet.server.security import checked_token, is_loopback, new_token
    except ModuleNotFoundError as error:
        raise click.ClickException(MISSING.format(error.name)) from error
    limits = Limits(
        upload_bytes=max_mb << 20,
        stored_bytes=max(STORED_FILES * (max_mb << 20), Limits.stored_bytes),
        pictures=max_pictures,
        seconds=max_minutes * 60,
        frames=round(max_minutes * 60 * FRAMES_PER_SECOND),
        input_side=max_input_side,
        side=max_side,
        prepare_seconds=max(PREPARING_FACTOR * max_minutes * 60, Limits.prepare_seconds),
        sessions=max_sessions,
        sessions_per_address=max(max_sessions // 2, 1),
        idle_minutes=idle_minutes,
    )
    if token is not None:
        checked_token(token)
    elif not is_loopback(host):
        token = new_token()
    is_anywhere = host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
    hosts = (*names, "*") if is_anywhere and not names else (*LOCAL_NAMES, host, *names)
    with without_helpers():
        network = load()
    _leave_room(threads, spare=is_loopback(host))
    app = make_app(network, limits=limits, hosts=hosts, token=token, keep=keep)
    address = f"http://{_shown(host)}:{port}/" + (f"?{urlencode({'token': token})}" if token else "")
    click.echo(f"masklet is at {address} - stop it with Ctrl-C")
    if browser:
        Timer(1.0, webbrowser.open, [address]).start()
    run(app, host, port, limits)


def _leave_room(threads: int | None, *, spare: bool) -> None:
    """Bound the network's threads: its helpers never rest, and a browser beside them answers touches late."""
    import torch

    torch.set_num_threads(threads or max(1, torch.get_num_threads() - spare))


def _shown(host: str) -> str:
    """The host as it stands in an address that this machine can open."""
    if host in ("0.0.0.0", "::", "127.0.0.1"):  # noqa: S104 - compared, not bound
        return "localhost"
    return f"[{host}]" if ":" in host else host
