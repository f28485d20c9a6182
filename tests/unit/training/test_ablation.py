"""Recipes: the fields that they change, and the table that compares them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from deepfake_eval.analysis.intervals import Estimate
from deepfake_training.config import load_config
from deepfake_training.data.splits import leave_out_splits
from deepfake_training.errors import ConfigError
from deepfake_training.evaluate.ablation import (
    Measured,
    Recipe,
    changed,
    compare,
    comparison_table,
    family_mean,
    load_recipes,
)

CONFIGS = Path(str(files("deepfake_training"))) / "configs"
DEFAULT = CONFIGS / "efficientnet-lite0.toml"
RECIPES = CONFIGS / "recipes" / "efficientnet-lite0.toml"


def figure(value: float, samples: int = 20) -> Estimate:
    return Estimate(value, 0.0, 1.0, samples, samples)


@pytest.mark.parametrize("recipe", load_recipes(RECIPES), ids=str)
def test_shipped_recipes_change_the_default_as_they_say(recipe: Recipe) -> None:
    config, _ = load_config(DEFAULT)
    mine = changed(config, recipe)
    assert mine.bundle.crop.size == mine.bundle.input.height
    assert (mine == config) == (not recipe.changes)
    assert len(leave_out_splits(mine)) == len(config.cross_validation.leave_out)


def test_a_change_keeps_what_it_does_not_name() -> None:
    config, _ = load_config(DEFAULT)
    mine = changed(config, Recipe(name="a", about="a", changes={"fit": {"steps": 3}}))
    assert mine.fit.steps == 3
    assert mine.fit.learning_rate == config.fit.learning_rate


def test_a_change_of_no_field_is_named() -> None:
    config, _ = load_config(DEFAULT)
    with pytest.raises(ConfigError, match=r"recipe a: fit\.step: "):
        changed(config, Recipe(name="a", about="a", changes={"fit": {"step": 3}}))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[recipe]]\nname = 'a'\n", "recipe.0.about"),
        ("[[recipe]]\nname = 'A B'\nabout = 'x'\n", "recipe.0.name"),
        ("[[recipe]]\nname='a'\nabout='x'\n[[recipe]]\nname='a'\nabout='y'\n", "the same name"),
        ("recipe = = 1", "not valid TOML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        load_recipes(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipes(tmp_path / "absent.toml")


def test_a_set_that_the_config_lacks_is_named(tmp_path: Path) -> None:
    config, _ = load_config(DEFAULT)
    with pytest.raises(ConfigError, match="the config has no leave-out set 'z', only a, b, c"):
        compare(tmp_path, tmp_path, config, [], sets=["z"])


def test_methods_with_few_media_do_not_enter_a_mean() -> None:
    figures = {"a": figure(0.9), "b": figure(0.7), "c": figure(0.1, samples=3)}
    assert family_mean(figures, ["a", "b", "c", "d"], least=10) == pytest.approx(0.8)


def test_the_table_has_a_row_a_recipe_and_a_column_a_family() -> None:
    config, _ = load_config(DEFAULT)
    row = Measured(Recipe(name="a", about="as it is"), {"Deepfakes": figure(0.9)}, {})
    lines = comparison_table([row], config).splitlines()
    assert lines[0].startswith("| recipe | swap, seen: 1 method, 20 media, 20 groups | reenact")
    assert lines[2].startswith("| as it is | 0.900 | – |")
