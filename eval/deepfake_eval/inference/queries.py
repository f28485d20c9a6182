"""Alter a picture by queries alone, until the bundle's verdict changes.

The attacker sees what a client sees: the box of the face, the verdict and the value of each query.
The change is a smooth field over the face, bounded in every pixel. Natural evolution strategies
(Wierstra et al. 2014; as an attack: Ilyas et al. 2018, arXiv:1804.08598) estimate in which
direction the value falls, from pairs of queries on either side of the present field.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deepfake_eval.inference.targets import Picture, Target
from deepfake_models.faces.crops import square
from deepfake_models.results import Leaning, Verdict, VerdictCode, coarse, rounded

GRID: Final = 28
"""Cells along each side of a field."""
PAIRS: Final = 5
"""Pairs of queries between two steps."""
SPREAD: Final = 0.5
"""Standard deviation of what is added to the field for a query, in units of the bound."""
MEMORY: Final = 0.9
"""Share of earlier estimates that remains at each step."""
GAIN: Final = 1.5
"""Standard deviation of the field before it is clipped, in units of the bound."""
SCALE: Final = 1.4
"""Side of the square that is altered, in sides of the face's box."""

Floats = NDArray[np.float64]


class Answers(StrEnum):
    """How much the service tells the attacker."""

    FULL = "full"
    """The log likelihood ratio with four digits."""
    ROUNDED = "rounded"
    """The log likelihood ratio in whole numbers, and the verdict."""
    VERDICTS = "verdicts"
    """The verdict and the leaning alone."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The result of an attack on one picture."""

    queries: int | None
    """How many queries it took; ``None`` if the verdict had not changed when they were used up."""
    verdict: VerdictCode
    """The verdict on the last query."""
    log_likelihood_ratio: float | None


def observed(verdict: Verdict, answers: Answers) -> float:
    """Return what the attacker follows: higher = nearer to ``likely_manipulated``.

    NaN if nothing was scored.
    """
    if verdict.log_likelihood_ratio is None:
        return math.nan
    if answers is Answers.FULL:
        return rounded(verdict.log_likelihood_ratio) or 0.0
    flagged = float(verdict.verdict is VerdictCode.LIKELY_MANIPULATED)
    if answers is Answers.ROUNDED:
        return (coarse(verdict.log_likelihood_ratio) or 0.0) + flagged
    leaning = {Leaning.TOWARDS_MANIPULATED: 1.0, Leaning.TOWARDS_UNTOUCHED: -1.0}
    return (leaning.get(verdict.leaning, 0.0) if verdict.leaning else 0.0) + flagged


def attack(
    target: Target,
    score: Callable[[Picture], Verdict],
    bound: int,
    *,
    answers: Answers,
    queries: int,
    seed: int,
) -> Attempt:
    """Change each channel of each pixel by at most ``bound`` of 255 until the verdict changes.

    At most ``queries`` queries are made. ``seed`` determines the fields that are tried.
    """
    rng = np.random.default_rng(seed)
    towards = -1.0 if target.manipulated else 1.0
    field: Floats = np.zeros((GRID, GRID, 3))
    estimate: Floats = np.zeros_like(field)
    differences: list[tuple[float, Floats]] = []
    pending: list[tuple[Floats, Floats]] = []
    left: dict[int, float] = {}
    verdict = target.verdict
    for number in range(1, queries + 1):
        if not pending:
            if differences:
                estimate = MEMORY * estimate + _direction(differences)
                field = GAIN * towards * estimate / (float(np.std(estimate)) or 1.0)
                differences.clear()
            probes = [rng.normal(size=field.shape) for _ in range(PAIRS)]
            pending = [(field + s * SPREAD * p, s * p) for p in probes for s in (1.0, -1.0)]
            left.clear()
        tried, probe = pending.pop(0)
        verdict = score(altered(target, tried, bound))
        if target.reached(verdict):
            return Attempt(number, verdict.verdict, rounded(verdict.log_likelihood_ratio))
        value = observed(verdict, answers)
        place = (2 * PAIRS - 1 - len(pending)) // 2
        if place in left:
            gap = left[place] - value
            differences.append((gap if math.isfinite(gap) else 0.0, -probe))
        else:
            left[place] = value
    return Attempt(None, verdict.verdict, rounded(verdict.log_likelihood_ratio))


def _direction(differences: list[tuple[float, Floats]]) -> Floats:
    """Return the estimate of the direction in which the value rises, from the differences of pairs.

    Pairs without a difference say nothing.
    """
    total: Floats = np.sum([gap * probe for gap, probe in differences], axis=0)
    spread = math.sqrt(sum(gap**2 for gap, _ in differences))
    return total / spread if spread > 0.0 else total


def altered(target: Target, field: Floats, bound: int) -> Picture:
    """Return the target's picture with ``field``, (GRID, GRID, 3) in units of ``bound``, added."""
    height, width = target.picture.shape[:2]
    x0, y0, side = square(target.face.box, SCALE)
    left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
    right, bottom = min(math.ceil(x0 + side), width), min(math.ceil(y0 + side), height)
    size = right - left, bottom - top
    change = np.stack(
        [
            np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BICUBIC))
            for channel in np.moveaxis(np.clip(field, -1.0, 1.0), 2, 0).astype(np.float32)
        ],
        axis=2,
    )
    picture = target.picture.copy()
    region = picture[top:bottom, left:right]
    change = np.rint(np.clip(change, -1.0, 1.0) * bound)
    region[:] = np.clip(region + change, 0, 255).astype(np.uint8)
    return picture
