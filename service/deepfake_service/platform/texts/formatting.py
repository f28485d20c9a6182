"""Formatting of values in reports and on pages: times, rates, ratios, findings, pictures."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta, timezone

from deepfake_models.bundle.results import Verdict, VerdictCode
from deepfake_models.bundle.spec import LeaningEdges
from deepfake_service.platform.texts.i18n import Words

KST = timezone(timedelta(hours=9), "KST")
"""Korea Standard Time, which has no summer time."""


def attributed(name: str, text: str, claimed: Collection[str] | None, t: Words) -> str:
    """Return the text of a field of a post; if a capture alone claims it, this is said."""
    return t("claimed", value=text) if name in (claimed or ()) else text


def ratio_text(ratio: float) -> str:
    """Format a likelihood ratio of at least 1 with two significant digits below ten."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def strength_of(result: Verdict) -> str | None:
    """Return how strongly a verdict supports manipulation, as a step of a verbal scale.

    It is "0" to "4" on that of the ENFSI Guideline for Evaluative Reporting in Forensic Science,
    version 3.0 (2015), whose bounds are 2, 10, 100, 1,000 and 10,000; no calibration supports a
    ratio above the step that ends at 10,000. ``None`` if nothing is stated: the result has no
    value, or it says that none was found or its value is on that side. How often faces made with
    tools that the model never saw have such a value is not known well enough for a ratio.
    """
    ratio = result.log_likelihood_ratio
    if ratio is None or ratio < 0 or result.verdict is VerdictCode.NO_MANIPULATION_FOUND:
        return None
    return str(sum(ratio >= bound for bound in (0.30103, 1.0, 2.0, 3.0)))


def to_the_second(at: str | None, language: str) -> str:
    """Format an ISO 8601 time that has a zone; a dash stands for ``None``.

    Documents in Korean state the time in Korea and, in brackets, UTC, with its date where that is
    another one. Documents in English state UTC.
    """
    if at is None:
        return "–"
    utc = datetime.fromisoformat(at).astimezone(UTC)
    if language != "ko":
        return f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    local = utc.astimezone(KST)
    exact = f"{utc:%H:%M:%S}" if utc.date() == local.date() else f"{utc:%Y-%m-%d %H:%M:%S}"
    return f"{local:%Y-%m-%d %H:%M:%S} KST ({exact} UTC)"


def days_in_korea(start: date, end: date) -> tuple[datetime, datetime]:
    """Return when the first of some days begins in Korea, and when the last one ends."""
    return datetime.combine(start, time(), KST), datetime.combine(end, time(), KST) + timedelta(1)


def day(at: datetime, language: str) -> str:
    """Format the day of a time that has a zone: the day in Korea in documents in Korean."""
    return f"{at.astimezone(KST if language == 'ko' else UTC):%Y-%m-%d}"


def percent(share: float | None) -> str:
    """Format a share, 0 to 1, in per cent."""
    return "–" if share is None else f"{100 * share:.1f}%"


def signed(value: float | None, decimals: int = 2) -> str:
    """Format a log10 likelihood ratio with its sign."""
    return "–" if value is None else f"{value:+.{decimals}f}"


def tenths(seconds: float | None) -> str:
    """Format seconds to a tenth."""
    return "–" if seconds is None else f"{seconds:.1f}"


def leaning_figures(edges: LeaningEdges) -> dict[str, str]:
    """Format the values from which a value leans, and how often such values are wrong."""
    return {
        "high": signed(edges.towards_manipulated),
        "low": signed(edges.towards_untouched),
        "fpr": percent(edges.false_positive_rate),
        "fpr_upper": percent(edges.false_positive_rate_upper),
        "tpr": percent(edges.true_positive_rate),
        "miss": percent(edges.miss_rate),
        "tnr": percent(edges.true_negative_rate),
    }
