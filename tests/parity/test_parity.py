from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PATIENCE_S = 180
CASES = sorted(json.loads((HERE / "cases.json").read_text()), key=lambda case: case["config"])

spec = importlib.util.spec_from_file_location("parity_tool", ROOT / "tools" / "parity.py")
assert spec is not None
assert spec.loader is not None
parity = importlib.util.module_from_spec(spec)
sys.modules["parity_tool"] = parity
spec.loader.exec_module(parity)


@pytest.fixture(scope="module")
def reference():
    return parity.Reference(HERE)


def within_patience(case, reference) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays of a case, and whether they are all.

    A video is not followed to its end where that takes many times longer than on two healthy cores;
    ``tools/parity.py`` always goes to the end.
    """
    ours, deadline = {}, time.monotonic() + PATIENCE_S
    for name, array in parity.run_case(case, reference):
        ours[name] = array
        if case["kind"] == "video" and time.monotonic() > deadline:
            return ours, False
    return ours, True


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_masklet_gives_what_the_published_system_gave(case, reference):
    with np.load(HERE / "golden" / f"{case['name']}.npz") as arrays:
        golden = dict(arrays)
    ours, is_whole = within_patience(case, reference)
    if not is_whole:
        warnings.warn(f"slow machine: compared {len(ours)} of {len(golden)} arrays of {case['name']}", stacklevel=1)
        golden = {name: array for name, array in golden.items() if name in ours}
    found = parity.compare(golden, ours)
    assert found.is_within(parity.TOLERANCES[case["kind"]]), found


@pytest.mark.parametrize("name", ["tiny21_image", "tiny20_image", "small21_image"])
def test_masks_hardly_change_where_a_processor_rounds(name: str, reference):
    case = next(case for case in CASES if case["name"] == name)
    exact, rounded = (
        dict(parity.run_case(case, using, whole=True)) for using in (reference, parity.Reference(HERE, "auto"))
    )
    assert parity.compare(exact, rounded).mask_iou > 0.99


def test_every_kind_of_difference_is_noticed():
    golden = {
        "step0.objects": np.array([1, 2]),
        "step0.logits": np.linspace(-1, 1, 200).reshape(2, 10, 10),
        "step0.area": np.array([[1000], [2000]]),
        "prompt0.iou": np.array([0.5]),
    }
    assert parity.compare(golden, golden) == parity.Differences()
    changed = {**golden, "step0.logits": golden["step0.logits"] + 0.1}
    found = parity.compare(golden, changed)
    assert found.relative == pytest.approx(0.1 / golden["step0.logits"].std())
    assert found.mask_iou < 1
    assert parity.compare(golden, {**golden, "step0.area": np.array([[1002], [2000]])}).area == pytest.approx(2e-3)
    assert parity.compare(golden, {**golden, "prompt0.iou": np.array([0.6])}).iou == pytest.approx(0.1)
    with pytest.raises(ValueError, match="expected objects"):
        parity.compare(golden, {**golden, "step0.objects": np.array([1, 3])})
    with pytest.raises(ValueError, match="nothing"):
        parity.compare(golden, {})
    with pytest.raises(ValueError, match="did not give: step1"):
        parity.compare(golden, {**golden, "step1.area": np.array([[1000], [2000]])})
    with pytest.raises(ValueError, match="finite"):
        parity.compare(golden, {**golden, "prompt0.iou": np.array([np.nan])})


def test_the_command_fails_when_golden_arrays_are_missing(tmp_path: Path):
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps([case for case in CASES if case["name"] == "tiny20_image"]))
    command = [sys.executable, str(ROOT / "tools" / "parity.py"), str(cases), str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "FAILED" in finished.stdout
    assert "0 of 1 cases" in finished.stdout
