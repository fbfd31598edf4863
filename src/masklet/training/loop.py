"""The training loop: seeded steps, atomic checkpoints, exact resume.

Every step depends on (recipe, step number, weights) alone, so a run that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from masklet.data.synthetic import Clip
from masklet.model.config import NetworkConfig
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.batches import ClipBatch, SeededBatches, loader
from masklet.training.optim import Rates, Schedule, optimizer, set_rates
from masklet.training.parallel import Peers
from masklet.training.unroll import Outcome, Simulation, Unroll

CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    config: NetworkConfig
    start: Callable[[SegmentationNetwork], None]
    """Fills a new network with its first weights."""
    make_clip: Callable[[int], Clip]
    """Seed -> clip of the configuration's image size."""
    schedule: Schedule
    clips: int = 4
    """Clips per step and process."""
    rates: Rates = field(default_factory=Rates)
    simulation: Simulation = field(default_factory=Simulation)
    clip_norm: float = 1.0
    bfloat16: bool = True
    seed: int = 1
    workers: int = 1
    save_every: int = 100


class NonFiniteLossError(RuntimeError):
    """The loss became infinite or not a number."""


class Run:
    """A recipe at work in a folder."""

    def __init__(self, recipe: Recipe, folder: Path, device: str = "cpu", peers: Peers = Peers()):
        self.recipe, self.folder, self.device, self.peers = recipe, folder, device, peers
        torch.manual_seed(recipe.seed)
        self.network = SegmentationNetwork(recipe.config)
        recipe.start(self.network)
        self.network.to(device).train()
        self.network.trunk.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.adamw = optimizer(self.network, recipe.rates)
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)

    def train(self) -> SegmentationNetwork:
        """All steps that are left; continues from the folder's checkpoint if there is one."""
        self._resume()
        steps = self.recipe.schedule.steps
        bar = tqdm(self._batches(), total=steps, initial=self.step, unit="step", disable=not self.peers.leads)
        for batch in bar:
            started = time.perf_counter()
            outcome, loss = self._learn(batch)
            self._log(outcome, loss, time.perf_counter() - started)
            bar.set_postfix(loss=f"{loss:.3f}", iou=f"{np.mean(outcome.track_iou or [0]):.3f}", refresh=False)
            self.step += 1
            if self.step % self.recipe.save_every == 0 or self.step == steps:
                self._save()
        return self.network.eval()

    def _batches(self) -> Iterator[ClipBatch]:
        recipe = self.recipe
        batches = SeededBatches(
            recipe.make_clip,
            seed=recipe.seed,
            clips=recipe.clips,
            first=self.step,
            end=recipe.schedule.steps,
            peers=self.peers,
        )
        return loader(batches, recipe.workers)

    def _learn(self, batch: ClipBatch) -> tuple[Outcome, float]:
        set_rates(self.adamw, self.recipe.schedule.factor(self.step))
        rng = np.random.default_rng([self.recipe.seed, self.step, self.peers.rank])
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.recipe.bfloat16):
            outcome = Unroll(self.network, batch.to(self.device), self.recipe.simulation, rng).run()
            loss = outcome.loss()
        value = self.peers.mean(loss.detach().clone()).item()
        if not math.isfinite(value):
            self._stop_at(batch, value)
        self.adamw.zero_grad(set_to_none=True)
        loss.backward()
        self.peers.share_gradients(self.network.parameters())
        clip_grad_norm_(self.network.parameters(), self.recipe.clip_norm)
        self.adamw.step()
        return outcome, value

    def _stop_at(self, batch: ClipBatch, value: float) -> None:
        path = self.folder / f"bad_batch_{self.step}_{self.peers.rank}.pt"
        torch.save({"frames": batch.frames_bfchw, "masks": batch.masks_ofhw, "clip": batch.clip_o}, path)
        raise NonFiniteLossError(
            f"the loss of step {self.step} is {value}; its batch is in {path}; try a lower learning rate"
        )

    def _log(self, outcome: Outcome, loss: float, seconds: float) -> None:
        if not self.peers.leads:
            return
        record = {
            "step": self.step,
            "loss": round(loss, 4),
            "prompt_iou": [round(v, 4) for v in outcome.prompt_iou],
            "track_iou": [round(v, 4) for v in outcome.track_iou],
            "seconds": round(seconds, 3),
        }
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(record) + "\n")

    def _save(self) -> None:
        """Write beside, then rename: a checkpoint is whole or absent."""
        if not self.peers.leads:
            return
        state = {"step": self.step, "network": self.network.state_dict(), "adamw": self.adamw.state_dict()}
        beside = self.folder / (CHECKPOINT + ".new")
        torch.save(state, beside)
        beside.replace(self.folder / CHECKPOINT)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        if path.exists():
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.adamw.load_state_dict(state["adamw"])
            self.step = state["step"]


def with_image_size(config: NetworkConfig, image_size: int) -> NetworkConfig:
    """The same network for another picture size; convolutions and rotary positions do not depend on it."""
    return replace(config, image_size=image_size)
