"""Checkpoints of a run: written beside and renamed, so that each is whole or absent; old ones are pruned."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
from masklet.training.parallel import ALONE, Peers

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


def save_result(network: SegmentationNetwork, folder: Path, recipe: Recipe, peers: Peers = ALONE) -> Path:
    """The trained weights as masklet.load takes them: weights.safetensors. All processes call it, one writes."""
    path = folder / "weights.safetensors"
    tensors = get_model_state_dict(network, options=WHOLE)
    if not peers.leads:
        return path
    released = SegmentationNetwork(recipe.released_as or recipe.config)
    released.load_state_dict(tensors)
    training = {**recipe.notes, "steps": recipe.schedule.steps, "image_size": recipe.config.image_size}
    save_network(released, path, description={"licence": recipe.licence, "training": training}, dtype=torch.float16)
    return path
