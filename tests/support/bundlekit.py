"""A small model bundle for tests whose subject is not the model.

The detector's graphs are those of the shipped bundle; the preprocessing, the decision rules and
the published error rates are those of release 0.2.0. The classifier is a mean of colours that costs
next to nothing.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from deepfake_models.bundle.bundle import MANIFEST, Bundle, default_bundle_dir, load_bundle, seal
from deepfake_models.scorer import Scorer
from tests.support import graphkit

_ASSETS = Path(__file__).parents[1] / "assets" / "small_bundle"


@cache
def small_bundle_dir() -> Path:
    """Return the folder of the small bundle, which this process makes once and removes at exit.

    Its content does not depend on the process, so neither does its digest.
    """
    return _made(write_small_bundle)


@cache
def two_square_bundle_dir() -> Path:
    """Return the folder of the bundle with two squares, as in ``small_bundle_dir``."""
    return _made(write_two_square_bundle)


@cache
def two_square_scorer() -> Scorer:
    """Return a scorer with that bundle."""
    return Scorer.open(two_square_bundle_dir(), threads=1)


def _made(write: Callable[[Path], Bundle]) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="small-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write(folder)
    return folder


def small_bundle() -> Bundle:
    """Return the small bundle, loaded and verified."""
    return load_bundle(small_bundle_dir())


def write_small_bundle(folder: Path) -> Bundle:
    """Write the small bundle into ``folder``, which exists, and return it.

    The astronaut's portrait gets a value between the two thresholds, in a picture and in a clip;
    Grace Hopper's gets one below both.
    """
    graphkit.save_color_classifier(folder / "classifier.onnx", gain=-0.15, offset=22.0, tilt=0.3)
    return _sealed(folder, name="small")


def write_two_square_bundle(folder: Path) -> Bundle:
    """Write a bundle into ``folder``, which exists, and return it: its classifier sees two squares
    of a face, tells two kinds apart and shares its weights with a graph of the map."""
    graphkit.save_two_square_classifier(folder, gain=-0.15, offset=22.0)
    return _sealed(
        folder, name="squares", kinds=["swap", "synthesis"], crop={"further_scales": [0.8]}
    )


def _sealed(folder: Path, *, crop: dict[str, Any] | None = None, **fields: Any) -> Bundle:
    """Add the shipped detector and the stored tables to ``folder``, and seal it with changed
    ``fields``.

    Calibration, thresholds and tables are those of release 0.2.0, so that another shipped model
    does not change what the tests expect.
    """
    shipped = default_bundle_dir()
    for name in ("pnet.onnx", "rnet.onnx", "onet.onnx", "MODEL_CARD.md"):
        shutil.copy(shipped / name, folder)
    shutil.copy(_ASSETS / "reliability.json", folder)
    manifest = json.loads((_ASSETS / MANIFEST).read_text(encoding="utf-8"))
    del manifest["format_version"], manifest["files"]
    manifest["crop"].update(crop or {})
    return seal(folder, {**manifest, "version": "1", **fields})
