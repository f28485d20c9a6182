"""Prepared crops, a fitted run and initial weights for the tests of training.

"Manipulated" is a portrait tinted green, which a network learns in a dozen steps.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

from deepfake_training.config import Config, load_config
from deepfake_training.networks.conversion import convert_weights
from deepfake_training.train.checkpoints import CHECKPOINT, read_checkpoint
from tests.support import mediakit

CONFIGS = Path(str(files("deepfake_training"))) / "configs"
SMOKE = CONFIGS / "smoke.toml"
LITE = "tf_efficientnet_lite0"


def convert_lite(folder: Path) -> None:
    """Convert EfficientNet-Lite0's weights to where torch looks if TORCH_HOME is ``folder``."""
    convert_weights(LITE, folder / "hub" / "checkpoints" / f"{LITE}.safetensors")


def short_smoke() -> Config:
    """Return the smoke config with fewer steps and no second validation."""
    config = load_config(SMOKE)[0]
    fit = config.fit.model_copy(update={"steps": 12, "validate_every": 12})
    return config.model_copy(update={"fit": fit})


def write_manifest(root: Path) -> Path:
    """Write twelve clips of two portraits and their manifest. Every clip is a group of its own."""
    rows = []
    for number in range(12):
        fake = number % 4 >= 2
        frames = [_frame(number, k, fake) for k in range(6)]
        name = f"{number:02d}.mp4"
        (root / name).write_bytes(mediakit.encode(frames))
        rows.append(
            {
                "media": name,
                "label": "fake" if fake else "real",
                "method": "tint" if fake else "original",
                "dataset": "made",
                "group": f"g{number}",
                "fold": int(number >= 4),
            }
        )
    path = root / "manifest.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _frame(clip: int, number: int, fake: bool) -> mediakit.Pixels:
    """Return a portrait that drifts, a little brighter in each clip. A tint leaves it a face."""
    left, top = 4 * number, 3 * number
    if clip % 2:
        view = mediakit.astronaut()[top : 300 + top, 80 + left : 380 + left]
    else:
        view = mediakit.grace_hopper()[40 + top : 340 + top, 100 + left : 400 + left]
    colours = [0.7, 1.0, 0.7] if fake else [1.0, 1.0, 1.0]
    bright = view.astype(float) * colours * (0.9 + 0.01 * clip)
    return mediakit.resized(bright.clip(0, 255).astype(np.uint8), 240, 240)


def copy_detector(exported: Path) -> Callable[[Path], list[Path]]:
    """Return a stand-in for ``export_detector`` that copies the graphs in ``exported``."""

    def copy(out_dir: Path) -> list[Path]:
        out_dir.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy(path, out_dir)) for path in sorted(exported.glob("*.onnx"))]

    return copy


def as_if_of(config: Config, run: Path, folder: Path) -> Path:
    """Copy a run to ``folder`` so that it claims to be of another config."""
    shutil.copytree(run, folder)
    state = {**read_checkpoint(run / CHECKPOINT), "config": config.model_dump_json()}
    torch.save(state, folder / CHECKPOINT)
    return folder
