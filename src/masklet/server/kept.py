"""Sessions that outlive the server: which folder is whose, and what is known of a session's video."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from masklet.server.schemas import VideoInfo

NAME = "session.json"
FILES = ("video.mp4", "thumbnails.jpg", NAME)


class KeptError(ValueError):
    """A folder holds no session that can be opened again."""


def save(folder: Path, video: VideoInfo) -> None:
    """Write down what `load` reads, in whole or not at all."""
    unfinished = folder / f"{NAME}.part"
    unfinished.write_text(video.model_dump_json(), encoding="utf-8")
    unfinished.replace(folder / NAME)


def load(folder: Path) -> VideoInfo:
    """About the video of a session. Raises KeptError when it was never made ready, or is damaged."""
    try:
        video = VideoInfo.model_validate_json((folder / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise KeptError(f"{folder} holds no session") from error
    for name in FILES:
        if not (folder / name).is_file():
            raise KeptError(f"{folder} lacks {name}")
    return video


@contextmanager
def owned(folder: Path) -> Iterator[Path]:
    """A folder of our own in ``folder``, which nobody else may look into, with no uploads of earlier servers.

    Raises ValueError while another server uses it, where the system can tell.
    """
    own = folder / "masklet-serve"
    own.mkdir(parents=True, exist_ok=True)
    own.chmod(0o700)
    with (own / "lock").open("w") as file:
        _lock(file.fileno(), own)
        shutil.rmtree(own / "uploads", ignore_errors=True)
        yield own


def _lock(descriptor: int, folder: Path) -> None:
    """Ends with the process, however that ends."""
    if os.name == "nt":
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ValueError(f"another server keeps its sessions in {folder}; choose another folder") from error
