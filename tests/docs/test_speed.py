from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_about_speed_is_made_of_the_results_that_lie_beside_the_benchmarks():
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    assert results
    command = [sys.executable, str(ROOT / "benchmarks" / "speed_page.py"), *map(str, results)]
    made = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert made == (ROOT / "docs" / "speed.md").read_text()
