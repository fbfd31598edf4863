from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "speed_page.py"
MACHINE = {"processor": "Some Processor", "threads": 2, "torch": "2.13.0"}


def result(case: str, **others: Any) -> dict[str, Any]:
    return {"case": case, "image_size": 1024, "machine": MACHINE, **others}


def times(median: float, ratio: float | None) -> dict[str, Any]:
    return {"median_s": median, "low_s": median - 0.1, "high_s": median + 0.2, "runs": 3, "ratio": ratio}


@pytest.fixture
def page(tmp_path: Path):
    def make(*results: dict[str, Any]) -> str:
        paths = []
        for i, one in enumerate(results):
            paths.append(tmp_path / f"{i}.json")
            paths[-1].write_text(json.dumps(one))
        command = [sys.executable, str(SCRIPT), *map(str, paths)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return make


def test_every_contestant_has_a_row_with_its_times_and_its_ratio(page):
    measured = {"sam2 bfloat16": times(2.0, 1.0), "masklet auto": times(1.0, 0.5)}
    found = page(result("encode", times=measured, gflop=300.0, best_gflops={"float32": 160.0}))
    assert "| masklet auto | 1.000 | 0.900 to 1.200 | 3 | 0.50 |" in found
    assert "Some Processor, 2 threads" in found
    assert "Reached: auto 300 GFLOP/s" in found
    assert "160 in float32" in found


def test_runs_with_other_instructions_stand_beside_each_other(page):
    whole = result("encode", times={"masklet auto": times(1.0, 0.5)})
    kept = {**whole, "machine": {**MACHINE, "instructions": "AVX2"}, "times": {"masklet auto": times(3.0, 0.6)}}
    found = page(kept, whole)
    assert found.index("Some Processor, 2 threads") < found.index("Some Processor kept to AVX2, 2 threads")
    assert found.index("| masklet auto | 1.000 |") < found.index("| masklet auto | 3.000 |")
    assert found.count("## Encoding a picture") == 1


def test_agreement_is_a_column_where_it_was_measured(page):
    found = page(result("click", times={"masklet auto": times(0.2, 0.4)}, iou={"masklet auto": 0.998765}))
    assert "| 0.40 | 0.9988 |" in found


def test_the_nearness_of_masks_is_told_rounded_down(page):
    cases = {"tiny21_image": {"auto": {"mask_iou": 0.99199}, "exact": {"mask_iou": 1.0}}}
    found = page(result("agreement", cases=cases))
    assert "| | auto beside exact | exact beside sam2 |" in found
    assert "| tiny21_image | 0.9919 | 1.0000 |" in found


def test_what_was_not_measured_is_said(page):
    memory = {"masklet auto": {"1": 500.4, "4": 2000.0}}
    found = page(result("memory", peak_mib=memory, frames=32, each_holds_mib={"masklet auto": 7.125}))
    assert "through 32 frames" in found
    assert "| | one object | four objects | each holds |" in found
    assert "| masklet auto | 500 | 2000 | 7.1 |" in found
    assert "- Encoding a picture" in found.split("## Not measured")[1]


def test_what_is_traded_is_told_with_what_it_gains(page):
    ways = {"as trained": {"jf": 0.7, "time": 1.0}, "--fast": {"jf": 0.6123, "time": 0.254}}
    found = page({"case": "trades", "weights": "pico", "ways": ways})
    assert "| --fast | 0.612 | 0.25 |" in found
    assert "`pico`" in found


def test_bytes_are_told_beside_operations(page):
    measured = {"masklet auto": times(2.0, 0.5)}
    best = {"best_gflops": {"float32": 160.0}, "best_gb_per_s": 41.4}
    found = page(result("track", times=measured, gflop=300.0, gb=30.06, **best))
    assert "30.1 GB" in found
    assert "auto 15 GB/s; the best copy: 41 GB/s" in found


def test_stages_have_their_share_of_the_frame(page):
    found = page(result("stages", weights="pico", milliseconds={"recall": 5.0, "overlay": 1.0, "whole frame": 20.0}))
    assert "`pico`, 640x480, one object, Some Processor, 2 threads" in found
    assert "| overlay | 1.00 | 5.0% |" in found


def test_memory_by_length_is_told_with_its_growth(page):
    lengths = {"step": {"300": 400.0, "30000": 410.0}}
    found = page(result("length", side=64, peak_mib=lengths, growth_percent={"step": 2.5}))
    assert "| | 300 frames | 30,000 frames | growth |" in found
    assert "| step | 400 | 410 | +2.5 % |" in found
