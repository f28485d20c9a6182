"""From predictions to ``metrics.json``: figures by level, data set and method, and coverage."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from deepfake_eval.analysis.metrics import CONFIDENCE, panel, rate, worst_case_auc
from deepfake_eval.analysis.reliability import MIN_GROUPS
from deepfake_models.bundle import Bundle
from deepfake_models.results import ReasonCode, VerdictCode

LEVELS = ("item", "frame")

FAILED = frozenset(
    {
        ReasonCode.UNREADABLE,
        ReasonCode.UNDECODABLE,
        ReasonCode.NO_VISUAL_STREAM,
        ReasonCode.TOO_LARGE,
        ReasonCode.DECODER_FAILED,
        ReasonCode.NOT_A_PICTURE,
    }
)
"""Reasons for which an item counts as failed; with any other, as not judged."""

OUTCOMES = ("flagged", "cleared", "inconclusive", "not_judged", "failed")
"""What can become of an item. The first three were scored; all but the first two abstain."""


def heading(bundle: Bundle) -> dict[str, Any]:
    """How every results file begins: its format, when it was written, and of which bundle."""
    thresholds = bundle.spec.thresholds
    return {
        "format_version": 1,
        "created": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "bundle": {
            **bundle.model_json(),
            "prior": bundle.spec.prior,
            "thresholds": {
                "picture": thresholds.face.model_dump(),
                "video": thresholds.item.model_dump(),
            },
        },
    }


def summarise(
    predictions: pd.DataFrame,
    bundle: Bundle,
    *,
    settings: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """The content of ``metrics.json`` from ``run.assemble``'s table.

    Every figure comes with a 95% interval from resampling whole groups and the number of groups.
    A fake method is measured against the reals of its own data set where there are any, else
    against all reals.
    """
    items = predictions[predictions["level"] == "item"]
    parts = [
        (level, *part)
        for level in LEVELS
        for part in _parts(predictions[predictions["level"] == level])
    ]
    levels: dict[str, list[dict[str, Any]]] = {level: [] for level in LEVELS}
    for number, (level, about, part) in enumerate(parts, start=1):
        figures = _panel(part, bundle.spec.prior, settings["draws"])
        levels[level].append({**about, **figures})
        if progress:
            progress(number, len(parts))
    return {
        **heading(bundle),
        "settings": {**settings, "confidence": CONFIDENCE},
        "versions": {
            "python": platform.python_version(),
            **{
                p: importlib.metadata.version(p)
                for p in ("deepfake-service", "scikit-learn", "scipy", "numpy")
            },
        },
        "levels": levels,
        "operating_point": _operating_points(items),
        "coverage": _coverage(items),
        "false_positives": _false_positives(items),
    }


def outcome(items: pd.DataFrame) -> pd.Series:
    """Which of ``OUTCOMES`` became of each item."""
    verdict = items["verdict"]
    chosen = np.select(
        [
            verdict == VerdictCode.LIKELY_MANIPULATED,
            verdict == VerdictCode.NO_MANIPULATION_FOUND,
            verdict == VerdictCode.INCONCLUSIVE,
            items["reason"].isin([str(r) for r in FAILED]),
        ],
        ["flagged", "cleared", "inconclusive", "failed"],
        "not_judged",
    )
    return pd.Series(chosen, index=items.index)


def _parts(rows: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    yield {"scope": "all", "name": "all"}, rows
    kinds = sorted(k for k in rows["kind"].unique() if k)
    if len(kinds) > 1:
        for kind in kinds:
            yield {"scope": "kind", "name": kind}, rows[rows["kind"] == kind]
    datasets = sorted(rows["dataset"].unique())
    if len(datasets) > 1:
        for dataset in datasets:
            yield {"scope": "dataset", "name": dataset}, rows[rows["dataset"] == dataset]
    reals, fakes = rows[rows["label"] == "real"], rows[rows["label"] == "fake"]
    for (dataset, method), part in fakes.groupby(["dataset", "method"], sort=True):
        own = reals[reals["dataset"] == dataset]
        about = {
            "scope": "method",
            "name": str(method),
            "dataset": str(dataset),
            "against": str(dataset) if len(own) else "all real media",
        }
        yield about, pd.concat([part, own if len(own) else reals])


def _panel(part: pd.DataFrame, prior: float, draws: int) -> dict[str, Any]:
    fake = (part["label"] == "fake").to_numpy()
    scored = part["rank"].notna().to_numpy()
    groups = part["group"].to_numpy()
    figures = panel(fake, part["rank"], part["score"], groups, prior=prior, draws=draws)
    counts: dict[str, Any] = {}
    for name, of in (("real", ~fake), ("fake", fake)):
        counts[name] = {
            "scored": int((of & scored).sum()),
            "not_scored": int((of & ~scored).sum()),
            "groups": len(set(groups[of & scored])),
        }
    worst = worst_case_auc(fake, part["rank"])
    return {
        **counts,
        "groups": len(set(groups[scored])),
        "indicative": min(counts["real"]["groups"], counts["fake"]["groups"]) < MIN_GROUPS,
        **{name: estimate.to_json() for name, estimate in figures.items()},
        "worst_case_auc": round(worst, 4) if np.isfinite(worst) else None,
    }


def _operating_points(items: pd.DataFrame) -> list[dict[str, Any]]:
    """Rates at the bundle's own thresholds: over all, and by fake method or real source."""
    flagged = (outcome(items) == "flagged").to_numpy()
    cleared = (outcome(items) == "cleared").to_numpy()
    scored = items["rank"].notna().to_numpy()
    entries = []
    for about, chosen in _sources(items):
        fake = about["label"] == "fake"
        # A fake on which the bundle abstains is missed. A real that was not scored cannot be a
        # false alarm, and counting it would only make the rate look better.
        of = chosen if fake else chosen & scored
        groups = items["group"].to_numpy()[of]
        entries.append(
            {
                **about,
                ("true_positive_rate" if fake else "false_positive_rate"): _rate(
                    flagged[of], groups
                ),
                "cleared_rate": _rate(cleared[of], groups),
            }
        )
    return entries


def _coverage(items: pd.DataFrame) -> list[dict[str, Any]]:
    became = outcome(items)
    entries = []
    for about, chosen in _sources(items):
        part = became[chosen]
        decided = part.isin(["flagged", "cleared"])
        groups = items["group"].to_numpy()[chosen]
        frames = items.loc[chosen, ["sampled", "with_face", "failed"]].sum()
        entries.append(
            {
                **about,
                "media": len(part),
                "scored": int(items.loc[chosen, "rank"].notna().sum()),
                **{name: int((part == name).sum()) for name in OUTCOMES},
                "decided_rate": _rate(decided.to_numpy(), groups),
                "reasons": _reasons(items[chosen], became[chosen]),
                "frames": {k: int(v) for k, v in frames.items()},
            }
        )
    return entries


def _reasons(items: pd.DataFrame, became: pd.Series) -> dict[str, int]:
    """Why items were not decided, most frequent first."""
    abstained = items.loc[~became.isin(["flagged", "cleared"]), "reason"].dropna()
    return {str(k): int(v) for k, v in abstained.value_counts().items()}


def _sources(items: pd.DataFrame) -> Iterator[tuple[dict[str, str], np.ndarray]]:
    for label in ("real", "fake"):
        of = (items["label"] == label).to_numpy()
        if not of.any():
            continue
        yield {"scope": "all", "label": label, "name": label}, of
        for (dataset, method), _ in items[of].groupby(["dataset", "method"], sort=True):
            chosen = of & ((items["dataset"] == dataset) & (items["method"] == method)).to_numpy()
            yield (
                {
                    "scope": "source",
                    "label": label,
                    "name": str(method),
                    "dataset": str(dataset),
                },
                chosen,
            )


def _false_positives(items: pd.DataFrame) -> list[dict[str, Any]]:
    """False positive rate by published attribute of the subject, on scored reals."""
    entries = []
    real = items[(items["label"] == "real") & items["rank"].notna()]
    for column in sorted(c for c in items.columns if c.startswith("attribute_")):
        for value, part in real.groupby(column, sort=True):
            entries.append(
                {
                    "attribute": column.removeprefix("attribute_"),
                    "value": str(value),
                    "false_positive_rate": _rate(
                        (part["verdict"] == VerdictCode.LIKELY_MANIPULATED).to_numpy(),
                        part["group"].to_numpy(),
                    ),
                }
            )
    return entries


def _rate(hits: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    estimate = rate(hits, groups)
    return {**estimate.to_json(), "indicative": estimate.groups < MIN_GROUPS}
