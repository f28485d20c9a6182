"""Compare recipes on the short schedule: on methods they saw and on those they did not.

A recipe is the config with some fields changed. Each is fitted once a leave-out set, and measured
on people it never saw: of methods it learnt from, and of methods and sources left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from deepfake_eval.analysis.metrics import Estimate
from deepfake_models.spec import Spec
from deepfake_training.config import Config, first_problem
from deepfake_training.data.splits import leave_out_splits
from deepfake_training.errors import ConfigError
from deepfake_training.evaluate.crossvalidate import Progress, run_splits
from deepfake_training.train.method_metrics import by_acquaintance

LEAST_MEDIA = 10
"""Methods with fewer media have a figure, but do not enter a family's mean."""


class Recipe(Spec):
    """A name, what it is, and the fields of the config that it changes."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str
    changes: dict[str, Any] = Field(default_factory=dict)


class _Recipes(Spec):
    recipe: tuple[Recipe, ...]


def load_recipes(path: Path) -> tuple[Recipe, ...]:
    """Read a TOML file of ``[[recipe]]`` tables.

    Raises:
        ConfigError: naming the field that is wrong, or the file that cannot be read.
    """
    try:
        recipes = _Recipes.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).recipe
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: not valid TOML: {error}") from error
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {first_problem(error)}") from error
    if len({r.name for r in recipes}) < len(recipes):
        raise ConfigError(f"{path.name}: two recipes have one name")
    return recipes


def changed(config: Config, recipe: Recipe) -> Config:
    """The config with the recipe's changes.

    Raises:
        ConfigError: when a change names no field of the config, or has no value for it.
    """
    try:
        return Config.model_validate(_merged(config.model_dump(), recipe.changes))
    except ValidationError as error:
        raise ConfigError(f"recipe {recipe.name}: {first_problem(error)}") from error


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            value = _merged(old, value)
        merged[key] = value
    return merged


@dataclass(frozen=True, slots=True)
class Measured:
    """A recipe's figures: AUC by medium of every method, seen and left out."""

    recipe: Recipe
    seen: dict[str, Estimate]
    left_out: dict[str, Estimate]

    def figures(self, kind: str) -> dict[str, Estimate]:
        """Those of ``kind``: ``seen``, or ``left out``."""
        return self.seen if kind == "seen" else self.left_out


def compare(
    crops: Path,
    out: Path,
    config: Config,
    recipes: Sequence[Recipe],
    *,
    sets: Sequence[str] = (),
    progress: Progress | None = None,
) -> list[Measured]:
    """Fit and measure every recipe on the leave-out ``sets`` (all, when none is named).

    Raises:
        ConfigError: when a set is not one of the config's.
    """
    known = [s.name for s in config.cross_validation.leave_out]
    if unknown := sorted(set(sets) - set(known)):
        raise ConfigError(f"no leave-out set {unknown[0]!r}; the config has {', '.join(known)}")
    measured = []
    for recipe in recipes:
        mine = changed(config, recipe)
        splits = [
            s
            for s in leave_out_splits(mine, short=True)
            if not sets or s.name.removeprefix("without-") in sets
        ]
        scores = run_splits(crops, out / recipe.name, splits, progress=progress)
        measured.append(Measured(recipe, *by_acquaintance(scores, config)))
    return measured


def family_mean(figures: Mapping[str, Estimate], methods: Sequence[str], *, least: int) -> float:
    """Mean AUC over those of ``methods`` that have a figure on at least ``least`` media."""
    values = [figures[m].value for m in methods if m in figures and figures[m].samples >= least]
    return float(np.mean(values)) if values else float("nan")


def _heading(row: Measured, kind: str, family: str, families: Mapping[str, Sequence[str]]) -> str:
    figures = row.figures(kind)
    used = [
        figures[m] for m in families[family] if m in figures and figures[m].samples >= LEAST_MEDIA
    ]
    media, groups = sum(e.samples for e in used), sum(e.groups for e in used)
    return f"{family}, {kind}: {len(used)} methods, {media} media, {groups} groups"


def comparison_table(measured: Sequence[Measured], config: Config) -> str:
    """The recipes side by side as a Markdown table: mean AUC by family, seen and left out, and in
    the heading the methods, media and groups of fakes that each mean rests on."""
    families = config.cross_validation.families
    columns = [(kind, family) for kind in ("seen", "left out") for family in families]
    lines = [
        "| recipe | " + " | ".join(_heading(measured[0], *c, families) for c in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for row in measured:
        cells = []
        for kind, family in columns:
            figures = row.figures(kind)
            value = family_mean(figures, families[family], least=LEAST_MEDIA)
            cells.append("–" if np.isnan(value) else f"{value:.3f}")
        lines.append(f"| {row.recipe.about} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
