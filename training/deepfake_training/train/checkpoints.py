"""The files that a run leaves in its folder: weights, config and figures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from deepfake_models.machine import atomic_write, atomic_write_text
from deepfake_training.config import Config
from deepfake_training.errors import TrainingError

CHECKPOINT = "checkpoint.pt"
BEST = "best.pt"
METRICS = "metrics.json"
CHECKPOINT_FORMAT = "deepfake-training/1"


@dataclass(frozen=True, slots=True)
class StepReport:
    """Progress of a run. ``validation`` is set on the steps that validate."""

    step: int
    steps: int
    loss: float | None
    """None where a head is fitted on features, which has no steps of its own."""
    validation: dict[str, float] | None
    doing: str = ""
    """What is done before anything is fitted; ``step`` and ``steps`` then count its parts."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint; ``TrainingError`` if this package did not write the file."""
    refused = f"{path}: This is not a checkpoint of deepfake-train. Choose the folder of a run."
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises pickle, zip and runtime errors alike
        raise TrainingError(refused) from error
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT_FORMAT:
        raise TrainingError(refused)
    return state


def own_checkpoint(out: Path, config: Config, data: str) -> dict[str, Any] | None:
    """Load the checkpoint in the run folder ``out``, or return None if there is none.

    ``data`` is the digest of the prepared crops (``CropStore.digest``). ``TrainingError`` if it
    belongs to another recipe or other data, or this package did not write it.
    """
    path = out / CHECKPOINT
    if not path.exists():
        return None
    state = read_checkpoint(path)
    theirs, ours = Config.model_validate_json(state["config"]).recipe(), config.recipe()
    if other := [name for name in theirs | ours if theirs.get(name) != ours.get(name)]:
        raise TrainingError(
            f"{out}: This folder has a run of another recipe. Its {other[0]} differs from that of "
            "the config. Choose another folder."
        )
    if state["data"] != data:
        raise TrainingError(
            f"{out}: The prepared data have changed since this run was started. Choose another "
            "folder and fit again."
        )
    return state


def chosen_weights(run: Path, config: Config, data: str) -> dict[str, torch.Tensor]:
    """Return the weights that the run of ``config`` in the folder ``run`` chose; ``TrainingError``
    if there are none, and as ``own_checkpoint``."""
    if not (run / BEST).exists() or own_checkpoint(run, config, data) is None:
        raise TrainingError(
            f"{run}: There is no run, or it is not complete. Complete deepfake-train fit and "
            "crossvalidate first."
        )
    weights: dict[str, torch.Tensor] = read_checkpoint(run / BEST)["weights"]
    return weights


def save_checkpoint(out: Path, config: Config, data: str, state: dict[str, Any]) -> None:
    """Write the checkpoint of a run of ``config`` on ``data`` into ``out``."""
    _save(out / CHECKPOINT, {"config": config.model_dump_json(), "data": data, **state})


def _save(path: Path, state: dict[str, Any]) -> None:
    with atomic_write(path) as file:
        torch.save({"format": CHECKPOINT_FORMAT, **state}, file)


def save_result(out: Path, weights: dict[str, torch.Tensor], metrics: dict[str, float]) -> None:
    """Write the chosen weights of a run and its figures into ``out``."""
    _save(out / BEST, {"weights": weights})
    atomic_write_text(out / METRICS, json.dumps(metrics, indent=2, sort_keys=True) + "\n")
