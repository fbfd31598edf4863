from __future__ import annotations

from pathlib import Path

import pytest

from masklet.data.datasets import open_dataset
from masklet.data.formats.sa1b import Sa1bWriter
from masklet.model.config import MODELS
from masklet.training.batches import collate
from masklet.training.recipes import options_for, read_recipe
from masklet.training.settings import Origin

from .material import write_assets, write_videos

RECIPES = Path(__file__).parents[2] / "recipes"
PARTS = ("Command:", "Hardware:", "Time:", "Expected:")


def example(folder: Path, steps: int = 3, rate: float = 0.5, fast: bool = False) -> None: ...


def test_settings_become_what_the_recipe_declares(tmp_path: Path):
    options = options_for(example, [f"folder={tmp_path}", "steps=12", "fast=yes"])
    assert options == {"folder": tmp_path, "steps": 12, "fast": True}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["folder=.", "step=3"], "expected one of folder=..., steps=..., rate=..., fast=..., seed=..., bfloat16=..., "),
        (["folder=.", "step=3"], ", save_every=..., got 'step=3'"),
        (["folder=.", "steps=many"], "steps: 'many' is not a valid integer"),
        (["steps=3"], "this recipe needs folder=..."),
        (["folder"], "got 'folder'"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: list[str], message: str):
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        options_for(example, settings)


def test_files_without_a_recipe_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="there is no recipe"):
        read_recipe(tmp_path / "nothing.py")
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match="to define a function called recipe"):
        read_recipe(tmp_path / "empty.py")
    (tmp_path / "other.py").write_text("def recipe():\n    return 3\n")
    with pytest.raises(ValueError, match="got 3"):
        read_recipe(tmp_path / "other.py")


MINE = """
from tests.training.conftest import small_recipe

def recipe(steps: int = 3, seed: int = 5):
    return small_recipe(seed=seed + 1)
"""


def test_fields_of_every_recipe_are_set_where_it_has_no_option_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.syspath_prepend(str(RECIPES.parent))
    path, settings = tmp_path / "mine.py", ["workers=3", "bfloat16=yes", "seed=7", "save_every=40"]
    path.write_text(MINE)
    recipe = read_recipe(path, settings)
    assert (recipe.workers, recipe.bfloat16, recipe.save_every) == (3, True, 40)
    assert recipe.seed == 8
    assert recipe.origin == Origin(path, tuple(settings), MINE)
    with pytest.raises(ValueError, match="workers: 'few' is not a valid integer"):
        read_recipe(path, ["workers=few"])
    with pytest.raises(ValueError, match=r"workers=\.\.\., save_every=\.\.\., got 'keep=3'"):
        read_recipe(path, ["keep=3"])


def test_the_published_recipe_mixes_clips_of_videos_with_pictures(tmp_path: Path):
    in_videos = write_videos(tmp_path / "in", 2)
    with Sa1bWriter(tmp_path / "pictures") as writer:
        for record in open_dataset("videos", in_videos).records():
            writer.add(record)
    options = [f"videos={in_videos}", "format=videos", f"pictures={tmp_path / 'pictures'}", "frames=3", "size=32"]
    recipe = read_recipe(RECIPES / "sam2.py", options)
    batches = [collate([source.make_clip(seed) for seed in range(source.clips)]) for source in recipe.sources]
    assert [tuple(batch.frames_bfchw.shape) for batch in batches] == [(1, 3, 3, 32, 32), (8, 1, 3, 32, 32)]
    assert all(batch.masks_ofhw.any() for batch in batches)
    assert [source.weight for source in recipe.sources] == pytest.approx([0.85, 0.15])


@pytest.mark.parametrize("trunk", ["tiny", "small", "base-plus", "large"])
def test_the_published_recipe_knows_every_published_trunk(trunk: str, tmp_path: Path):
    options = [f"videos={write_videos(tmp_path, 1)}", "format=videos", f"network=sam2.1-hiera-{trunk}"]
    recipe = read_recipe(RECIPES / "sam2.py", options)
    assert recipe.config == MODELS[f"sam2.1-hiera-{trunk}"]
    assert len(recipe.sources) == 1


def test_the_built_in_networks_recipe_shows_labelled_pictures_as_often_and_as_large_as_it_is_told(tmp_path: Path):
    options = [f"assets={write_assets(tmp_path)}", "size=64", "frames=3", "clips=2", "stills=4", "still_share=0.5"]
    labelled = ["labelled=0.4", "labelled_size=96", "views=2"]
    recipe = read_recipe(RECIPES / "pico.py", [*options, *labelled])
    batches = [collate([source.make_clip(seed) for seed in range(source.clips)]) for source in recipe.sources]
    assert [tuple(batch.frames_bfchw.shape) for batch in batches] == [
        (2, 3, 3, 64, 64),
        (4, 1, 3, 64, 64),
        (2, 1, 3, 96, 96),
    ]
    assert [source.weight for source in recipe.sources] == pytest.approx([0.5, 0.3, 0.2])
    assert [source.name for source in read_recipe(RECIPES / "pico.py", options).sources] == ["clips", "stills"]


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.py")), ids=lambda path: path.name)
def test_recipes_say_how_they_are_run_on_what_for_how_long_and_what_comes_of_it(path: Path):
    docstring = path.read_text().split('"""')[1]
    said = dict(line.split(":", 1) for line in docstring.splitlines() if line.startswith(PARTS))
    assert set(said) == {part.rstrip(":") for part in PARTS}
    assert all(text.strip() for text in said.values())
    assert f"recipes/{path.name}" in said["Command"]
