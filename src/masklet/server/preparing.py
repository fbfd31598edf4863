"""Runs `normalise` in a process of its own and follows its progress."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from masklet.server.limits import Limits

LINE_BYTES = 1 << 16


class PreparationError(ValueError):
    """What was uploaded cannot be worked with. The message is for the user."""


async def prepare(
    paths: Sequence[Path], folder: Path, limits: Limits, on_progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Makes ``video.mp4`` and ``thumbnails.jpg`` in ``folder``; gives back what ``VideoInfo`` holds but the name.

    Raises PreparationError for files that are no video, too large, too slow or that bring the process down. The
    process does not outlive this call, however it ends.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = ["-m", "masklet.server.normalise", json.dumps(asdict(limits)), str(folder), *map(str, paths)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=environment, limit=LINE_BYTES
    )
    try:
        return await asyncio.wait_for(_follow(process, limits, on_progress), limits.prepare_seconds)
    except asyncio.TimeoutError as error:
        raise PreparationError("making the video ready took too long, so it was given up; try a shorter one") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _follow(process: Process, limits: Limits, on_progress: Callable[[int, int], None]) -> dict[str, Any]:
    assert process.stdout is not None
    while line := await asyncio.wait_for(process.stdout.readline(), limits.stall_seconds):
        news = json.loads(line)
        if "error" in news:
            raise PreparationError(news["error"])
        if "total" not in news:
            return news
        on_progress(news["done"], news["total"])
    raise PreparationError("the file could not be decoded: the decoder ended before its end; it may be damaged")
