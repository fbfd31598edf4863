"""Plots of an evaluation's results. Needs matplotlib, which `pip install masklet[eval]` brings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from masklet.evaluation.report import Report, Row, curves_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAR_INCHES = 0.2
MAX_INCHES = 100.0


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def save_plots(report: Report, out: Path) -> list[Path]:
    """Draws what suits the kind of evaluation, and gives the paths of the pictures."""
    if not report.rows:
        return []
    figures = {}
    if report.plan.kind == "interactive":
        curves = report.tables["curves"]
        figures["jf_by_interactions"] = _curves(curves, "clicks", "clicks per object")
        figures["jf_by_time"] = _curves(curves, "seconds", "simulated seconds per object")
    else:
        figures[f"{report.measures[0]}_by_sequence"] = _bars(report.tables["sequences"], report.measures)
    if report.plan.kind == "image":
        figures["iou_by_clicks"] = _points(report)
    paths = []
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=110, bbox_inches="tight")
        paths.append(out / f"{name}.png")
    return paths


def _bars(sequences: list[Row], measures: tuple[str, ...]) -> Figure:
    """The sequences in order of the first measure, the worst at the top; the other measures as marks."""
    from matplotlib.figure import Figure

    ordered = sorted(sequences, key=lambda row: row[measures[0]], reverse=True)
    figure = Figure(figsize=(7, min(1.5 + BAR_INCHES * len(ordered), MAX_INCHES)))
    axes = figure.subplots()
    places = range(len(ordered))
    axes.barh(places, [row[measures[0]] for row in ordered], color="#19a0ff", label=_label(measures[0]))
    for measure, marker in zip(measures[1:], "|x", strict=False):
        axes.plot([row[measure] for row in ordered], places, marker, color="black", ls="", label=_label(measure))
    axes.set_yticks(places, [str(row["sequence"]) for row in ordered], fontsize=7)
    axes.set_ylim(-0.6, len(ordered) - 0.4)
    axes.set_xlim(0, 1)
    axes.grid(axis="x", alpha=0.4)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(measures), frameon=False)
    return figure


def _curves(curves: list[Row], across: str, label: str) -> Figure:
    """A panel for each mode, a line for each tracker."""
    from matplotlib.figure import Figure

    by_mode = curves_by(curves)
    figure = Figure(figsize=(5 * len(by_mode), 4))
    panels = figure.subplots(1, len(by_mode), squeeze=False, sharey=True)[0]
    for axes, (mode, trackers) in zip(panels, by_mode.items(), strict=True):
        for tracker, points in trackers.items():
            axes.plot([p[across] for p in points], [p["jf"] for p in points], marker="o", ms=4, label=tracker)
        axes.set(title=mode, xlabel=label)
        axes.grid(alpha=0.4)
    panels[0].set_ylabel("J&F")
    panels[-1].legend()
    return figure


def _points(report: Report) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4))
    axes = figure.subplots()
    clicks = [int(measure.removeprefix("iou_")) for measure in report.measures]
    axes.plot(clicks, [report.means[measure] for measure in report.measures], marker="o")
    axes.set(xlabel="clicks", ylabel="mean IoU", xticks=clicks)
    axes.grid(alpha=0.4)
    return figure


def _label(measure: str) -> str:
    return {"jf": "J&F", "j": "J", "f": "F"}.get(measure, measure.replace("_", ", clicks: "))
