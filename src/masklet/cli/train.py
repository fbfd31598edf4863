"""``masklet train``: a recipe at work."""

from __future__ import annotations

from pathlib import Path

import click

from masklet.cli.options import FILE


@click.command("train")
@click.argument("recipe", type=FILE)
@click.argument("settings", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("-o", "--out", type=FILE, metavar="FOLDER", help="The run's folder.  [default: runs/ and RECIPE's name]")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in the folder.")
@click.option("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 ...  [default: cuda if there is one, else cpu]")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of a process on a CPU.  [default: torch's]")
def train(
    recipe: Path, settings: tuple[str, ...], out: Path | None, resume: bool, device: str | None, threads: int | None
) -> None:
    """Train a network as RECIPE, a Python file, says; its docstring tells what it needs, takes and gives.

    Every NAME=VALUE sets an option of the recipe, or its seed, bfloat16, workers or save_every. The folder gets
    checkpoints, settings.json, log.jsonl, curve.png, a TensorBoard log and at the end weights.safetensors.

    \b
      masklet train recipes/pico.py assets=assets steps=800 --out runs/pico
      torchrun --nproc-per-node 2 -m masklet.cli train recipes/pico.py assets=assets --resume
    """
    import torch

    from masklet.training.left_out import told_left_out
    from masklet.training.loop import Run
    from masklet.training.parallel import join, own_device
    from masklet.training.recipes import read_recipe
    from masklet.training.saving import checkpoints

    made = read_recipe(recipe, settings)
    folder = out or Path("runs") / recipe.stem
    done, _ = next(checkpoints(folder), (0, None))
    if done and not resume:
        raise ValueError(f"{folder} holds a run of {done} steps; add --resume to go on, or name another --out")
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    peers = join()
    run = Run(made, folder, own_device(device, peers), peers)
    weights = run.save_result(run.train())
    if peers.leads:
        click.echo(told_left_out(folder), err=True)
        click.echo(weights)
