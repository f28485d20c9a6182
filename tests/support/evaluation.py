"""A tiny bundle and tiny data sets for the tests of the evaluation.

The detector is the shipped one. The classifier returns the mean of the red channel minus that of
the green channel, so a picture tinted red counts as manipulated.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from deepfake_eval.datasets import Rows
from deepfake_models.bundle.bundle import Bundle, default_bundle_dir, seal
from tests.support import footage, judging, small_bundles

DRAWS = 40
"""Resamples of the runs that tests share."""

TINTS = {"real": (1.0, 1.0, 1.0), "fake": (1.0, 0.75, 0.85)}


def tiny_bundle(directory: Path, gain: float = 0.15, **fields: Any) -> Bundle:
    """Seal a bundle in ``directory`` whose logit is ``gain`` × (red − green − 22).

    ``fields`` replace fields of the manifest.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("pnet", "rnet", "onet"):
        shutil.copy(default_bundle_dir() / f"{name}.onnx", directory)
    small_bundles.save_color_classifier(directory / "classifier.onnx", gain=gain, offset=22.0)
    (directory / "reliability.json").write_text(json.dumps({}))
    (directory / "MODEL_CARD.md").write_text("For tests.\n")
    return seal(directory, {**judging.bundle_fields(), **fields})


def portrait(label: str, number: int, size: int = 192) -> footage.Pixels:
    """Return a portrait tinted by ``label``; ``number`` selects the person and the framing."""
    whole = footage.astronaut() if number % 2 else footage.grace_hopper()
    left, top = (110, 0) if number % 2 else (130, 30)
    shift = 3 * (number % 7)
    view = whole[top + shift : top + shift + 280, left + shift : left + shift + 280]
    tinted = view.astype(float) * TINTS[label] * (0.9 + 0.02 * (number % 5))
    return footage.resized(tinted.clip(0, 255).astype(np.uint8), size, size)


def clip(label: str, number: int, frames: int = 3) -> bytes:
    """Return a video of a face that moves slightly."""
    return footage.encode([portrait(label, number + 2 * k) for k in range(frames)])


def touch(root: Path, names: Iterable[str]) -> Path:
    """Create a tree of empty files for adapters, which read only names."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def by_media(rows: Rows) -> dict[str, tuple[str, str, str]]:
    """Return label, method and group of each medium."""
    return {r.media: (r.label, r.method, r.group) for r in rows.rows}


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
