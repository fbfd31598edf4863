"""Checkpoints of a run: written beside and renamed, so that each is whole or absent; old ones are pruned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)
from torch.optim.swa_utils import AveragedModel

from masklet.checkpoints import save_network
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.batches import ClipBatch
from masklet.training.parallel import ALONE, Peers
from masklet.training.simulation import Plan

if TYPE_CHECKING:
    from masklet.training.loop import Recipe

NAME = re.compile(r"step_(\d+)\.pt")
BEST = "best.pt"
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True, broadcast_from_rank0=False)


def checkpoints(folder: Path) -> Iterator[tuple[int, Path]]:
    """(step, file) of the run's checkpoints, newest first."""
    found = ((NAME.fullmatch(path.name), path) for path in folder.glob("step_*.pt"))
    return iter(sorted(((int(match[1]), path) for match, path in found if match), reverse=True))


def save_step(
    folder: Path,
    step: int,
    network: SegmentationNetwork,
    adamw: torch.optim.Optimizer,
    averaged: AveragedModel | None,
    peers: Peers,
    keep: int,
) -> None:
    """Write what a run needs to go on after ``step`` steps, and prune all but the ``keep`` newest."""
    tensors, optimiser = get_state_dict(network, adamw, options=WHOLE)
    average = None if averaged is None else get_model_state_dict(averaged, options=WHOLE)
    if not peers.leads:
        return
    state = {
        "step": step,
        "network": tensors,
        "adamw": optimiser,
        "averaged": average,
    }
    write_whole(state, folder / f"step_{step:08d}.pt")
    for _, old in list(checkpoints(folder))[keep:]:
        old.unlink()


def write_whole(state: dict[str, Any], path: Path) -> None:
    """A file that is there completely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name("unfinished.pt")
    torch.save(state, beside)
    beside.replace(path)


def load_newest(
    folder: Path, network: SegmentationNetwork, adamw: torch.optim.Optimizer, averaged: AveragedModel | None
) -> int:
    """Fill all from the newest checkpoint; the number of steps done, 0 where there is none."""
    _, path = next(checkpoints(folder), (0, None))
    if path is None:
        return 0
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    set_state_dict(network, adamw, model_state_dict=state["network"], optim_state_dict=state["adamw"], options=WHOLE)
    if averaged is not None and state["averaged"] is not None:
        set_model_state_dict(averaged, state["averaged"], options=WHOLE)
    return state["step"]


def save_best(folder: Path, step: int, score: float, network: SegmentationNetwork, peers: Peers) -> None:
    """Keep weights, in place of those that were the best before."""
    tensors = get_model_state_dict(network, options=WHOLE)
    if peers.leads:
        write_whole({"step": step, "score": score, "network": tensors}, folder / BEST)


def load_best(folder: Path, network: SegmentationNetwork | None = None) -> dict[str, Any] | None:
    """What ``save_best`` kept, None where there is nothing; fills ``network`` with the weights."""
    path = folder / BEST
    if not path.exists():
        return None
    best: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if network is not None:
        set_model_state_dict(network, best["network"], options=WHOLE)
    return best


def save_bad_batch(path: Path, parts: Sequence[ClipBatch], plan: Plan, seed: int) -> None:
    """Keep all that a step on these batches follows from, but for the weights."""
    tensors = [{"frames": p.frames_bfchw, "masks": p.masks_ofhw, "clip": p.clip_o, "seeds": p.seeds} for p in parts]
    told = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(plan).items()}
    torch.save({"parts": tensors, "plan": told, "seed": seed}, path)


def load_bad_batch(path: Path) -> tuple[list[ClipBatch], Plan, int]:
    """The batches, the plan, and the seed of torch, to take the step again."""
    kept: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    parts = [ClipBatch(p["frames"], p["masks"], p["clip"], p["seeds"]) for p in kept["parts"]]
    plan: dict[str, Any] = {name: frozenset(v) if isinstance(v, list) else v for name, v in kept["plan"].items()}
    return parts, Plan(**plan), kept["seed"]


def save_result(
    network: SegmentationNetwork, folder: Path, recipe: Recipe, done: Mapping[str, Any], peers: Peers = ALONE
) -> Path:
    """The trained weights as masklet.load takes them: weights.safetensors. All processes call it, one writes.

    ``done`` is what the weights' description says of how far the run went.
    """
    path = folder / "weights.safetensors"
    tensors = get_model_state_dict(network, options=WHOLE)
    if not peers.leads:
        return path
    released = SegmentationNetwork(recipe.released_as or recipe.config)
    released.load_state_dict(tensors)
    training = {**recipe.notes, **done, "image_size": recipe.config.image_size}
    folder.mkdir(parents=True, exist_ok=True)
    save_network(released, path, description={"licence": recipe.licence, "training": training}, dtype=torch.float16)
    return path
