"""Face crops for the functions that ``deepfake-eval detector`` calls."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_eval.inference.frame_folders import open_medium
from deepfake_models.bundle.bundle import BundleSpec, load_bundle
from deepfake_models.bundle.spec import CropSpec
from deepfake_models.faces.crops import cut, usable
from deepfake_models.faces.mtcnn import MtcnnDetector
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.media.interface import FailedFrame
from deepfake_models.media.sampling import sample
from deepfake_models.sandbox.decoder import Decoder


def face_crops(
    path: Path,
    *,
    frames: int = 32,
    size: int = 224,
    scale: float = 1.3,
    decoder: Decoder | None = None,
) -> NDArray[np.uint8]:
    """Return the widest face of each examined frame, (N, ``size``, ``size``, 3) uint8 RGB.

    ``path`` is a picture, a video, or a folder with the frames of a video, of which ``frames``
    evenly spread ones are examined. N is the number of frames with a face, and may be 0. A crop is
    the square around the face, ``scale`` times as wide as the face, cut as for a bundle. Without a
    ``decoder``, media are decoded in this process: they must be trusted.

    Raises:
        MediaError: the medium cannot be read or decoded.
    """
    detector, spec = _detector()
    crop = CropSpec(size=size, scale=scale)
    crops = []
    with open_medium(path, decoder or InProcessDecoder()) as media:
        for frame in media.frames(sample(media.times, spec.sampling, frames)):
            if isinstance(frame, FailedFrame):
                continue
            faces = usable(detector.detect(frame.pixels), frame.pixels, crop)
            if faces:
                widest = max(faces, key=lambda face: face.box[2] - face.box[0])
                crops.append(cut(frame.pixels, widest.box, crop, widest.turn or 0))
    return np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)


@cache
def _detector() -> tuple[MtcnnDetector, BundleSpec]:
    bundle = load_bundle()
    return MtcnnDetector.of_graphs(bundle.graphs, bundle.spec.detector), bundle.spec
