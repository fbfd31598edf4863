from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOLD = {
    "encode a picture": ("encode", "masklet auto"),
    "masks of a click": ("click", "masklet auto"),
    "one more frame of a video, one object": ("track", "masklet auto"),
    "four objects": ("track4", "masklet auto"),
    "sixteen objects": ("track16", "masklet auto"),
    "one object, `--fast`": ("track", "masklet --fast auto"),
    "automatic masks, 16x16 points": ("everything", "masklet auto"),
    "from the start of Python to the first mask": ("start", "masklet"),
    "a frame of a 480p video with the built-in network": ("pico", "pico auto"),
}
"""Rows of the README, and the result that each stands for."""


def test_the_page_about_speed_is_made_of_the_results_that_lie_beside_the_benchmarks():
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    assert results
    command = [sys.executable, str(ROOT / "benchmarks" / "speed_page.py"), *map(str, results)]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert made == (ROOT / "docs" / "speed.md").read_text()


def test_the_readme_tells_what_was_measured():
    table = dict(re.findall(r"^\| ([^|]+?) \| ([\d.]+) s \|", (ROOT / "README.md").read_text(), re.MULTILINE))
    for told, (case, contestant) in TOLD.items():
        result = json.loads((ROOT / "benchmarks" / "results" / f"{case}.json").read_text())
        assert float(table[told]) == pytest.approx(result["times"][contestant]["median_s"], abs=0.006), told
