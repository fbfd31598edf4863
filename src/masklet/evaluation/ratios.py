"""How many times as many interactions as ours the baselines take until their mean J&F reaches a target.

Intervals come from drawing whole sequences with replacement, as in `compare`. A baseline that does not reach the
target took at least what it has spent at the end: then the ratio is a lower bound, and there may be no upper one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from masklet.evaluation.compare import DRAWS, LEVEL, resampled

Row = dict[str, Any]


@dataclass(frozen=True)
class Curves:
    """What n objects reach and cost by b budgets, of one tracker in one mode."""

    jf_nb: np.ndarray
    clicks_nb: np.ndarray

    def reach(self, target: float, weights_dn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(d,) the clicks at which the mean of each draw reaches the target, or all; (d,) whether it does."""
        counts_d1 = weights_dn.sum(axis=1, keepdims=True)
        is_reached_db = weights_dn @ self.jf_nb / counts_d1 >= target
        does_d = is_reached_db.any(axis=1)
        budget_d = np.where(does_d, is_reached_db.argmax(axis=1), -1)
        return (weights_dn @ self.clicks_nb / counts_d1)[np.arange(len(budget_d)), budget_d], does_d


def ratios(
    rounds: Sequence[Row], own: str, targets: Iterable[float], *, draws: int = DRAWS, seed: int = 0
) -> list[Row]:
    """A row for each mode, target and tracker other than `own`, of the rounds of all objects."""
    by_curve = _curves(rounds)
    sequences = _sequences(rounds)
    weights_dn = resampled(sequences, draws, np.random.default_rng(seed))
    once_1n = np.ones((1, len(sequences)))
    return [
        {"mode": mode, "target": target, "tracker": own, "baseline": tracker}
        | _ratio(by_curve[mode, own], curves, target, once_1n)
        | _bounds(by_curve[mode, own], curves, target, weights_dn)
        for target in targets
        for (mode, tracker), curves in by_curve.items()
        if tracker != own
    ]


def _ratio(ours: Curves, theirs: Curves, target: float, once_1n: np.ndarray) -> Row:
    """None where ours does not reach the target."""
    (own,), (is_reached,) = ours.reach(target, once_1n)
    (spent,), (is_known,) = theirs.reach(target, once_1n)
    ratio = float(spent / own) if is_reached else None
    return {"ratio": ratio, "at_least": bool(is_reached and not is_known)}


def _bounds(ours: Curves, theirs: Curves, target: float, weights_dn: np.ndarray | None) -> Row:
    """None where nothing can be said: in draws that ours does not reach the target, the ratio may be 0."""
    if weights_dn is None:
        return {"low": None, "high": None}
    own_d, is_reached_d = ours.reach(target, weights_dn)
    spent_d, is_known_d = theirs.reach(target, weights_dn)
    least_d = np.where(is_reached_d, spent_d / own_d, 0.0)
    most_d = np.where(is_known_d, least_d, np.inf)
    low = np.quantile(least_d, (1 - LEVEL) / 2, method="inverted_cdf")
    high = np.quantile(most_d, (1 + LEVEL) / 2, method="inverted_cdf")
    return {"low": float(low) or None, "high": float(high) if np.isfinite(high) and high > 0 else None}


def _curves(rounds: Sequence[Row]) -> dict[tuple[str, str], Curves]:
    """By mode and tracker, the objects of each in one order."""
    budgets = max((row["budget"] for row in rounds), default=0)
    of_curve: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rounds, key=lambda row: (row["sequence"], row["object"], row["budget"])):
        of_curve.setdefault((row["mode"], row["tracker"]), []).append(row)
    columns = {
        name: [np.array([row[column] for row in rows], float).reshape(-1, budgets) for column in ("jf", "clicks")]
        for name, rows in of_curve.items()
    }
    return {name: Curves(*of_name) for name, of_name in columns.items()}


def _sequences(rounds: Sequence[Row]) -> list[str]:
    """The sequence of each object, in that order."""
    return [sequence for sequence, _ in sorted({(row["sequence"], row["object"]) for row in rounds})]
