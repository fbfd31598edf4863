"""How long masklet and the published package take for the same work with the same weights on the same pictures.

Measured, for the tiny network at 1024 px on the processor: encoding a picture (beside ViT-B and ViT-H of the first SAM
too), a click on an encoded picture up to masks of the picture's size, one more frame of a video with one, four and
sixteen objects (the memory is full: 7 frames), automatic masks of a picture, the peak of memory, and one more frame of
a 480p video with the built-in network instead (the others still have tiny). Every system takes its turn in every round,
in each of its precisions; the median, the lowest and the highest time are told, and the ratio to the fastest setting of
the package. Operations are counted, and bytes too, as if each operation fetched its operands in float32 from memory and
wrote its result there; with the best matrix product and the best copy of the same run they give the shares of the
machine that are made use of.

Each system works in a process of its own, masklet in one that keeps its freed memory as after `masklet.load`.
Weights are seeded and pictures are drawn by a folder like tests/parity, so nothing is downloaded.

Command: .venv-peers/bin/python benchmarks/speed.py --case encode --out benchmarks/results/encode.json
Needs the environment that benchmarks/peers.py makes; `--ours` leaves the package out and works without it. The last
line printed is JSON. With ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 in the environment a processor with AMX does without it.
benchmarks/speed_page.py makes docs/speed.md of such files. Time on two cores: minutes a case.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from apart import Apart, apart
from contestants import Fast, Ours, Pico, Reference, SamBase, SamHuge, Theirs, Transformers, our_config
from machine import machine
from masklet.memory import MemoryBank
from masklet.metrics import iou
from masklet.model.arithmetic import EXACT, Computes, processor_has_bfloat16, processor_linear
from masklet.model.device import shapes_only
from masklet.model.outputs import FrameMemory, ImageFeatures
from masklet.model.prompt_encoder import PromptBatch
from masklet.model.sam2 import SegmentationNetwork

REFERENCE = Path(__file__).resolve().parents[1] / "tests" / "parity"
PICTURE_HW = (1200, 1800)
FRAME_HW, SMALL_HW = (540, 960), (480, 854)
FLOAT32 = ("exact", "float32")
"""What contestants call it."""
FILLED = 8
"""Frames to be followed until the memory is full."""
OBJECTS, LONG = (1, 4), 32
"""Of which the memory is told, and frames of the clip through which they are followed: a second."""
PIECES_A_TURN = 6
"""Of work that is done in a moment: it would be measured while weights and code are fetched anew otherwise."""


class Times:
    """Seconds of every contestant, and how much its masks are those of the first one in float32."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.shown: dict[str, np.ndarray] = {}

    def add(self, name: str, seconds: float) -> None:
        self.seconds.setdefault(name, []).append(seconds)

    def each(self, count: int) -> Times:
        """The same where every time was that of so many pieces of work."""
        self.seconds = {name: [one / count for one in seconds] for name, seconds in self.seconds.items()}
        return self

    def summary(self) -> dict[str, Any]:
        """Times by contestant, with the ratio to the package's best."""
        medians = {name: statistics.median(seconds) for name, seconds in self.seconds.items()}
        peers = [median for name, median in medians.items() if name.startswith(Theirs.name)]
        return {
            name: {
                "median_s": median,
                "low_s": min(self.seconds[name]),
                "high_s": max(self.seconds[name]),
                "runs": len(self.seconds[name]),
                "ratio": median / min(peers) if peers else None,
            }
            for name, median in medians.items()
        }


def encode(systems: Sequence[Apart], reference: Reference, rounds: int) -> Times:
    return take_turns(systems, rounds, "encode", reference.picture())


def click_on_it(systems: Sequence[Apart], reference: Reference, rounds: int) -> Times:
    """Every system clicks on what it has encoded in float32, if it may."""
    for system in systems:
        way = next((one for one in system.precisions if one in FLOAT32), system.precisions[0])
        system.timed(way, "encode", reference.picture())
    return take_turns(systems, rounds, "click", PIECES_A_TURN).each(PIECES_A_TURN)


def everything(systems: Sequence[Apart], reference: Reference, rounds: int, points: int = 16) -> Times:
    return take_turns(systems, rounds, "everything", reference.picture(hw=PICTURE_HW), points, warm_up=False)


def track(
    systems: Sequence[Apart],
    reference: Reference,
    rounds: int,
    objects: int = 1,
    hw: tuple[int, int] = FRAME_HW,
    frames: int = 1,
) -> Times:
    """Every system follows through one video, with its precisions by turns of some frames once the memory is full."""
    most = max(len(system.precisions) for system in systems)
    with TemporaryDirectory() as folder:
        reference.write_clip(Path(folder), FILLED + rounds * most * frames, hw)
        for system in systems:
            system.timed(system.precisions[0], "begin", Path(folder), objects)
            system.timed(system.precisions[0], "step", FILLED)
        return take_turns(systems, rounds, "step", frames, warm_up=False).each(frames)


def track_small(systems: Sequence[Apart], reference: Reference, rounds: int) -> Times:
    return track(systems, reference, rounds, hw=SMALL_HW, frames=PIECES_A_TURN)


CASES: dict[str, Callable[[Sequence[Apart], Reference, int], Times]] = {
    "encode": encode,
    "click": click_on_it,
    "track": track,
    "track 4": lambda systems, reference, rounds: track(systems, reference, rounds, objects=4),
    "track 16": lambda systems, reference, rounds: track(systems, reference, rounds, objects=16),
    "everything": everything,
    "pico": track_small,
}


PEERS: dict[str, tuple[type, ...]] = {
    "encode": (Theirs, Transformers, SamBase, SamHuge),
    "click": (Theirs, Transformers),
    "track": (Theirs, Transformers),
}
"""Beside masklet; in other cases the published package alone."""


def take_turns(systems: Sequence[Apart], rounds: int, verb: str, *arguments: Any, warm_up: bool = True) -> Times:
    """All contestants in all their precisions, round after round; what a first one to warm up took is forgotten."""
    times = Times()
    for count in range(rounds + warm_up):
        if count == warm_up:
            times.seconds.clear()
        for system in systems:
            for precision in system.precisions:
                seconds, shown = system.timed(precision, verb, *arguments)
                times.add(f"{system.name} {precision}", seconds)
                if shown is not None:
                    times.shown[f"{system.name} {precision}"] = shown
    return times


def costs(image_size: int) -> dict[str, dict[str, float]]:
    """GFLOP and GB of masklet's ways: encoding, a click, a frame of one, of four and of sixteen objects."""
    with shapes_only(), torch.no_grad():
        network = SegmentationNetwork(our_config(image_size)).requires_grad_(False)
        for module in network.modules():
            if isinstance(module, Computes):
                module.arithmetic = EXACT
        picture = torch.zeros(1, 3, image_size, image_size)
        features: ImageFeatures = network.encode_image(picture)
        alone = network.without_memory(features)
        found = {
            "encode": cost(lambda: network.encode_image(picture)),
            "click": cost(lambda: network.decode(features, alone, _click(1), candidates=True)),
        }
        for case, objects in (("track", 1), ("track 4", 4), ("track 16", 16)):
            followed = cost(lambda objects=objects: _followed(network, features, objects))
            found[case] = {name: one + found["encode"][name] for name, one in followed.items()}
    return found


def _followed(network: SegmentationNetwork, features: ImageFeatures, objects: int) -> FrameMemory:
    """One more frame with a full memory."""
    config = network.config.memory
    pointers = torch.zeros(objects, network.config.width)
    memory = FrameMemory(torch.zeros(objects, config.channels, *features.stride16_bchw.shape[-2:]), pointers)
    bank = MemoryBank(config, {0: memory}, dict.fromkeys(range(1, 20), memory))
    conditioned = network.recall(features, bank.select(20))
    mask = network.choose(network.decode(features, conditioned, _click(objects), candidates=True))
    return network.remember(features, mask, prompted=False)


def _click(objects: int) -> PromptBatch:
    return PromptBatch.nothing(objects, "meta")


def cost(work: Callable[[], Any]) -> dict[str, float]:
    """GFLOP, a product and a sum being two, and GB."""
    with FlopCounterMode(display=False) as counter, Bytes() as traffic:
        work()
    return {"gflop": counter.get_total_flops() / 1e9, "gb": traffic.total / 1e9}


class Bytes(TorchDispatchMode):
    """Counts the bytes of what operations are given and what they give, but for views."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            both = (leaf for tree in (args, result) for leaf in tree_leaves(tree))
            self.total += sum(one.nbytes for one in both if isinstance(one, torch.Tensor))
        return result


def best_copy(numbers: int = 1 << 26, runs: int = 5) -> float:
    """GB/s of a copy that is larger than any cache, read and written, the best of some."""
    source, target = torch.zeros(2, numbers)
    times = []
    for _ in range(runs):
        begin = time.perf_counter()
        target.copy_(source)
        times.append(time.perf_counter() - begin)
    return 2 * source.nbytes / min(times) / 1e9


def best_products(side: int = 2048, runs: int = 5) -> dict[str, float]:
    """GFLOP/s of large matrix products, the best of some."""
    found = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        a, b = torch.randn(2, side, side).to(dtype)
        ways = [lambda a=a, b=b: a @ b, lambda a=a, b=b: processor_linear(a, b)]
        times = Times()
        with torch.inference_mode():
            for way in ways * runs:
                begin = time.perf_counter()
                way()
                times.add(name, time.perf_counter() - begin)
        found[name] = 2 * side**3 / min(times.seconds[name]) / 1e9
    return found


def memory_of(kind: type, folder: Path, image_size: int, objects: int) -> tuple[float, float]:
    """MiB by which the process grows at most while so many objects are followed through a clip, and of all tensors
    that are held at its end.
    """
    reference = Reference(folder, image_size)
    system = kind(reference)
    before = resident()
    with TemporaryDirectory() as clip, system.computing(system.precisions[0]):
        reference.write_clip(Path(clip), LONG)
        system.begin(Path(clip), objects)
        system.step(LONG)
        return resident() - before, held()


def held() -> float:
    """All tensors of this process, MiB; what several share counts once."""
    tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}
    return sum(storages.values()) / (1 << 20)


def resident() -> float:
    """Largest resident memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memories(kinds: Sequence[type], folder: Path, image_size: int, rounds: int) -> dict[str, Any]:
    """MiB that following few and more objects takes, each in a process of its own: medians.

    The peak of a process depends on how its heap happens to be broken up, so single runs differ by tens of MiB. What is
    held does not.
    """
    peak_mib: dict[str, dict[str, float]] = {}
    held_mib: dict[str, float] = {}
    for kind in kinds:
        found = {}
        for objects in OBJECTS:
            needed = []
            for _ in range(rounds):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    needed.append(pool.apply(memory_of, (kind, folder, image_size, objects)))
            found[objects] = [statistics.median(column) for column in zip(*needed, strict=True)]
        name, (few, more) = f"{kind.name} {kind.precisions[0]}", OBJECTS
        peak_mib[name] = {str(objects): peak for objects, (peak, _) in found.items()}
        held_mib[name] = (found[more][1] - found[few][1]) / (more - few)
    return {"frames": LONG, "peak_mib": peak_mib, "each_holds_mib": held_mib}


def agreement(shown: dict[str, np.ndarray]) -> dict[str, float]:
    """The lowest IoU of the masks with those of the package in float32 (or of masklet's plain way)."""
    base = next((shown[name] for name in ("sam2 float32", "masklet plain") if name in shown), None)
    if base is None or base.dtype != bool:
        return {}
    return {name: min(iou(a, b) for a, b in zip(base, masks, strict=True)) for name, masks in shown.items()}


def shares(found: dict[str, Any], name: str, seconds: float) -> str:
    """What part of the machine's best is made use of, where the work has been counted."""
    if "gflop" not in found or name.removeprefix(Ours.name) not in (" auto", " exact", " plain"):
        return ""
    best = found["best_gflops"]["bfloat16" if name.endswith("auto") and processor_has_bfloat16() else "float32"]
    parts = {"products": found["gflop"] / seconds / best, "copying": found["gb"] / seconds / found["best_gb_per_s"]}
    return "  " + ", ".join(f"{share:.0%} of the best {part}" for part, share in parts.items())


def tell(found: dict[str, Any], out: Path | None) -> None:
    """Print a row for each contestant and the JSON, and write the JSON where that is asked for."""
    for name, one in found.get("times", {}).items():
        span = f"({one['low_s']:.3f} to {one['high_s']:.3f})"
        reached = shares(found, name, one["median_s"])
        print(f"{name:20} {one['median_s']:8.3f} s {span}  ratio {one['ratio'] or 0:.2f}{reached}")
    line = json.dumps(found)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(line + "\n")
    print(line)


@click.command(help=__doc__)
@click.option("--case", type=click.Choice([*CASES, "memory"]), default="encode", show_default=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--precisions", help="Only these, by comma.")
@click.option("--ours", is_flag=True, help="Without the published package.")
@click.option("--image-size", default=1024, show_default=True, help="Side of the square that the networks see.")
@click.option("--reference", "folder", default=REFERENCE, type=click.Path(path_type=Path), help="weights.py, scenes.py")
@click.option("--out", type=click.Path(path_type=Path), help="Write the JSON here too.")
def main(
    case: str, rounds: int, precisions: str | None, ours: bool, image_size: int, folder: Path, out: Path | None
) -> None:
    kinds = [] if ours else [*PEERS.get(case, (Theirs,))]
    kinds += {"pico": (Pico,), "track": (Ours, Fast)}.get(case, (Ours,))
    found: dict[str, Any] = {"case": case, "image_size": image_size, "machine": machine()}
    if case == "memory":
        found |= memories(kinds, folder, image_size, rounds)
    else:
        found |= {"best_gflops": best_products(), "best_gb_per_s": best_copy(), **costs(image_size).get(case, {})}
        with apart(kinds, folder, image_size) as systems:
            for system in systems if precisions else []:
                system.precisions = tuple(one for one in system.precisions if one in str(precisions).split(","))
            times = CASES[case](systems, Reference(folder, image_size), rounds)
        found |= {"times": times.summary(), "iou": {} if case == "pico" else agreement(times.shown)}
    tell(found, out)


if __name__ == "__main__":
    main()
