"""Two evaluations beside each other: differences with paired bootstrap intervals.

Objects are matched; whole sequences are drawn with replacement, since the objects of one are not independent (Efron &
Tibshirani, "An Introduction to the Bootstrap", 1993, percentile intervals). Pictures that belong to no sequence are
drawn one by one. What comes from one sequence alone says nothing of others, and gets no interval.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DRAWS = 10_000
LEVEL = 0.95
ONE_SEQUENCE = "no intervals: there is only one sequence, and what it holds is not independent"


@dataclass(frozen=True)
class Difference:
    """One measure of two runs over the objects that both have; `low` and `high` bound the difference b - a.

    The bounds are None where everything comes from one sequence.
    """

    measure: str
    objects: int
    a: float
    b: float
    difference: float
    low: float | None
    high: float | None


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
    weights = resampled(_units(first, second, shared), draws, np.random.default_rng(seed))
    differences = []
    for measure in measures:
        scores = np.array([(rows_a[key][measure], rows_b[key][measure]) for key in shared])
        differences.append(_difference(measure, scores, weights))
    notes = _notes(first, second, len(rows_a), len(rows_b), len(shared))
    return differences, notes + ([ONE_SEQUENCE] if weights is None else [])


def resampled(units: Sequence[Any], draws: int, rng: np.random.Generator) -> np.ndarray | None:
    """(draws, n) how often each of n objects is drawn when the units that they belong to are drawn with replacement.

    None for a single unit, of which every draw would be the same.
    """
    number_of = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    count = len(number_of)
    if count < 2:
        return None
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
    return drawn[:, [number_of[unit] for unit in units]]


def interval(values_d: np.ndarray) -> tuple[float, float]:
    """Between which the middle ones of all draws lie."""
    low, high = np.quantile(values_d, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _units(first: dict[str, Any], second: dict[str, Any], keys: Sequence[tuple]) -> list[tuple]:
    """What each object is drawn with: its sequence, or its picture where both runs say that these are independent."""
    drawn = [results.get("drawn", ["sequence"]) for results in (first, second)]
    columns = drawn[0] if drawn[0] == drawn[1] else ["sequence"]
    return [tuple(key[first["key"].index(column)] for column in columns) for key in keys]


def _difference(measure: str, scores_n2: np.ndarray, weights_dn: np.ndarray | None) -> Difference:
    gain_n = scores_n2[:, 1] - scores_n2[:, 0]
    bounds = (None, None) if weights_dn is None else interval(weights_dn @ gain_n / weights_dn.sum(axis=1))
    a, b = scores_n2.mean(axis=0)
    return Difference(measure, len(gain_n), float(a), float(b), float(gain_n.mean()), *bounds)


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
    told = [(name, *(plan.get(name, "-") for plan in plans)) for name in {**plans[0], **plans[1]}]
    notes = [f"{name}: {a} | {b}" for name, a, b in told if a != b]
    if not count_a == count_b == shared:
        notes.append(f"objects: {count_a} | {count_b}, of which {shared} are compared")
    return notes
