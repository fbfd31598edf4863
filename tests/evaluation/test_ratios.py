from __future__ import annotations

import numpy as np
import pytest

from masklet.evaluation.ratios import ratios


def rounds_of(tracker: str, jf: dict[str, list[float]], clicks: int = 3, mode: str = "offline") -> list[dict]:
    """One object in each sequence, with so many clicks more in every round."""
    return [
        {
            "sequence": name,
            "object": 1,
            "mode": mode,
            "tracker": tracker,
            "budget": n,
            "jf": score,
            "clicks": clicks * n,
        }
        for name, scores in jf.items()
        for n, score in enumerate(scores, start=1)
    ]


def curve(reached_at: int) -> list[float]:
    """0.8 from a round on, of eight."""
    return [0.8 if budget >= reached_at else 0.2 for budget in range(1, 9)]


def ratio_of(
    ours: dict[str, list[float]], theirs: dict[str, list[float]], target: float = 0.75, clicks: int = 3
) -> dict:
    (row,) = ratios(rounds_of("masklet", ours, clicks) + rounds_of("flow", theirs), "masklet", [target], draws=2000)
    assert (row["mode"], row["target"], row["tracker"], row["baseline"]) == ("offline", target, "masklet", "flow")
    return {name: row[name] for name in ("ratio", "low", "high", "at_least")}


def test_clicks_of_the_baseline_are_divided_by_ours():
    ours, theirs = ({name: curve(at) for name in "abc"} for at in (2, 6))
    assert ratio_of(ours, theirs) == {"ratio": 3.0, "low": 3.0, "high": 3.0, "at_least": False}
    assert ratio_of(ours, theirs, clicks=1)["ratio"] == 9.0


def test_the_interval_covers_what_sequences_differ_in():
    """The mean reaches the target when the last of the sequences does, so draws differ by the last that is in them."""
    ours = {f"s{n}": curve(1) for n in range(6)}
    theirs = {f"s{n}": curve(2 if n else 4) for n in range(6)}
    found = ratio_of(ours, theirs)
    assert (found["ratio"], found["low"], found["high"]) == (4.0, 2.0, 4.0)


def test_a_baseline_that_stays_below_gives_a_lower_bound():
    ours, never = {name: curve(2) for name in "abc"}, {name: [0.3] * 8 for name in "abc"}
    assert ratio_of(ours, never) == {"ratio": 4.0, "low": 4.0, "high": None, "at_least": True}


def test_nothing_is_claimed_where_ours_stays_below():
    never, theirs = {name: [0.3] * 8 for name in "abc"}, {name: curve(2) for name in "abc"}
    nothing = {"ratio": None, "low": None, "high": None, "at_least": False}
    assert ratio_of(never, theirs) == nothing
    assert ratio_of(never, never) == nothing


def test_one_sequence_has_no_interval():
    assert ratio_of({"a": curve(2)}, {"a": curve(4)}) == {"ratio": 2.0, "low": None, "high": None, "at_least": False}


def test_objects_of_a_sequence_are_drawn_together():
    """Two objects of one sequence weigh as much as they do in the mean, and never apart."""
    ours = [
        {"sequence": name, "object": obj, "mode": "online", "tracker": "masklet", "budget": n, "jf": 0.8, "clicks": n}
        for name, objects in (("a", (1, 2)), ("b", (1,)))
        for obj in objects
        for n in (1, 2)
    ]
    theirs = [row | {"tracker": "flow", "jf": 0.8 if row["budget"] == 2 or row["object"] == 2 else 0.0} for row in ours]
    (row,) = ratios(theirs[::-1] + ours, "masklet", [0.5], draws=500, seed=1)
    assert (row["ratio"], row["low"], row["high"]) == (2.0, 2.0, 2.0)
    apart = [row["low"] for row in ratios(theirs + ours, "masklet", [0.3], draws=500)]
    assert apart == [1.0]


def test_every_mode_target_and_baseline_has_a_row():
    of_all = {name: curve(3) for name in "ab"}
    rounds = [
        row
        for mode in ("offline", "online")
        for tracker in ("masklet", "nearest", "flow")
        for row in rounds_of(tracker, of_all, mode=mode)
    ]
    rows = ratios(rounds, "masklet", [0.5, 0.7], draws=10)
    assert len({(row["mode"], row["target"], row["baseline"]) for row in rows}) == len(rows) == 8
    assert np.unique([row["ratio"] for row in rows]).tolist() == [1.0]
    assert ratios([row for row in rounds if row["tracker"] == "masklet"], "masklet", [0.5]) == []
    assert rows[0]["low"] == pytest.approx(1.0)
