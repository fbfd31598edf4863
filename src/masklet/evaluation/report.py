"""Sequences that were measured -> means, tables and the worst cases."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from masklet.evaluation.cases import write_gallery
from masklet.evaluation.compare import ONE_SEQUENCE
from masklet.evaluation.datasets import GROUPS
from masklet.evaluation.identity import identity
from masklet.evaluation.plan import TARGETS, ImageProtocol, InteractiveProtocol, Plan
from masklet.evaluation.ratios import ratios
from masklet.evaluation.run import write_whole

GALLERY = 12
"""Worst cases in the gallery."""
RECALLED = 0.5
"""The score above which a frame counts as found, of the DAVIS benchmark."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """An evaluation's results. Scores go from 0 to 1."""

    plan: Plan
    means: Row
    rows: list[Row]
    """One per object (or picture), of the runner alone: what two runs are compared by."""
    key: tuple[str, ...]
    """The columns that say which object a row is about."""
    measures: tuple[str, ...]
    tables: dict[str, list[Row]]
    """By name of the CSV file."""
    cases: list[tuple[float, str]]
    """Score and file of each object's worst case."""
    notes: list[str] = field(default_factory=list)
    drawn: tuple[str, ...] = ("sequence",)
    """The columns of the key that name what is independent of all else, by which `compare` draws."""

    def save(self, out: Path) -> list[Path]:
        """Writes results.json, the tables as CSV and the gallery, and gives their paths."""
        written = [out / "results.json", *(out / f"{name}.csv" for name in self.tables)]
        summary = {
            "plan": identity(self.plan),
            "means": self.means,
            "key": self.key,
            "drawn": self.drawn,
            "measures": self.measures,
            "rows": self.rows,
            "tables": self.tables,
            "notes": self.notes,
        }
        write_whole(written[0], json.dumps(summary, indent=1) + "\n")
        for path, rows in zip(written[1:], self.tables.values(), strict=True):
            write_whole(path, as_csv(rows))
        if self.cases:
            worst = [out / "cases" / name for _, name in sorted(self.cases)[:GALLERY]]
            write_gallery(worst, out / "gallery.png")
            written.append(out / "gallery.png")
        return written


def report(plan: Plan, measured: Sequence[Row], *, targets: Sequence[float] = TARGETS) -> Report:
    """What all sequences say together. `targets` are values of J&F for which interactions are counted."""
    if plan.kind == "interactive":
        return _interactive_report(plan, measured, targets)
    return _vos_report(plan, measured) if plan.kind == "vos" else _image_report(plan, measured)


def _vos_report(plan: Plan, measured: Sequence[Row]) -> Report:
    records = [(one["sequence"], record) for one in measured for record in one["objects"]]
    is_grouped = any(record["group"] for _, record in records)
    rows = [
        _object_row(sequence, record) | ({"group": record["group"]} if is_grouped else {})
        for sequence, record in records
    ]
    measures = ("jf", "j", "f")
    statistics = (*measures, "j_recall", "j_decay", "f_recall", "f_decay")
    by_sequence = _means_by(rows, ("sequence",), statistics)
    frames, seconds = (sum(one[name] for one in measured) for name in ("tracked_frames", "seconds"))
    counts = {"objects": len(rows), "sequences": len(by_sequence), "fps": frames / seconds if seconds else 0.0}
    notes = [] if rows else ["Nothing can be scored: the truth of this split is hidden. The predictions are written."]
    return Report(
        plan,
        _means(rows, statistics) | (_means_of_groups(rows) if is_grouped else {}) | counts,
        rows,
        ("sequence", "object"),
        measures,
        {"objects": rows, "sequences": by_sequence} if rows else {},
        _cases([(_mean_frames(record), record) for _, record in records]),
        notes,
    )


def _means_of_groups(rows: Sequence[Row]) -> Row:
    """J and F over seen and unseen classes, and the mean of the four, by which YouTube-VOS and LVOS rank."""
    parts: Row = {}
    for group in GROUPS:
        members = [row for row in rows if row["group"] == group]
        parts |= {f"{name}_{group}": mean for name, mean in _means(members, ("j", "f")).items()}
    is_whole = None not in parts.values()
    return {**parts, "overall": float(np.mean(list(parts.values()))) if is_whole else None}


def _object_row(sequence: str, record: Row) -> Row:
    j, f = np.array(record["j"]), np.array(record["f"])
    return {
        "sequence": sequence,
        "object": record["object"],
        "frames": len(j),
        "jf": float((j.mean() + f.mean()) / 2),
        "j": float(j.mean()),
        "f": float(f.mean()),
        "j_recall": float((j > RECALLED).mean()),
        "j_decay": decay(j),
        "f_recall": float((f > RECALLED).mean()),
        "f_decay": decay(f),
    }


def decay(scores: np.ndarray) -> float:
    """How much lower the last quarter of an object's frames scores than the first, of the DAVIS benchmark.

    Neighbouring quarters share their border frame.
    """
    edges = np.round(np.linspace(1, len(scores), 5) + 1e-10).astype(int) - 1
    return float(scores[edges[0] : edges[1] + 1].mean() - scores[edges[3] : edges[4] + 1].mean())


def _interactive_report(plan: Plan, measured: Sequence[Row], targets: Sequence[float]) -> Report:
    assert isinstance(plan.protocol, InteractiveProtocol)
    tracks = [{"sequence": one["sequence"], **track} for one in measured for track in one["tracks"]]
    rounds = [row for track in tracks for row in _round_rows(track)]
    numbers = ("prompted", "clicks", "seconds", "jf", "j", "f")
    curves = _means_by(rounds, ("mode", "tracker", "budget"), numbers)
    own = [row for row in rounds if row["tracker"] == plan.runner]
    rows = _means_by(own, ("sequence", "object", "mode"), ("jf", "j", "f"))
    times = ratios(rounds, plan.runner, targets)
    means = {
        mode: {tracker: float(np.mean([point["jf"] for point in points])) for tracker, points in of_mode.items()}
        for mode, of_mode in curves_by(curves).items()
    }
    return Report(
        plan,
        means | {"objects": len({(track["sequence"], track["object"]) for track in tracks})},
        rows,
        ("sequence", "object", "mode"),
        ("jf", "j", "f"),
        {
            "rounds": rounds,
            "curves": curves,
            "needed": _needed(curves, rounds, targets),
            "ratios": times,
        },
        _cases([(track["rounds"][-1]["j"], track) for track in tracks if track["tracker"] == plan.runner]),
        [ONE_SEQUENCE] if times and len({row["sequence"] for row in rows}) < 2 else [],
    )


def _round_rows(track: Row) -> list[Row]:
    about = {name: track[name] for name in ("sequence", "object", "mode", "tracker")}
    return [
        about | {"budget": budget, **done, "jf": (done["j"] + done["f"]) / 2}
        for budget, done in enumerate(track["rounds"], start=1)
    ]


def curves_by(curves: Iterable[Row]) -> dict[str, dict[str, list[Row]]]:
    """Mode -> tracker -> the points of its curve, in order of the budget."""
    found: dict[str, dict[str, list[Row]]] = {}
    for point in curves:
        found.setdefault(point["mode"], {}).setdefault(point["tracker"], []).append(point)
    return found


def _needed(curves: Sequence[Row], rounds: Sequence[Row], targets: Sequence[float]) -> list[Row]:
    """What each tracker takes to reach a J&F: where its mean curve does, and how many objects do at all.

    Columns are None where the curve stays below.
    """
    return [
        {"mode": mode, "target": target, "tracker": tracker, **_reached(points, target)}
        | {"objects_reaching": _share_reaching(rounds, mode, tracker, target)}
        for mode, of_mode in curves_by(curves).items()
        for target in targets
        for tracker, points in of_mode.items()
    ]


def _reached(points: Sequence[Row], target: float) -> Row:
    point = next((point for point in points if point["jf"] >= target), None)
    return {name: point and point[name] for name in ("budget", "prompted", "clicks", "seconds")}


def _share_reaching(rounds: Sequence[Row], mode: str, tracker: str, target: float) -> float:
    best: dict[tuple[str, int], float] = {}
    for row in rounds:
        if (row["mode"], row["tracker"]) == (mode, tracker):
            about = row["sequence"], row["object"]
            best[about] = max(best.get(about, 0.0), row["jf"])
    return float(np.mean([score >= target for score in best.values()]))


def _image_report(plan: Plan, measured: Sequence[Row]) -> Report:
    assert isinstance(plan.protocol, ImageProtocol)
    records = [{"sequence": one["sequence"], **record} for one in measured for record in one["pictures"]]
    measures = tuple(f"iou_{clicks}" for clicks in plan.protocol.clicks)
    rows = [
        {name: record[name] for name in ("sequence", "picture", "object")}
        | {f"iou_{clicks}": score for clicks, score in record["iou"].items()}
        for record in records
    ]
    return Report(
        plan,
        _means(rows, measures) | {"masks": len(rows)},
        rows,
        ("sequence", "picture", "object"),
        measures,
        {"pictures": rows, "sequences": _means_by(rows, ("sequence",), measures)} if rows else {},
        _cases([(list(record["iou"].values())[-1], record) for record in records]),
        drawn=("sequence", "picture") if all(one.get("independent") for one in measured) else ("sequence",),
    )


def _means(rows: Sequence[Row], names: Iterable[str]) -> dict[str, float | None]:
    return {name: float(np.mean([row[name] for row in rows])) if rows else None for name in names}


def _means_by(rows: Sequence[Row], key: tuple[str, ...], names: tuple[str, ...]) -> list[Row]:
    """One row for each value of the key, in order of its first appearance, with the means of the others."""
    order: dict[tuple, int] = {}
    for row in rows:
        order.setdefault(tuple(row[name] for name in key), len(order))

    def place(row: Row) -> int:
        return order[tuple(row[name] for name in key)]

    groups = [list(group) for _, group in groupby(sorted(rows, key=place), place)]
    return [{name: group[0][name] for name in key} | _means(group, names) for group in groups]


def _mean_frames(record: Row) -> float:
    return (float(np.mean(record["j"])) + float(np.mean(record["f"]))) / 2


def _cases(scored: Iterable[tuple[float, Mapping[str, Any]]]) -> list[tuple[float, str]]:
    """The lowest score of every case that has a picture."""
    lowest: dict[str, float] = {}
    for score, record in scored:
        if record["case"]:
            lowest[record["case"]] = min(score, lowest.get(record["case"], score))
    return [(score, case) for case, score in lowest.items()]


def as_csv(rows: Sequence[Row]) -> str:
    """A header and a line for each row; nothing without rows."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_text(rows: Sequence[Row]) -> str:
    """The same for people: aligned columns, scores with three decimals, a dash for None."""
    if not rows:
        return ""
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
