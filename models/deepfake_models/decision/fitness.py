"""Whether a bundle's thresholds decide anything, by the figures that the bundle itself states.

A fit on too little material gives thresholds like any other. Nothing but the rates that were
measured there tells that a verdict by them means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.spec import Calibration, ConditionsSpec, LevelThresholds

Kind = Literal["video", "picture"]

NOTICE = "> **Not for use.**"
"""How the notice in a model card begins."""


class UnfitCode(StrEnum):
    """Why verdicts of a bundle mean nothing."""

    FINDS_NOTHING = "finds_nothing"
    """No manipulated held-out material is called manipulated."""
    NOT_SEPARATED = "not_separated"
    """Authentic material may be called manipulated as often as manipulated material is."""
    FEW_GROUPS = "few_groups"
    """The rates rest on too few people or sources to be known."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A reason not to use a bundle on videos or on pictures."""

    kind: Kind
    code: UnfitCode
    true_positive_rate: float
    false_positive_rate_upper: float
    groups: int
    min_groups: int

    @property
    def detail(self) -> str:
        """Return the reason as an English sentence."""
        match self.code:
            case UnfitCode.FINDS_NOTHING:
                return f"No manipulated held-out {self.kind} is called manipulated."
            case UnfitCode.NOT_SEPARATED:
                return (
                    f"Of manipulated held-out {self.kind}s, {self.true_positive_rate:.1%} are "
                    "called manipulated; of authentic ones it may be "
                    f"{self.false_positive_rate_upper:.1%}."
                )
            case UnfitCode.FEW_GROUPS:
                return (
                    f"The error rates for {self.kind}s rest on too few groups of people or sources "
                    f"of one class: {self.groups}, where {self.min_groups} are needed."
                )


def unfit(spec: BundleSpec) -> tuple[Unfit, ...]:
    """Return the reasons not to use a bundle; empty for one whose thresholds decide something.

    Videos are decided on by the thresholds of the item, pictures by those of stills, and both only
    under conditions with enough groups.
    """
    most = _most_groups(spec.conditions)
    levels: tuple[tuple[Kind, LevelThresholds, Calibration], ...] = (
        ("video", spec.thresholds.item, spec.calibration.item),
        ("picture", spec.thresholds.still, spec.calibration.face),
    )
    return tuple(
        reason
        for kind, thresholds, calibration in levels
        for reason in unfit_level(kind, thresholds, calibration, spec.conditions.min_groups, most)
    )


def unfit_level(
    kind: Kind,
    thresholds: LevelThresholds,
    calibration: Calibration,
    min_groups: int,
    most_groups: int | None = None,
) -> Iterator[Unfit]:
    """Yield the reasons not to use the thresholds of one level. ``most_groups`` are those of the
    smaller class in the condition that has most; ``None`` if nothing was measured by condition."""
    found, upper = thresholds.true_positive_rate, thresholds.false_positive_rate_upper
    # The limit is the logarithm of the number of groups in the smaller class plus one.
    groups = min(calibration.groups, round(10**calibration.limit) - 1)
    if most_groups is not None:
        groups = min(groups, most_groups)
    codes = []
    if found == 0.0 or thresholds.likely_manipulated > calibration.limit:
        codes.append(UnfitCode.FINDS_NOTHING)
    elif found <= upper:
        codes.append(UnfitCode.NOT_SEPARATED)
    if groups < min_groups:
        codes.append(UnfitCode.FEW_GROUPS)
    for code in codes:
        yield Unfit(kind, code, found, upper, groups, min_groups)


def _most_groups(conditions: ConditionsSpec) -> int | None:
    return max(
        (
            min(b.false_positive_rate.groups, b.true_positive_rate.groups)
            for row in conditions.bins
            for b in row
        ),
        default=None,
    )


def marked_card(card: str, reasons: Sequence[Unfit]) -> str:
    """Return a model card that says below its title why the bundle is not for use. A notice that it
    has already is replaced, or removed if there are no ``reasons``."""
    title, _, rest = card.partition("\n")
    rest = rest.lstrip("\n")
    if rest.startswith(NOTICE):
        rest = rest.partition("\n\n")[2]
    sentences = ["The thresholds of this bundle decide nothing.", *(r.detail for r in reasons)]
    notice = " ".join([NOTICE, *sentences])
    return f"{title}\n\n{notice}\n\n{rest}" if reasons else f"{title}\n\n{rest}"
