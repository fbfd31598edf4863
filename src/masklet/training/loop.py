"""The training loop: seeded steps, atomic checkpoints, exact resume.

Every step depends on (recipe, step number, weights) alone, so a run that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from masklet.model.config import NetworkConfig
from masklet.model.sam2 import SegmentationNetwork
from masklet.training.batches import ClipBatch, SeededBatches, Source, loader, mixed_seed, timed
from masklet.training.left_out import LeftOut
from masklet.training.losses import LossWeights
from masklet.training.optim import Rates, Schedule, optimizer, set_drop_path, set_rates
from masklet.training.parallel import ALONE, Peers, clip_gradients, moving_average, share_out
from masklet.training.report import Report, Taken
from masklet.training.saving import load_newest, save_bad_batch, save_result, save_step
from masklet.training.settings import Origin, settings_of
from masklet.training.simulation import Plan, Simulation, draw_plan
from masklet.training.sparing import recompute_blocks
from masklet.training.unroll import Outcome, Unroll
from masklet.training.validation import Validation, Watch


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    config: NetworkConfig
    start: Callable[[SegmentationNetwork], None]
    """Fills a new network with its first weights."""
    sources: tuple[Source, ...]
    schedule: Schedule
    rates: Rates = field(default_factory=Rates)
    simulation: Simulation = field(default_factory=Simulation)
    losses: LossWeights = field(default_factory=LossWeights)
    gradient_norm: float = 0.1
    parts: int = 1
    """Batches per step, whose gradients add up before the weights change."""
    average: float = 0.0
    """Decay per step of the moving average of the weights that the run ends with; 0: the last weights themselves."""
    bfloat16: bool = True
    recompute: bool = False
    """Compute the trunk's blocks again going backward instead of keeping what they gave."""
    sharded: bool = False
    """Share out the trunk's parameters among the processes (FSDP) instead of keeping all in each."""
    seed: int = 1
    workers: int = 1
    save_every: int = 100
    keep: int = 2
    """Checkpoints that are kept."""
    picture_every: int = 500
    validation: Validation | None = None
    """With it the run gives the weights of the best score, and ends when they are long past."""
    released_as: NetworkConfig | None = None
    """Configuration that the trained weights are saved with, where it is not the one of training."""
    licence: str = "unknown"
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else the weights' description says of their training, such as the material."""
    origin: Origin | None = None
    """Where the recipe was read from, if from a file."""


class NonFiniteLossError(RuntimeError):
    """The loss, or the gradient, became infinite or not a number."""


class Run:
    """A recipe at work in a folder."""

    def __init__(self, recipe: Recipe, folder: Path, device: str = "cpu", peers: Peers = ALONE):
        self.recipe, self.folder, self.device, self.peers = recipe, folder, device, peers
        torch.manual_seed(recipe.seed)
        self.network = SegmentationNetwork(recipe.config)
        recipe.start(self.network)
        self.network.to(device).train()
        self.network.trunk.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        set_drop_path(self.network, recipe.rates.drop_path)
        if recipe.recompute:
            recompute_blocks(self.network)
        self.averaged = moving_average(self.network, recipe.average) if recipe.average else None
        if recipe.sharded:
            share_out(self.network)
            if self.averaged is not None:
                share_out(self._averaged())
        self.adamw = optimizer(self.network, recipe.rates)
        self.step = load_newest(folder, self.network, self.adamw, self.averaged)
        self.watch = Watch(recipe.validation, folder, peers) if recipe.validation else None

    def train(self) -> SegmentationNetwork:
        """All steps that are left; continues from the folder's newest checkpoint if there is one."""
        steps = self.recipe.schedule.steps
        if self.watch is not None and self.watch.is_over(self.step):
            return self.result()
        left_out = LeftOut(self.folder, self.step, self.peers)
        with self._report() as report:
            if self.watch is not None and not self.watch.has_looked:
                self._look(self.watch, report)
            batches = timed(loader(self._batches(), self.recipe.workers))
            bar = tqdm(batches, total=steps, initial=self.step, unit="step", disable=not self.peers.leads)
            for parts, waited in bar:
                left_out.note(self.step, parts)
                started = time.perf_counter()
                taken = self._learn(parts)
                report.add(self.step, taken, parts, seconds=time.perf_counter() - started, waited=waited)
                bar.set_postfix(report.summary(self.peers.count), refresh=False)
                self.step += 1
                over = self._is_over(report)
                if over or self.step % self.recipe.save_every == 0 or self.step == steps:
                    self._save()
                    report.draw()
                if over:
                    break
        return self.result()

    def result(self) -> SegmentationNetwork:
        """The network that the run gives: averaged if the recipe asks for it, with the best weights if it validates."""
        network = self._averaged()
        if self.watch is not None:
            self.watch.restore(network)
        return network.eval()

    def save_result(self, network: SegmentationNetwork) -> Path:
        """The file that gets the weights of the result. Every process calls it, as each may hold a part of them."""
        done = {"steps": self.step} | ({"best_step": self.watch.best_step} if self.watch else {})
        return save_result(network, self.folder, self.recipe, done, self.peers)

    def _report(self) -> Report:
        settings = settings_of(self.recipe, self.device, self.peers) if self.peers.leads else {}
        return Report(self.folder, self.recipe, settings, active=self.peers.leads, first=self.step)

    def _averaged(self) -> SegmentationNetwork:
        network = self.network if self.averaged is None else self.averaged.module
        assert isinstance(network, SegmentationNetwork)
        return network

    def _is_over(self, report: Report) -> bool:
        """Looks at the network if it is time to. Whether going on is of no use."""
        is_last = self.step == self.recipe.schedule.steps
        if self.watch is None or not (is_last or self.watch.is_due(self.step)):
            return False
        self._look(self.watch, report)
        return self.watch.is_over(self.step)

    def _look(self, watch: Watch, report: Report) -> None:
        report.add_score(self.step, watch.look(self.step, self._averaged()))
        self.network.train()

    def _batches(self) -> SeededBatches:
        recipe = self.recipe
        steps = range(self.step, recipe.schedule.steps)
        return SeededBatches(recipe.sources, recipe.seed, steps, recipe.parts, self.peers)

    def _learn(self, parts: list[ClipBatch]) -> Taken:
        recipe = self.recipe
        set_rates(self.adamw, recipe.schedule.factor(self.step))
        torch.manual_seed(self._seed())
        self.adamw.zero_grad(set_to_none=True)
        objects = self._objects(parts)
        outcomes, losses = [], []
        for part in parts:
            outcome, loss = self._backward(part.to(self.device), objects)
            outcomes.append(outcome)
            losses.append(loss)
        value = self.peers.mean(torch.stack(losses).sum()).item()
        if not math.isfinite(value):
            self._stop_at(parts, "loss", value)
        self.peers.share_gradients(self.network.parameters())
        norm = clip_gradients(self.network.parameters(), recipe.gradient_norm).item()
        if not math.isfinite(norm):
            self._stop_at(parts, "norm of the gradient", norm)
        self.adamw.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.network)
        return Taken(outcomes, value, norm, rate=max(group["lr"] for group in self.adamw.param_groups))

    def _seed(self) -> int:
        """Of what torch draws in this step."""
        return mixed_seed(self.recipe.seed + self.peers.rank, self.step)

    def _plan(self, frames: int) -> Plan:
        """What the simulated user does in this step."""
        return draw_plan(self.recipe.simulation, frames, np.random.default_rng([self.recipe.seed, self.step]))

    def _objects(self, parts: list[ClipBatch]) -> float:
        """Objects in this step, mean over all processes, so that the losses of all add up to one mean per object."""
        count = torch.tensor(float(sum(len(part.clip_o) for part in parts)), device=self.device)
        return max(1.0, self.peers.mean(count).item())

    def _backward(self, batch: ClipBatch, objects: float) -> tuple[Outcome, torch.Tensor]:
        recipe = self.recipe
        plan = self._plan(batch.frames)
        with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=recipe.bfloat16):
            outcome = Unroll(self.network, batch, plan, batch.generators(), recipe.losses).run()
            loss = outcome.loss(objects)
        if loss.requires_grad:
            loss.backward()
        return outcome, loss.detach()

    def _stop_at(self, parts: list[ClipBatch], what: str, value: float) -> None:
        path = self.folder / f"bad_batch_{self.step}_{self.peers.rank}.pt"
        save_bad_batch(path, parts, self._plan(parts[0].frames), self._seed())
        raise NonFiniteLossError(
            f"the {what} of step {self.step} is {value}; its batch is in {path}; try a lower learning rate"
        )

    def _save(self) -> None:
        save_step(self.folder, self.step, self.network, self.adamw, self.averaged, self.peers, self.recipe.keep)


def with_image_size(config: NetworkConfig, image_size: int) -> NetworkConfig:
    """The same network for another picture size; convolutions and rotary positions do not depend on it."""
    return replace(config, image_size=image_size)
