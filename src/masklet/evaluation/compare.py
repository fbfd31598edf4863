"""Two evaluations beside each other: differences with paired bootstrap intervals.

Objects are matched; whole sequences are drawn with replacement, since the objects of one are not independent (Efron &
Tibshirani, "An Introduction to the Bootstrap", 1993, percentile intervals).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """One measure of two runs over the objects that both have; `low` and `high` bound the difference b - a."""

    measure: str
    objects: int
    a: float
    b: float
    difference: float
    low: float
    high: float


def compare(a: Path, b: Path, *, draws: int = DRAWS, seed: int = 0) -> tuple[list[Difference], list[str]]:
    """The differences of all measures of two output folders, with notes on what cannot be compared.

    Raises ValueError when a folder holds no finished evaluation, the kinds differ, or they share no objects.
    """
    first, second = _read(a), _read(b)
    if first["key"] != second["key"] or first["plan"]["kind"] != second["plan"]["kind"]:
        raise ValueError(f"{a} holds results of {first['plan']['kind']}, {b} of {second['plan']['kind']}")
    rows_a, rows_b = _by_key(first), _by_key(second)
    shared = [key for key in rows_a if key in rows_b]
    if not shared:
        raise ValueError(f"{a} and {b} share no objects; compare runs over the same dataset and split")
    measures = [name for name in first["measures"] if name in second["measures"]]
    sequences = [str(key[0]) for key in shared]
    rng = np.random.default_rng(seed)
    weights = resampled(sequences, draws, rng)
    differences = []
    for measure in measures:
        scores = np.array([(rows_a[key][measure], rows_b[key][measure]) for key in shared])
        differences.append(_difference(measure, scores, weights))
    return differences, _notes(first, second, len(rows_a), len(rows_b), len(shared))


def resampled(sequences: list[str], draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, n) how often each of n objects is drawn when whole sequences are drawn with replacement."""
    _, sequence_n = np.unique(sequences, return_inverse=True)
    count = int(sequence_n.max()) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return drawn[:, sequence_n]


def _difference(measure: str, scores_n2: np.ndarray, weights_dn: np.ndarray) -> Difference:
    gain_n = scores_n2[:, 1] - scores_n2[:, 0]
    means_d = weights_dn @ gain_n / weights_dn.sum(axis=1)
    low, high = np.quantile(means_d, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    a, b = scores_n2.mean(axis=0)
    return Difference(measure, len(gain_n), float(a), float(b), float(gain_n.mean()), float(low), float(high))


def _read(folder: Path) -> dict[str, Any]:
    file = folder / "results.json"
    if not file.is_file():
        raise ValueError(f"there is no {file}; run `masklet evaluate` with --out {folder} to the end first")
    found = json.loads(file.read_text())
    if not isinstance(found, dict) or not {"plan", "key", "measures", "rows"} <= found.keys():
        raise ValueError(f"{file} was not written by `masklet evaluate`; pass the folder given as --out")
    return found


def _by_key(results: dict[str, Any]) -> dict[tuple, dict[str, Any]]:
    return {tuple(row[name] for name in results["key"]): row for row in results["rows"]}


def _notes(first: dict[str, Any], second: dict[str, Any], count_a: int, count_b: int, shared: int) -> list[str]:
    plans = first["plan"], second["plan"]
    notes = [f"{name}: {plans[0][name]} | {plans[1][name]}" for name in plans[0] if plans[0][name] != plans[1][name]]
    if not count_a == count_b == shared:
        notes.append(f"objects: {count_a} | {count_b}, of which {shared} are compared")
    return notes
