"""Formatting of values in reports and on pages: times, rates, ratios, findings, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

KST = timezone(timedelta(hours=9), "KST")
"""Korea Standard Time, which has no summer time."""
UNDECIDED, REJECTED, DISAGREEMENT = "undecided", "rejected", "disagreement"


def told_finding(finding: str, reviews: Sequence[Mapping[str, Any]]) -> str:
    """Return ``finding``, or ``disagreement`` if it is undecided because reviewers disagree.

    ``reviews`` are oldest first, and the latest decision of each person counts. An undecided
    finding with a rejection has a confirmation as well, or it would be ``rejected``.
    """
    latest = {review["account"]: review["decision"] for review in reviews}
    disagree = finding == UNDECIDED and REJECTED in latest.values()
    return DISAGREEMENT if disagree else finding


def ratio_text(ratio: float) -> str:
    """Format a likelihood ratio of at least 1 with two significant digits below ten."""
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


def verbal(log10_ratio: float) -> str:
    """Return the step, "-4" to "4", of ENFSI's verbal scale (2015) for a log10 likelihood ratio.

    ENFSI Guideline for Evaluative Reporting in Forensic Science, version 3.0. Its bounds are 2, 10,
    100, 1,000 and 10,000; no calibration supports a ratio above the step that ends at 10,000.
    """
    step = sum(abs(log10_ratio) >= bound for bound in (0.30103, 1.0, 2.0, 3.0))
    return str(step if log10_ratio > 0 else -step) if step else "0"


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


def day(at: datetime, language: str) -> str:
    """Format the day of a time that has a zone: the day in Korea in documents in Korean."""
    return f"{at.astimezone(KST if language == 'ko' else UTC):%Y-%m-%d}"


def percent(share: float | None) -> str:
    """Format a share, 0 to 1, in per cent."""
    return "–" if share is None else f"{100 * share:.1f}%"


def interval(rate: dict[str, Any]) -> str:
    """Format a measured rate with its 95% interval."""
    return f"{percent(rate['value'])} [{percent(rate['low'])}, {percent(rate['high'])}]"


def signed(value: float | None) -> str:
    """Format a log10 likelihood ratio with its sign."""
    return "–" if value is None else f"{value:+.2f}"


def tenths(seconds: float | None) -> str:
    """Format seconds to a tenth."""
    return "–" if seconds is None else f"{seconds:.1f}"


def leaning_figures(edges: dict[str, Any]) -> dict[str, str]:
    """Format the values from which a value leans, and how often such values are wrong."""
    return {
        "high": signed(edges["towards_manipulated"]),
        "low": signed(edges["towards_untouched"]),
        "fpr": percent(edges["false_positive_rate"]),
        "fpr_upper": percent(edges["false_positive_rate_upper"]),
        "tpr": percent(edges["true_positive_rate"]),
        "miss": percent(edges["miss_rate"]),
        "tnr": percent(edges["true_negative_rate"]),
    }
