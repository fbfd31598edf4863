"""Average the weights of two stages of one training, the later of which began where the earlier ended.

    python tools/average.py src/masklet/weights/pico.safetensors runs/pico6/weights.safetensors --share 0.4 \\
        --steps "1250 at 320 pixels, 850 at 448 pixels" --out pico.safetensors

The average of two such networks is often better than either (arXiv 2203.05482). What the files say of themselves is
taken from the earlier one; ``--steps`` says how long both were trained. Numbers are stored in half precision.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from masklet.checkpoints import describe, load_network, save_network

WEIGHTS = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(help=(__doc__ or "").partition("\n")[0])
@click.argument("earlier", type=WEIGHTS)
@click.argument("later", type=WEIGHTS)
@click.option("--share", default=0.5, show_default=True, type=click.FloatRange(0, 1), help="Of the later one.")
@click.option("--steps", help="How long both were trained.  [default: what the earlier file says]")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path, dir_okay=False))
def main(earlier: Path, later: Path, share: float, steps: str | None, out: Path) -> None:
    network, other = (load_network(path, precision="plain") for path in (earlier, later))
    tensors, others = network.state_dict(), other.state_dict()
    if {name: tensor.shape for name, tensor in tensors.items()} != {name: t.shape for name, t in others.items()}:
        raise click.ClickException(f"expected two stages of one network, got {network.config} and {other.config}")
    network.load_state_dict({name: tensors[name].lerp(others[name], share) for name in tensors})
    facts = describe(earlier)
    training = dict(facts.get("training", {}))
    before = f" ({training['average']})" if "average" in training else ""
    training["average"] = f"{share:g} of the last stage, {1 - share:g} of what it began with{before}"
    if steps:
        training["steps"] = steps
    save_network(network, out, description={"licence": facts.get("licence"), "training": training}, dtype=torch.float16)


if __name__ == "__main__":
    main()
