"""Choose the pictures that an attack starts from, and score altered versions of them.

An attack starts from a picture on which the bundle is right: a manipulated one that it calls
``likely_manipulated``, or an untouched one that it judges and does not call so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepfake_eval.datasets import Row
from deepfake_eval.inference.frame_folders import open_medium
from deepfake_models.decode.base import Frame
from deepfake_models.decode.decoder import Decoder
from deepfake_models.errors import MediaError
from deepfake_models.results import Face, MediaFacts, Verdict, VerdictCode
from deepfake_models.scorer import Scorer

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Target:
    """A picture to attack: a still, or the middle frame of a video, (H, W, 3) uint8 RGB."""

    row: Row
    root: Path
    picture: Picture
    verdict: Verdict
    face: Face
    """The face with the highest value, on whose surroundings the attack works."""

    @property
    def manipulated(self) -> bool:
        return self.row.label == "fake"

    def reached(self, verdict: Verdict) -> bool:
        """Return whether ``verdict`` is what the attacker wants: anything but
        ``likely_manipulated`` for a manipulated picture, that verdict for an untouched one."""
        return (verdict.verdict is not VerdictCode.LIKELY_MANIPULATED) is self.manipulated


def score_picture(scorer: Scorer, picture: Picture) -> Verdict:
    """Return the verdict on ``picture``, (H, W, 3) uint8 RGB, as for a lossless file of it."""
    height, width = picture.shape[:2]
    (faces,) = scorer.observe([picture], [0.0])
    scores = iter(scorer.classifier.scores([f.crop for f in faces if f.crop is not None]))
    return scorer.judge_picture(
        MediaFacts("image", width, height, None, None, 0),
        faces,
        [None if f.crop is None else next(scores) for f in faces],
    )


def targets(
    scorer: Scorer, decoder: Decoder, media: Iterable[tuple[Row, Path]], limit: int
) -> Iterator[Target]:
    """Yield at most ``limit`` targets, one for each group, in the order of ``media``.

    ``media`` are rows, each with the root of its data set. Media that cannot be decoded are passed
    over.
    """
    used: set[str] = set()
    for row, root in media:
        if len(used) == limit:
            return
        if row.group in used:
            continue
        target = _target(scorer, decoder, row, root)
        if target is not None:
            used.add(row.group)
            yield target


def _target(scorer: Scorer, decoder: Decoder, row: Row, root: Path) -> Target | None:
    try:
        with open_medium(root / row.media, decoder) as medium:
            frame = next(iter(medium.frames([len(medium.times) // 2])), None)
    except MediaError:
        return None
    if not isinstance(frame, Frame):
        return None
    verdict = score_picture(scorer, frame.pixels)
    judged = [f for f in verdict.faces if f.log_likelihood_ratio is not None]
    if not judged or verdict.log_likelihood_ratio is None:
        return None
    face = max(judged, key=lambda f: f.log_likelihood_ratio or 0.0)
    target = Target(row, root, frame.pixels, verdict, face)
    return None if target.reached(verdict) else target
