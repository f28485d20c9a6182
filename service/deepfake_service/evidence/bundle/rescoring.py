"""Score the pictures of a bundle again, by the model that its evidence names, and compare those of
marked places with the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.decision.level import LN10
from deepfake_models.media.interface import OpenMedia
from deepfake_models.scorer import Scorer
from deepfake_service.evidence.bundle.artifacts import cut_places
from deepfake_service.evidence.bundle.documents import Failed, VerdictDocument, same

LOGIT_TOLERANCE = 1e-2
"""Tolerance of a logit in floating point. Other processors and batch sizes change it by a hundredth
of that."""
PIXEL_TOLERANCE = 16
"""Difference of a channel, of 255, that other versions and builds of the decoders may make."""
_NOISE_OF_ONE, _NOISE_OF_ALL = 4.0, 2.0
"""Tolerances of one logit, and of the root mean square over all, in multiples of
``BundleSpec.logit_noise``."""


def rescore(
    document: VerdictDocument,
    files: Mapping[str, bytes],
    scorer: Scorer,
    read_picture: Callable[[bytes, tuple[int, ...]], NDArray[np.uint8]],
) -> float:
    """Score all pictures of a ``verdict.json``; return the largest difference of a logit.

    ``files`` are those of the evidence, by name, and ``read_picture`` decodes a picture as
    ``artifacts.pixels_of`` does. Logits of kinds are compared as well. ``Failed`` if a difference,
    or their root mean square, is above its tolerance, the number of squares or of logits is not
    that of the model, or a square has another size.
    """
    pictures, spec = document.pictures, scorer.bundle.spec.crop
    size, crops = (spec.size, spec.size), []
    for picture in pictures:
        same(f"number of squares of {picture.crop}", spec.views, len(picture.crops))
        views = [read_picture(files[f"data/{name}"], size) for name in picture.crops]
        crops.append(np.stack(views) if spec.further_scales else views[0])
    noise = scorer.bundle.spec.logit_noise
    differences: list[float] = []
    still = document.result.media is not None and document.result.media.kind == "image"
    scores = scorer.classifier.scores(crops, still=still)
    for picture, score in zip(pictures, scores, strict=True):
        name, face = picture.crop, document.exact.faces[picture.face]
        recorded = (picture.logit, *(face.kind_logits or ()))
        computed = (score.logit, *(score.kind_logits or ()))
        same(f"number of logits of {name}", len(recorded), len(computed))
        for theirs, ours in zip(recorded, computed, strict=True):
            difference = abs(ours - theirs)
            if not difference <= max(LOGIT_TOLERANCE, _NOISE_OF_ONE * noise):
                raise Failed(f"{name}: logit {ours:.4f}, recorded {theirs:.4f}")
            differences.append(difference)
    mean = float(np.sqrt(np.mean(np.square(differences)))) if differences else 0.0
    if not mean <= max(LOGIT_TOLERANCE, _NOISE_OF_ALL * noise):
        raise Failed(f"root mean square of the differences of all logits: {mean:.4f}")
    return max(differences, default=0.0)


def compare_places(
    document: VerdictDocument,
    files: Mapping[str, bytes],
    original: OpenMedia,
    read_picture: Callable[[bytes, tuple[int, ...]], NDArray[np.uint8]],
) -> int:
    """Cut the marked places out of the original again; return how many pictures were compared.

    ``files`` and ``read_picture`` are as in ``rescore``. ``Failed`` if a picture shows anything but
    its place, or the frame cannot be decoded.
    """
    pictured = [place for place in document.cutouts or () if place.file]
    again = cut_places(original, pictured)
    for place in pictured:
        if (ours := again.get(place.name)) is None:
            raise Failed(f"{place.name}: the frame of this place cannot be decoded")
        theirs = read_picture(files[f"data/{place.name}"], ours.shape[:2])
        if np.abs(theirs.astype(int) - ours).max() > PIXEL_TOLERANCE:
            raise Failed(f"{place.name}: the original shows something else at this place")
    return len(pictured)


def ratio_tolerance(spec: BundleSpec) -> float:
    """Return the tolerance of an item's log10 likelihood ratio."""
    return max(
        LOGIT_TOLERANCE, _NOISE_OF_ONE * spec.logit_noise * spec.calibration.face.slope / LN10
    )
