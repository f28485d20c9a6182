"""Media to try all steps of training on: clips of a public-domain portrait, half of them blended.

The portrait is that of Grace Hopper, which matplotlib includes. A model that learns from them finds
nothing but them.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import matplotlib.cbook
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_eval.inference.corruptions import encode_h264
from deepfake_training.data.manifests import COLUMNS

CLIPS = 24
_FRAMES = 6
_SIDE = 180
_CRF = 18
_FACE = (0.5, 0.47), (0.2, 0.27)
"""Centre and half axes of the face, as shares of the side of a clip."""


def write_trial(folder: Path) -> Path:
    """Write clips of both classes and ``manifest.csv`` into ``folder``; return the manifest.

    Every clip is a group of its own; every third pair of a real and a manipulated one is in fold 0,
    which ``smoke.toml`` holds out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(CLIPS):
            label, method = ("fake", "blend") if number % 2 else ("real", "original")
            name = f"{number:02d}.mp4"
            clip = encode_h264(list(_frames(number, label == "fake")), _CRF)
            (folder / name).write_bytes(clip)
            writer.writerow((name, label, method, "trial", name, int(number // 2 % 3 > 0)))
    return path


def _frames(clip: int, blended: bool) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a clip: the portrait drifts, a little brighter in each clip. In a blended
    one, a blurred copy of the face in another colour lies over the face."""
    file: Any = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=True)
    with file:
        portrait = np.asarray(Image.open(file).convert("RGB"))
    y, x = np.mgrid[:_SIDE, :_SIDE] / _SIDE
    (centre_x, centre_y), (across, down) = _FACE
    distance = np.hypot((x - centre_x) / across, (y - centre_y) / down)
    mask = np.clip(3.0 - 3.0 * distance, 0.0, 1.0)[..., None] * blended
    for number in range(_FRAMES):
        top, left = 40 + 3 * number, 100 + 4 * number
        view = cv2.resize(portrait[top : top + 300, left : left + 300], (_SIDE, _SIDE))
        view = view * (0.88 + 0.01 * clip)
        copy = cv2.GaussianBlur(view, (0, 0), 2.0) * (0.7, 1.0, 0.7)
        yield (mask * copy + (1.0 - mask) * view).clip(0, 255).astype(np.uint8)
