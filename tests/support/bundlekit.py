"""A small model bundle for tests whose subject is not the model.

The detector, the preprocessing, the decision rules and the published error rates are those of the
shipped bundle; only the classifier is replaced, by a mean of colours that costs next to nothing.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from deepfake_models.bundle import MANIFEST, Bundle, default_bundle_dir, load_bundle, seal
from tests.support import graphkit


@cache
def small_bundle_dir() -> Path:
    """Return the folder of the small bundle, which this process makes once and removes at exit.

    Its content does not depend on the process, so neither does its digest.
    """
    folder = Path(tempfile.mkdtemp(prefix="small-bundle-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_small_bundle(folder)
    return folder


def small_bundle() -> Bundle:
    """Return the small bundle, loaded and verified."""
    return load_bundle(small_bundle_dir())


def write_small_bundle(folder: Path) -> Bundle:
    """Write the small bundle into ``folder``, which exists, and return it.

    The astronaut's portrait gets a value between the two thresholds, in a picture and in a clip;
    Grace Hopper's gets one below both.
    """
    shipped = default_bundle_dir()
    for name in ("pnet.onnx", "rnet.onnx", "onet.onnx", "reliability.json", "MODEL_CARD.md"):
        shutil.copy(shipped / name, folder)
    graphkit.save_color_classifier(folder / "classifier.onnx", gain=-0.15, offset=22.0, tilt=0.3)
    fields = json.loads((shipped / MANIFEST).read_text(encoding="utf-8"))
    del fields["format_version"], fields["files"]
    return seal(folder, {**fields, "name": "small", "version": "1"})
