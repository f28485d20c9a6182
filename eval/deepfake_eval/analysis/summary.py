"""Compute ``metrics.json`` from predictions: figures by level, data set and method."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from deepfake_eval.analysis.in_sample import in_sample, in_sample_sentence, is_fitted
from deepfake_eval.analysis.intervals import CONFIDENCE, NO_INTERVAL, rate
from deepfake_eval.analysis.metrics import coverage, outcome, panel, worst_case_auc
from deepfake_eval.datasets.base import PICTURE_SUFFIXES
from deepfake_eval.inference.packages import versions
from deepfake_eval.inference.pool import no_progress
from deepfake_models.bundle.bundle import Bundle
from deepfake_models.bundle.results import Leaning, VerdictCode

LEVELS = {
    "item": "Pictures and videos as judged",
    "video": "Videos, mean of frames, nothing dropped",
    "frame": "Frames",
}
"""The levels of figures, and their titles."""
KINDS = {"image": "pictures", "video": "videos"}


@dataclass(frozen=True, slots=True)
class Subject:
    """The detector whose scores are measured: a bundle, or another one known by its scores alone.

    ``facts`` name it in results files. ``prior`` is the share of fakes to which ECE weights the
    classes. A class with fewer than ``min_groups`` groups makes a figure indicative.
    ``thresholds`` are those of pictures and videos, by name; empty if it has none.
    """

    facts: dict[str, Any]
    prior: float
    min_groups: int
    thresholds: dict[str, dict[str, Any]]

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> Subject:
        thresholds = bundle.spec.thresholds
        return cls(
            bundle.model_json(),
            bundle.spec.prior,
            bundle.spec.conditions.min_groups,
            {"picture": thresholds.still.model_dump(), "video": thresholds.item.model_dump()},
        )

    def heading(self) -> dict[str, Any]:
        """Return the first fields of every results file: format, date, and what was measured."""
        return {
            "format_version": 1,
            "created": datetime.now(UTC).replace(microsecond=0).isoformat(),
            "bundle": {
                **self.facts,
                "prior": self.prior,
                "min_groups": self.min_groups,
                "thresholds": self.thresholds,
            },
        }


def summarise(
    predictions: pd.DataFrame,
    subject: Subject,
    *,
    settings: dict[str, Any],
    progress: Callable[[int, int], None] = no_progress,
) -> dict[str, Any]:
    """Return the content of ``metrics.json`` for a table from ``predictions.assemble``.

    Figures are those of ``metrics.panel``, rates those of ``intervals.rate``. The fakes of a method
    are measured against the reals of the same data set, or else against all reals of the same kind.
    ``settings`` describes the run; ``settings["draws"]`` is the number of resamples. A subject
    without thresholds has no rates at them and no coverage. ``progress`` is called with the number
    of finished parts and their total.
    """
    if "fitted" not in predictions.columns:
        predictions = predictions.assign(fitted=None)
    items = predictions[predictions["level"] == "item"]
    tables = {level: predictions[predictions["level"] == level] for level in ("item", "frame")}
    tables["video"] = mean_of_frames(predictions, subject.prior)
    parts = [(level, *part) for level in LEVELS for part in _parts(tables[level])]
    levels: dict[str, list[dict[str, Any]]] = {level: [] for level in LEVELS}
    for number, (level, title, part) in enumerate(parts, start=1):
        levels[level].append({**title, **_panel(part, subject, settings["draws"])})
        progress(number, len(parts))
    min_groups = subject.min_groups
    decided = items if subject.thresholds else items.iloc[:0]
    return {
        **subject.heading(),
        "settings": {**settings, "confidence": CONFIDENCE},
        "versions": {"python": platform.python_version(), **versions()},
        "in_sample": in_sample(items),
        "levels": levels,
        "operating_point": _operating_points(decided, min_groups),
        "coverage": [
            {**source, **coverage(decided[chosen], min_groups)}
            for source, chosen in _sources(decided)
        ],
        "false_positives": _false_positives(decided, min_groups),
    }


def mean_of_frames(predictions: pd.DataFrame, prior: float = 0.5) -> pd.DataFrame:
    """Return a row for each video, ranked by the mean score of its frames, as many papers print it.

    Nothing is dropped: a video without a scored frame counts as chance, with the score ``prior``,
    or the median of the others if scores are not probabilities. The column ``judged`` tells them.
    There are no rows if no frame was scored.
    """
    frames = predictions[(predictions["level"] == "frame") & predictions["rank"].notna()]
    items = predictions[predictions["level"] == "item"]
    suffixes = items["media"].str.lower().str.extract(r"(\.\w+)$")[0]
    # One that could not be decoded is of no kind.
    unclear = (items["kind"] == "") & ~suffixes.isin(PICTURE_SUFFIXES)
    videos = items[(items["kind"] == "video") | unclear]
    calibrated = bool(frames["score"].notna().all())
    column = "score" if calibrated else "rank"
    means = frames.groupby(["dataset", "media"])[column].mean().rename("mean")
    mean = videos.join(means, on=["dataset", "media"])["mean"]
    if mean.isna().all():
        return videos.iloc[:0].assign(judged=False)
    judged, mean = mean.notna(), mean.fillna(prior if calibrated else mean.median())
    score = mean if calibrated else np.nan
    return videos.assign(level="video", kind="video", rank=mean, score=score, judged=judged)


def headline(metrics: Mapping[str, Any]) -> list[str]:
    """Return what must be read first of ``metrics.json``, as sentences."""
    lines = []
    for level, title in LEVELS.items():
        if entries := metrics["levels"][level]:
            lines.append(f"{title}: {_auc_text(entries[0], metrics['bundle']['min_groups'])}")
    counts = metrics["in_sample"]
    lines.append(in_sample_sentence(counts))
    for entry in metrics["levels"]["item"]:
        if entry["scope"] == "not fitted":
            lines.append(f"Without these: {_auc_text(entry, metrics['bundle']['min_groups'])}")
    return lines


def _auc_text(entry: dict[str, Any], min_groups: int) -> str:
    auc, counts = entry["auc"], [entry["real"], entry["fake"]]
    left_out, media = (sum(c[k] for c in counts) for k in ("not_scored", "scored"))
    if auc["value"] is None:
        return f"no AUC, because {'only one class' if media else 'no medium'} was scored."
    interval = "no interval" if auc["low"] is None else f"{auc['low']:.3f} to {auc['high']:.3f}"
    text = f"AUC {auc['value']:.3f} ({interval})"
    if left_out:
        text += (
            f" with {left_out} of {media + left_out} not scored, in the worst case "
            f"{entry['worst_case_auc']:.3f}"
        )
    text += f"; {counts[0]['scored']} real and {counts[1]['scored']} manipulated"
    text += f" of {entry['groups']} groups"
    if entry["indicative"]:
        text += f"; indicative, because a class has fewer than {min_groups} groups"
    if auc["low"] is None:
        text += f". {NO_INTERVAL.removesuffix('.')}"
    if auc["value"] < 0.4:
        text += ". This is below chance: a higher score must mean a more suspect medium"
    return text + "."


def _parts(rows: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Yield the subsets that get figures of their own: all, what the bundle was not fitted on, by
    kind, by data set, by method."""
    if rows.empty:
        return
    yield {"scope": "all", "name": "all"}, rows
    fitted = is_fitted(rows["fitted"])
    if fitted.any() and not fitted.all():
        yield {"scope": "not fitted", "name": "media not in sample"}, rows[~fitted]
    kinds = sorted(k for k in rows["kind"].unique() if k)
    if len(kinds) > 1:
        for kind in kinds:
            yield {"scope": "kind", "name": KINDS[kind]}, rows[rows["kind"] == kind]
    datasets = sorted(rows["dataset"].unique())
    if len(datasets) > 1:
        for dataset in datasets:
            yield {"scope": "dataset", "name": dataset}, rows[rows["dataset"] == dataset]
    reals, fakes = rows[rows["label"] == "real"], rows[rows["label"] == "fake"]
    for (dataset, method), part in fakes.groupby(["dataset", "method"], sort=True):
        against, compared = str(dataset), reals[reals["dataset"] == dataset]
        if compared.empty:
            against, compared = "all real media", reals
            alike = reals[reals["kind"].isin(part["kind"].unique())]
            if len(alike) < len(reals) and part["kind"].nunique() == 1 and len(alike):
                name = KINDS.get(part["kind"].iloc[0], "videos")
                against, compared = f"all real {name}", alike
        title = {"scope": "method", "name": str(method), "dataset": str(dataset)}
        yield {**title, "against": against}, pd.concat([part, compared])


def _panel(part: pd.DataFrame, subject: Subject, draws: int) -> dict[str, Any]:
    fake = (part["label"] == "fake").to_numpy()
    scored = part["rank"].notna().to_numpy()
    groups = part["group"].to_numpy()
    figures = panel(fake, part["rank"], part["score"], groups, prior=subject.prior, draws=draws)
    counts: dict[str, Any] = {}
    for name, in_class in (("real", ~fake), ("fake", fake)):
        counts[name] = {
            "scored": int((in_class & scored).sum()),
            "not_scored": int((in_class & ~scored).sum()),
            "groups": len(set(groups[in_class & scored])),
        }
    fewest = min(counts["real"]["groups"], counts["fake"]["groups"])
    worst = worst_case_auc(fake, part["rank"])
    return {
        **counts,
        "groups": len(set(groups[scored])),
        "indicative": fewest < subject.min_groups,
        **{name: estimate.to_json() for name, estimate in figures.items()},
        "worst_case_auc": round(worst, 4) if np.isfinite(worst) else None,
    }


def _operating_points(items: pd.DataFrame, min_groups: int) -> list[dict[str, Any]]:
    """Return the rates at the bundle's own thresholds, overall and for each source.

    With a bundle that has edges of leaning, also the rates of what leans or is decided either way.
    """
    flagged = (outcome(items) == "flagged").to_numpy()
    cleared = (outcome(items) == "cleared").to_numpy()
    scored = items["rank"].notna().to_numpy()
    # A bundle without edges gives no item a leaning.
    leans = "leaning" in items.columns and bool(items["leaning"].notna().any())
    entries = []
    for source, chosen in _sources(items):
        fake = source["label"] == "fake"
        # A fake on which the bundle abstains is missed. A real that was not scored cannot be a
        # false alarm, and counting it would only make the rate look better.
        counted = chosen if fake else chosen & scored
        groups = items["group"].to_numpy()[counted]
        name = "true_positive_rate" if fake else "false_positive_rate"
        entries.append(
            {
                **source,
                name: rate(flagged[counted], groups).to_json(min_groups=min_groups),
                "cleared_rate": rate(cleared[counted], groups).to_json(min_groups=min_groups),
                **(_leaning_rates(items[counted], min_groups) if leans else {}),
            }
        )
    return entries


def _leaning_rates(items: pd.DataFrame, min_groups: int) -> dict[str, Any]:
    return {
        f"{way}_rate": rate(items["leaning"] == way, items["group"]).to_json(min_groups=min_groups)
        for way in (Leaning.TOWARDS_MANIPULATED, Leaning.TOWARDS_UNTOUCHED)
    }


def _sources(items: pd.DataFrame) -> Iterator[tuple[dict[str, str], np.ndarray]]:
    """Yield each class as a whole, then each of its data sets and methods, with a row mask."""
    for label in ("real", "fake"):
        in_class = (items["label"] == label).to_numpy()
        if not in_class.any():
            continue
        yield {"scope": "all", "label": label, "name": label}, in_class
        for (dataset, method), _ in items[in_class].groupby(["dataset", "method"], sort=True):
            same = ((items["dataset"] == dataset) & (items["method"] == method)).to_numpy()
            source = {
                "scope": "source",
                "label": label,
                "name": str(method),
                "dataset": str(dataset),
            }
            yield source, in_class & same


def _false_positives(items: pd.DataFrame, min_groups: int) -> list[dict[str, Any]]:
    entries = []
    real = items[(items["label"] == "real") & items["rank"].notna()]
    for column in sorted(c for c in items.columns if c.startswith("attribute_")):
        for value, part in real.groupby(column, sort=True):
            flagged = rate(part["verdict"] == VerdictCode.LIKELY_MANIPULATED, part["group"])
            figure = flagged.to_json(min_groups=min_groups)
            shown = {"attribute": column.removeprefix("attribute_"), "value": str(value)}
            entries.append({**shown, "false_positive_rate": figure})
    return entries
