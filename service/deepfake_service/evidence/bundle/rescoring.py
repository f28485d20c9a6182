"""Score the faces that evidence contains again, and compare the logits with the recorded ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.spec import CropSpec
from deepfake_models.decision.level import LN10
from deepfake_models.errors import DeepfakeError
from deepfake_models.scorer import Scorer
from deepfake_service.evidence.bundle.artifacts import crops_of

LOGIT_TOLERANCE = 1e-2
"""Tolerance of a logit in floating point. Other processors and batch sizes change it by a hundredth
of that."""
_NOISE_OF_ONE, _NOISE_OF_ALL = 4.0, 2.0
"""Tolerances of one logit, and of the root mean square over all, in multiples of
``BundleSpec.logit_noise``."""


class RescoringFailed(DeepfakeError):
    """A stored face does not get its recorded logits."""


ReadPicture = Callable[[bytes, int], NDArray[np.uint8]]
"""Decodes a stored square of a size: see ``artifacts.pixels_of``."""


def rescore(
    document: Mapping[str, Any],
    files: Mapping[str, bytes],
    scorer: Scorer,
    read_picture: ReadPicture,
) -> float:
    """Score all pictures of a ``verdict.json`` document; return the largest difference of a logit.

    ``files`` are those of the evidence, by name. Logits of kinds are compared as well.

    Raises:
        RescoringFailed: a difference, or their root mean square, is above its tolerance, or the
            number of squares or of logits is not that of the model.
        PictureAltered: a square has another size.
    """
    pictures = document["pictures"]
    spec = scorer.bundle.spec.crop
    crops = [_crop_of(picture, files, spec, read_picture) for picture in pictures]
    noise = scorer.bundle.spec.logit_noise
    differences: list[float] = []
    for picture, score in zip(pictures, scorer.classifier.scores(crops), strict=True):
        name, face = picture["crop"], document["exact"]["faces"][picture["face"]]
        recorded = (face["logit"], *(face.get("kind_logits") or ()))
        computed = (score.logit, *(score.kind_logits or ()))
        _same_number("logits", name, len(recorded), len(computed))
        for theirs, ours in zip(recorded, computed, strict=True):
            difference = abs(ours - theirs)
            if not difference <= max(LOGIT_TOLERANCE, _NOISE_OF_ONE * noise):
                raise RescoringFailed(f"{name}: logit {ours:.4f}, recorded {theirs:.4f}")
            differences.append(difference)
    mean = float(np.sqrt(np.mean(np.square(differences)))) if differences else 0.0
    if not mean <= max(LOGIT_TOLERANCE, _NOISE_OF_ALL * noise):
        raise RescoringFailed(f"root mean square of the differences of all logits: {mean:.4f}")
    return max(differences, default=0.0)


def ratio_tolerance(spec: BundleSpec) -> float:
    """Return the tolerance of an item's log10 likelihood ratio."""
    return max(
        LOGIT_TOLERANCE, _NOISE_OF_ONE * spec.logit_noise * spec.calibration.face.slope / LN10
    )


def _crop_of(
    picture: Mapping[str, Any],
    files: Mapping[str, bytes],
    spec: CropSpec,
    read_picture: ReadPicture,
) -> NDArray[np.uint8]:
    """Return what the classifier saw of a face, as ``cut_views`` does."""
    names = crops_of(picture)
    _same_number("squares", picture["crop"], spec.views, len(names))
    views = [read_picture(files[f"data/{name}"], spec.size) for name in names]
    return np.stack(views) if spec.further_scales else views[0]


def _same_number(what: str, name: str, expected: int, found: int) -> None:
    if found != expected:
        raise RescoringFailed(f"number of {what} of {name}: expected {expected}, found {found}")
