"""What a run leaves in its folder, and how it is read: weights, config, figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from deepfake_training.config import Config
from deepfake_training.errors import TrainingError

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
METRICS = "metrics.json"
HELD_OUT = "held_out_crops.parquet"
CHECKPOINT_FORMAT = "deepfake-training/1"

LABELS = ["media", "label", "method", "dataset", "group", "fold"]


@dataclass(frozen=True, slots=True)
class StepReport:
    """For the progress display: ``validation`` is set on the steps that validate."""

    step: int
    steps: int
    loss: float | None
    """None where features are computed, and nothing is fitted yet."""
    validation: dict[str, float] | None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load one of our checkpoints.

    Raises:
        TrainingError: when the file is not one that this package wrote.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises pickle, zip and runtime errors alike
        raise TrainingError(f"{path.name}: not a checkpoint of this package") from error
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        raise TrainingError(f"{path.name}: not a checkpoint of this package")
    return state


def own_checkpoint(out: Path, config: Config) -> dict[str, Any] | None:
    """The checkpoint in a run's folder, if there is one.

    Raises:
        TrainingError: it is of another config, or not a checkpoint of this package.
    """
    path = out / CHECKPOINT
    if not path.exists():
        return None
    state = read_checkpoint(path)
    if Config.model_validate_json(state["config"]) != config:
        raise TrainingError(f"{out}: holds the checkpoint of another config; choose another folder")
    return state


def config_of(run: Path) -> Config:
    """The config that the run in a folder was made by.

    Raises:
        TrainingError: there is no checkpoint of this package.
    """
    return Config.model_validate_json(read_checkpoint(run / CHECKPOINT)["config"])


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path``, whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def keep(
    out: Path, model: nn.Module, metrics: dict[str, float], scores: pd.DataFrame | None
) -> None:
    """Write a run's chosen weights into ``out``, with its figures and its held-out scores."""
    save(out / BEST, {"format": CHECKPOINT_FORMAT, "ema": model.state_dict()})
    figures = json.dumps(metrics, indent=2, sort_keys=True)
    (out / METRICS).write_text(figures + "\n", encoding="utf-8")
    if scores is not None:
        scores.to_parquet(out / HELD_OUT)
