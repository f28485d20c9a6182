"""Compare recipes on the short schedule, on methods that they saw and on methods left out.

A recipe is a config with some fields changed. It is fitted once for each leave-out set, and
measured on people that it never saw, both with methods that it learnt and with methods and sources
that were left out.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from deepfake_eval.analysis.intervals import Estimate
from deepfake_models.spec import Spec
from deepfake_training.config import Config, first_problem
from deepfake_training.data.splits import leave_out_splits
from deepfake_training.errors import ConfigError
from deepfake_training.evaluate.crossvalidate import SplitReporter, run_splits
from deepfake_training.train.method_metrics import by_acquaintance

LEAST_MEDIA = 10
"""Methods with fewer media have a figure, but are left out of the mean of their family."""


class Recipe(Spec):
    """A name, a description, and the fields of the config that the recipe changes."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    about: str
    changes: dict[str, Any] = Field(default_factory=dict)


class _Recipes(Spec):
    recipe: tuple[Recipe, ...]


def load_recipes(path: Path) -> tuple[Recipe, ...]:
    """Read a TOML file of ``[[recipe]]`` tables.

    Raises:
        ConfigError: if the file cannot be read or a field is invalid; the message names it.
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
        raise ConfigError(f"{path.name}: two recipes have the same name")
    return recipes


def changed(config: Config, recipe: Recipe) -> Config:
    """Return the config with the recipe's changes.

    Raises:
        ConfigError: if a change has an unknown field or an invalid value.
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
    """A recipe's AUC by medium of every method, seen and left out."""

    recipe: Recipe
    seen: dict[str, Estimate]
    left_out: dict[str, Estimate]

    def figures(self, kind: str) -> dict[str, Estimate]:
        """Return the figures of ``kind``, which is "seen" or "left out"."""
        return self.seen if kind == "seen" else self.left_out


def compare(
    crops: Path,
    out: Path,
    config: Config,
    recipes: Sequence[Recipe],
    *,
    sets: Sequence[str] = (),
    progress: SplitReporter | None = None,
) -> list[Measured]:
    """Fit and measure every recipe on the leave-out ``sets``, by default all.

    Raises:
        ConfigError: if the config has no such set.
    """
    known = [s.name for s in config.cross_validation.leave_out]
    if unknown := sorted(set(sets) - set(known)):
        raise ConfigError(
            f"the config has no leave-out set {unknown[0]!r}, only {', '.join(known)}"
        )
    measured = []
    for recipe in recipes:
        splits = [
            s
            for s in leave_out_splits(changed(config, recipe), short=True)
            if not sets or s.name.removeprefix("without-") in sets
        ]
        scores = run_splits(crops, out / recipe.name, splits, progress=progress)
        measured.append(Measured(recipe, *by_acquaintance(scores, config)))
    return measured


def family_mean(figures: Mapping[str, Estimate], methods: Sequence[str], *, least: int) -> float:
    """Return the mean AUC over those of ``methods`` with at least ``least`` measured media."""
    values = [figures[m].value for m in methods if m in figures and figures[m].samples >= least]
    return float(np.mean(values)) if values else float("nan")


def _heading(row: Measured, kind: str, family: str, families: Mapping[str, Sequence[str]]) -> str:
    figures = row.figures(kind)
    used = [
        figures[m] for m in families[family] if m in figures and figures[m].samples >= LEAST_MEDIA
    ]
    media, groups = sum(e.samples for e in used), sum(e.groups for e in used)
    noun = "method" if len(used) == 1 else "methods"
    return f"{family}, {kind}: {len(used)} {noun}, {media} media, {groups} groups"


def comparison_table(measured: Sequence[Measured], config: Config) -> str:
    """Return a Markdown table of the recipes with the mean AUC by family, seen and left out. The
    heading gives the number of methods, media and groups of fakes in each mean."""
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
