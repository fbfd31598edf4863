"""How near the masks of every precision come to those in float32.

Measured: for cases of tools/parity.py, the largest difference of logits in standard deviations, the lowest IoU of a
mask, and the largest differences of predicted IoU and area. "exact" and "plain" are compared with the published system
and must stay within that tool's tolerances; "auto", which rounds to bfloat16 where the processor is faster with it, is
compared with "exact", logit by logit, and must keep all masks, alternatives too, within IoU 0.99.

Command: python benchmarks/agreement.py tests/parity/cases.json tests/parity/golden --case tiny21_video_click
Time: minutes a video on two cores. The last line printed is JSON; exit status 1 if a mask is beyond its limit.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import click
import numpy as np

from machine import machine
from masklet.model.arithmetic import Precision

PARITY = Path(__file__).resolve().parents[1] / "tools" / "parity.py"
LEAST_IOU = 0.99


def parity_tool() -> ModuleType:
    spec = spec_from_file_location("parity_tool", PARITY)
    assert spec is not None
    assert spec.loader is not None
    found = module_from_spec(spec)
    sys.modules["parity_tool"] = found
    spec.loader.exec_module(found)
    return found


def differences(parity: ModuleType, case: dict[str, Any], folder: Path, golden: Path, precision: Precision) -> Any:
    if precision == "auto":
        exact, ours = (
            dict(parity.run_case(case, parity.Reference(folder, way), whole=True)) for way in ("exact", "auto")
        )
        return parity.compare(exact, ours)
    with np.load(golden / f"{case['name']}.npz") as arrays:
        return parity.compare(dict(arrays), dict(parity.run_case(case, parity.Reference(folder, precision))))


@click.command(help=__doc__)
@click.argument("cases", type=click.Path(path_type=Path, exists=True))
@click.argument("golden", type=click.Path(path_type=Path, exists=True))
@click.option("--case", "names", multiple=True, help="Only these.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(get_args(Precision)))
@click.option("--out", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(
    cases: Path, golden: Path, names: tuple[str, ...], precisions: tuple[Precision, ...], out: Path | None
) -> None:
    parity, passes = parity_tool(), True
    report: dict[str, dict[str, Any]] = {}
    for case in json.loads(cases.read_text()):
        for precision in precisions or get_args(Precision):
            if names and case["name"] not in names:
                continue
            begin = time.perf_counter()
            found = differences(parity, case, cases.parent, golden, precision)
            one = {**asdict(found), "seconds": time.perf_counter() - begin}
            report.setdefault(case["name"], {})[precision] = one
            within = found.is_within(parity.TOLERANCES[case["kind"]])
            passes &= found.mask_iou >= LEAST_IOU if precision == "auto" else within
            print(case["name"], precision, {name: float(f"{value:.3g}") for name, value in one.items()}, flush=True)
    line = json.dumps({"case": "agreement", "machine": machine(), "cases": report})
    if out is not None:
        out.write_text(line + "\n")
    print(line)
    sys.exit(0 if passes else 1)


if __name__ == "__main__":
    main()
