"""Records that a run could not use: a line for each, whichever worker met it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from masklet.training.batches import ClipBatch
from masklet.training.parallel import ALONE, Peers
from masklet.training.report import forget_after, read_lines


class LeftOut:
    """Notes bad records in the run's folder: in bad.jsonl, those that peers meet in bad_1.jsonl and so on."""

    def __init__(self, folder: Path, first: int, peers: Peers = ALONE):
        self.path = folder / (f"bad_{peers.rank}.jsonl" if peers.rank else "bad.jsonl")
        forget_after(self.path, first)
        self.known = {line["path"] for line in read_lines(self.path)}

    def note(self, step: int, parts: Sequence[ClipBatch]) -> None:
        """What was met on the way to a step's batches, each once."""
        for path, reason in (met for part in parts for met in part.bad.items()):
            if str(path) not in self.known:
                self.known.add(str(path))
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a") as log:
                    log.write(json.dumps({"step": step, "path": str(path), "reason": reason}) + "\n")


def left_out(folder: Path) -> dict[Path, str]:
    """Bad records that a run's processes met, and why they could not be used."""
    return {Path(line["path"]): line["reason"] for log in logs(folder) for line in read_lines(log)}


def told_left_out(folder: Path) -> str:
    """For people: how many there are, and where to read about them."""
    count = len(left_out(folder))
    if not count:
        return "all records could be used"
    return f"{count} record{'s' * (count > 1)} could not be used, see {', '.join(map(str, logs(folder)))}"


def logs(folder: Path) -> list[Path]:
    """One of each process that met something."""
    return sorted(folder.glob("bad*.jsonl"))
