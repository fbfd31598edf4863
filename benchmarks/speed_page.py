"""Makes docs/speed.md of what benchmarks/speed.py has measured, so that no number on it is typed by hand.

Command: python benchmarks/speed_page.py benchmarks/results/*.json > docs/speed.md (tests/docs/test_speed.py compares)
Needs nothing but Python. Time: a moment.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

TITLES = {
    "encode": "Encoding a picture",
    "click": "A click on an encoded picture",
    "track": "One more frame of a video, one object",
    "track 4": "One more frame of a video, four objects",
    "track 16": "One more frame of a video, sixteen objects",
    "start": "From the start of a process to the masks of a click: import, load, encode, click",
    "everything": "Automatic masks, 16 x 16 points, no thresholds, 1800 x 1200 pixels",
    "pico": "One more frame of 854x480, one object: the built-in network beside sam2's tiny",
}
TARGETS = {"encode": 0.65, "click": 0.5, "track": 0.45, "track 4": 0.45, "track 16": 0.45, "everything": 0.2}
OBJECTS = {"1": "one object", "4": "four objects", "each further": "each further object"}
INTRODUCTION = """# Speed and memory

Times of masklet, of PyPI `sam2` 1.1.0 and of transformers 5.24 with the same seeded weights and the same pictures,
taken by turns in one run. `benchmarks/speed.py` says what is measured and how to do it again;
`benchmarks/speed_page.py` made this page of its results, which lie in `benchmarks/results`. What is fast depends on the
machine: with tiles (AMX) sam2's own attention becomes three times as fast, so there is less to gain; without bfloat16
all compute in float32. The tables of machines with AMX and with AVX2 alone are from before the latest changes.

How masklet computes is said by `network.set_precision(...)`: "auto" computes large products in bfloat16 where the
device is faster with it and masks hardly change, "exact" in float32 always, and "plain" leaves everything to torch's
own operators, as a new network does. The ways differ in rounding only. A ratio below 1 is faster than the faster one of
sam2's two settings.

Seeded weights give masks that look like noise, which a rounding changes sooner than those of trained ones, and in a
video the precisions take turns on one memory: the columns of IoU beside times say how far apart the contestants are in
such a run, not in use.
"""


def page(results: Iterable[dict[str, Any]]) -> str:
    by_case: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_case.setdefault(result["case"], []).append(result)
    parts = [INTRODUCTION]
    parts += ["\n".join(agreement_lines(one)) for one in by_case.get("agreement", [])]
    parts += ["\n".join(case_lines(title, by_case[case])) for case, title in TITLES.items() if case in by_case]
    parts += ["\n".join(trades_lines(one)) for one in by_case.get("trades", [])]
    parts += ["\n".join(stages_lines(by_case["stages"]))] if "stages" in by_case else []
    parts += ["\n".join(memory_lines(by_case["memory"]))] if "memory" in by_case else []
    parts += ["\n".join(length_lines(one)) for one in by_case.get("length", [])]
    missing = [title for case, title in TITLES.items() if case not in by_case]
    parts.append("\n".join(limits_lines(missing)))
    return "\n".join(parts)


def agreement_lines(result: dict[str, Any]) -> Iterator[str]:
    cases = result["cases"]
    beside = {"auto": "auto beside exact", "exact": "exact beside sam2", "plain": "plain beside sam2"}
    ways = [way for way in beside if all(way in one for one in cases.values())]
    yield "## How near the masks are\n"
    yield (
        "The lowest IoU of any mask of the seeded parity cases, alternatives too, with those in float32 on "
        f"{_processor(result)} (`benchmarks/agreement.py`).\n"
    )
    yield "| |" + "".join(f" {beside[way]} |" for way in ways)
    yield "|---|" + "---|" * len(ways)
    for name, one in cases.items():
        yield f"| {name} |" + "".join(f" {math.floor(1e4 * one[way]['mask_iou']) / 1e4:.4f} |" for way in ways)
    yield ""


def case_lines(title: str, results: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A heading, and of every run the machine and a table with a row for each contestant."""
    yield f"## {title}\n"
    for result in sorted(results, key=_limits):
        yield from run_lines(result)


def run_lines(result: dict[str, Any]) -> Iterator[str]:
    target = TARGETS.get(result["case"])
    yield f"{machine(result)}{counted(result)}{'' if target is None else f' Target for the ratio: {target}.'}\n"
    agrees = result.get("iou") or {}
    yield "| | median, s | lowest to highest | runs | ratio |" + (" IoU with float32 |" if agrees else "")
    yield "|---|---|---|---|---|" + ("---|" if agrees else "")
    for name, one in result["times"].items():
        ratio = "" if one["ratio"] is None else f"{one['ratio']:.2f}" if one["ratio"] > 0.1 else f"{one['ratio']:.3f}"
        row = (
            f"| {name} | {one['median_s']:.3f} | {one['low_s']:.3f} to {one['high_s']:.3f} | {one['runs']} | {ratio} |"
        )
        yield row + (f" {agrees[name]:.4f} |" if agrees else "")
    yield from shares(result)
    yield ""


def shares(result: dict[str, Any]) -> Iterator[str]:
    """What part of the machine's best matrix product masklet's ways reach."""
    best = result.get("best_gflops")
    if not best or not result.get("gflop"):
        return
    reached = {
        way: result["gflop"] / result["times"][f"masklet {way}"]["median_s"]
        for way in ("auto", "exact")
        if f"masklet {way}" in result["times"]
    }
    said = ", ".join(f"{way} {rate:.0f} GFLOP/s" for way, rate in reached.items())
    peak = ", ".join(f"{rate:.0f} in {name}" for name, rate in best.items())
    yield f"\nReached: {said}. The best large matrix product of that run: {peak}."
    if result.get("gb"):
        said = ", ".join(f"{way} {rate / result['gflop'] * result['gb']:.0f} GB/s" for way, rate in reached.items())
        yield (
            f"Were each operand fetched from memory in float32 and each result written there, {result['gb']:.1f} GB, "
            f"that would be {said}; the best copy: {result['best_gb_per_s']:.0f} GB/s."
        )


def trades_lines(result: dict[str, Any]) -> Iterator[str]:
    yield "## Ways that trade accuracy for speed\n"
    yield (
        f"With the weights `{result['weights']}`: J&F when an object is followed from its first mask, and the time "
        "that takes, relative to the network as it was trained (`benchmarks/trades.py`). Options of `masklet track`; "
        "in Python `masklet.load(trades=Trades(...))` and settings of `VideoSession`.\n"
    )
    yield "| | J&F | time |\n|---|---|---|"
    yield from (f"| {name} | {one['jf']:.3f} | {one['time']:.2f} |" for name, one in result["ways"].items())
    yield ""


def memory_lines(results: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Memory of tracking\n"
    for result in results:
        length = f" through {result['frames']} frames" if "frames" in result else ""
        holds = result.get("each_holds_mib", {})
        ends = ", and the tensors that each further one holds at the end" if holds else ""
        yield f"{machine(result)} Peak beyond the loaded network while objects are followed{length}{ends}; MiB.\n"
        columns = list(next(iter(result["peak_mib"].values())))
        heads = [*(OBJECTS.get(column, column) for column in columns), *(["each holds"] if holds else [])]
        yield f"| | {' | '.join(heads)} |"
        yield "|---|" + "---|" * len(heads)
        for name, mib in result["peak_mib"].items():
            row = "".join(f" {mib[column]:.0f} |" for column in columns)
            yield f"| {name} |{row}" + (f" {holds[name]:.1f} |" if holds else "")
        yield ""


def stages_lines(results: list[dict[str, Any]]) -> Iterator[str]:
    yield "## Where the time of a frame goes\n"
    for result in results:
        yield f"`{result['weights']}`, 640x480, one object, {_processor(result)} (`benchmarks/stages.py`).\n"
        yield "| | ms | share of the frame |\n|---|---|---|"
        milliseconds = result["milliseconds"]
        for name, one in milliseconds.items():
            yield f"| {name} | {one:.2f} | {one / milliseconds['whole frame']:.1%} |"
        yield ""


def length_lines(result: dict[str, Any]) -> Iterator[str]:
    lengths = list(next(iter(result["peak_mib"].values())))
    yield "## Memory by the length of a video\n"
    yield (
        f"Peak of the whole process in MiB, one object, the built-in network at {result['side']} pixels with random "
        "weights and a bound on what is held in memory (`benchmarks/memory_by_length.py`).\n"
    )
    yield "| |" + "".join(f" {int(length):,} frames |" for length in lengths) + " growth |"
    yield "|---|" + "---|" * (len(lengths) + 1)
    for mode, peaks in result["peak_mib"].items():
        row = "".join(f" {peaks[length]:.0f} |" for length in lengths)
        yield f"| {mode} |{row} {result['growth_percent'][mode]:+.1f} % |"
    yield ""


def limits_lines(missing: list[str]) -> Iterator[str]:
    yield "## Not measured\n"
    yield from (f"- {title}" for title in missing)
    yield "- Graphics cards: the choice of bfloat16 there is tested by pretending only."
    yield "- Networks that torch.compile translates (`masklet.load(NAME, compiled=True)`), made for graphics cards:"
    yield "  on a processor they give the same masks more slowly."
    yield "- Trained weights: the masks of seeded ones are no objects."


def machine(result: dict[str, Any]) -> str:
    return f"{_processor(result)}, torch {result['machine']['torch']}, {result['image_size']} px."


def _processor(result: dict[str, Any]) -> str:
    found = result["machine"]
    knows = f" ({', '.join(found['knows'])})" if found.get("knows") else ""
    return f"{found['processor'] or 'A processor without a name'}{knows}{_limits(result)}, {found['threads']} threads"


def _limits(result: dict[str, Any]) -> str:
    """Nothing, or what oneDNN was kept to."""
    instructions = result["machine"].get("instructions", "all")
    return "" if instructions == "all" else f" kept to {instructions}"


def counted(result: dict[str, Any]) -> str:
    return f" masklet needs {result['gflop']:.0f} GFLOP for it." if result.get("gflop") else ""


if __name__ == "__main__":
    sys.stdout.write(page(json.loads(Path(path).read_text()) for path in sys.argv[1:]))
    sys.stdout.write("\n")
