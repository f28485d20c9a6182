"""Measure what a bundle states of itself: ``reliability.json``, ``conditions`` and ``histograms``.

Error rates by condition need enough groups of both classes in each bin of face width and sharpness.
So the edges of bins are quartiles of both measurements, as many of them as leave nearly every face
in a bin whose rates are known.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.analysis.in_sample import is_fitted
from deepfake_eval.analysis.intervals import limited_weights, rate
from deepfake_eval.analysis.metrics import auc
from deepfake_eval.errors import RunError
from deepfake_eval.inference.predictions import read_run
from deepfake_models.bundle.bundle import BundleSpec, load_bundle
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.bundle.spec import (
    Calibration,
    ConditionBin,
    ConditionsSpec,
    Histograms,
    LevelCalibrations,
    MeasuredRate,
    ValueHistogram,
)
from deepfake_models.decision.level import log_likelihood_ratio, time_weighted_mean
from deepfake_models.machine import atomic_write_text

FACE_WIDTH_BINS_PX = (0.0, 96.0, 160.0, 320.0, float("inf"))
"""Edges of the table of faces by width alone."""

REQUIRED_COLUMNS = (
    "level", "dataset", "media", "label", "method", "group", "kind", "track", "main", "time_s",
    "logit", "log_likelihood_ratio", "face_px", "sharpness", "verdict", "rank", "fitted",
)  # fmt: skip


MEASURED_SHARE = 0.95
"""Share of the judged faces of either class that should be in a bin with enough groups."""

_QUANTILES = (0.25, 0.5, 0.75)
_CLASSES = ["real", "fake"]
_RATES = {"false_positive_rate": "real", "true_positive_rate": "fake"}
"""The class that each rate is of."""
_MEASURES = (("face_px", 0), ("sharpness", 1))
"""The two measurements, and the decimals to which edges are rounded."""

LARGE_GROUP = 8
"""Media from which a group has a line of its own."""

HISTOGRAM_STEP = 0.25
"""Width of a bin in log10 likelihood ratios: a factor of 1.8 in the odds."""


def reliability_table(faces: pd.DataFrame, spec: BundleSpec) -> dict[str, Any]:
    """Return the error rates by ``spec`` of faces, also by face width, of tracks, and by condition.

    ``faces`` are held-out ones, of fakes only the main person's, with the columns of
    ``track_table``, ``face_px`` and ``sharpness``; the logit is NaN for those not judged. A rate
    from fewer groups than ``spec.conditions.min_groups`` is marked ``indicative``, and so is an AUC
    if either class has fewer.
    """
    min_groups = spec.conditions.min_groups
    face_threshold = spec.thresholds.face.likely_manipulated
    track_threshold = spec.thresholds.track.likely_manipulated
    faces = _valued(faces, "logit", spec.calibration.face)
    judged = faces[faces["logit"].notna()]
    tracks = _valued(track_table(judged, spec), "raw", spec.calibration.track)
    widths = pd.cut(judged["face_px"], list(FACE_WIDTH_BINS_PX), right=False)
    by_width = []
    for interval, part in judged.groupby(widths, observed=True):
        high = float(interval.right)
        by_width.append(
            {
                "face_px": [float(interval.left), high if np.isfinite(high) else None],
                **_error_rates(part, face_threshold, min_groups),
            }
        )
    return {
        "format_version": 1,
        "level_face": {
            "threshold": face_threshold,
            "overall": _error_rates(judged, face_threshold, min_groups),
            "by_face_width": by_width,
        },
        "level_track": {
            "threshold": track_threshold,
            "overall": _error_rates(tracks, track_threshold, min_groups),
        },
        "by_condition": condition_table(faces, face_threshold, min_groups),
    }


def _valued(rows: pd.DataFrame, column: str, calibration: Calibration) -> pd.DataFrame:
    ratios = [log_likelihood_ratio(float(raw), calibration) for raw in rows[column]]
    return rows.assign(log_likelihood_ratio=ratios)


def _error_rates(values: pd.DataFrame, threshold: float, min_groups: int) -> dict[str, Any]:
    entry = _rates(values, threshold, min_groups)
    fake = (values["label"] == "fake").to_numpy(int)
    if 0 < fake.sum() < len(fake):
        area = auc(fake, values["log_likelihood_ratio"], values["group"])
        entry["auc"] = area.to_json(min_groups=min_groups)
    return entry


def _rates(values: pd.DataFrame, threshold: float, min_groups: int) -> dict[str, Any]:
    rates = {}
    for name, label in _RATES.items():
        part = values[values["label"] == label]
        estimate = rate(part["log_likelihood_ratio"] >= threshold, part["group"])
        rates[name] = estimate.to_json(min_groups=min_groups)
    return rates


def media_tables(items: pd.DataFrame, min_groups: int) -> dict[str, Any]:
    """Return how often whole videos and whole pictures were called manipulated, by their verdicts.

    ``items`` holds held-out media with the columns label, group, kind, verdict and rank. A group
    counts a limited number of times, as it does for the thresholds (``limited_weights``).
    """
    tables: dict[str, Any] = {}
    for level, kind in (("level_item", "video"), ("level_picture", "image")):
        media = _counted(items[items["kind"] == kind])
        tables[level] = {"overall": {}}
        for name, label in _RATES.items():
            part = media[media["label"] == label]
            called = rate(part["called"], part["group"], limited_weights(part["group"]))
            tables[level]["overall"][name] = called.to_json(min_groups=min_groups)
    return tables


def _counted(items: pd.DataFrame) -> pd.DataFrame:
    """Return the media that count, with a column ``called``: whether called manipulated.

    A manipulated medium on which the bundle abstains counts as missed. A real one that was not
    scored is left out, because it cannot be a false alarm.
    """
    counted = items[(items["label"] != "real") | items["rank"].notna()]
    return counted.assign(called=counted["verdict"] == str(VerdictCode.LIKELY_MANIPULATED))


def group_table(items: pd.DataFrame) -> list[dict[str, Any]]:
    """Return how many media of each large group were called manipulated, by kind and label.

    ``items`` are as for ``media_tables``. Groups of fewer than ``LARGE_GROUP`` media are left out.
    """
    keys = ["group", "kind", "label"]
    return [
        {
            **dict(zip(keys, of, strict=True)),
            "media": len(part),
            "called": int(part["called"].sum()),
        }
        for of, part in _counted(items).groupby(keys, sort=True)
        if len(part) >= LARGE_GROUP
    ]


def track_table(faces: pd.DataFrame, spec: BundleSpec) -> pd.DataFrame:
    """Return a row for each track of a video with enough judged faces, in a stable order.

    ``faces`` are rows of level ``face``, of which those without a logit are ignored. ``raw`` is the
    track's value before calibration; the other columns are dataset, media, track, label, method,
    group and main.
    """
    rows: list[dict[str, Any]] = []
    judged = faces[(faces["kind"] == "video") & faces["logit"].notna()]
    for (dataset, media, track), part in judged.groupby(["dataset", "media", "track"], sort=True):
        if len(part) < spec.aggregation.min_track_faces:
            continue
        ordered = part.sort_values("time_s")
        labels = {c: ordered[c].iloc[0] for c in ("label", "method", "group")}
        labels["main"] = bool(ordered["main"].iloc[0])
        times, logits = ordered["time_s"].tolist(), ordered["logit"].tolist()
        raw = time_weighted_mean(times, logits, spec.sampling.interval_s)
        rows.append({"dataset": dataset, "media": media, "track": track, **labels, "raw": raw})
    columns = ["dataset", "media", "track", "label", "method", "group", "main", "raw"]
    return pd.DataFrame(rows, columns=columns)


def write_reliability(bundle_dir: Path, predictions: Path, out: Path) -> dict[str, Any]:
    """Measure a bundle on the predictions of a run; write the rates to ``out`` as JSON.

    Return the same content: that of ``reliability_table`` and ``media_tables``, and the number of
    media ``left_out`` because the weights were fitted on them. The bundle is not changed, because
    its files are sealed.

    Raises:
        BundleError: the bundle is incomplete or altered.
        RunError: the file was not written by ``deepfake-eval run`` with this bundle, the weights
            were fitted on all media, or no face was judged.
    """
    bundle = load_bundle(bundle_dir)
    spec = bundle.spec
    everything, metrics = read_run(predictions, REQUIRED_COLUMNS)
    if metrics["bundle"]["sha256"] != bundle.sha256:
        raise RunError(
            f"{predictions} was scored with another bundle. Run deepfake-eval run again."
        )
    fitted = is_fitted(everything["fitted"])
    left_out = int((fitted & (everything["level"] == "item")).sum())
    everything = everything[~fitted]
    faces = everything[everything["level"] == "face"]
    # The label of a medium describes its main person: a bystander in a fake is real.
    faces = faces[faces["main"].astype(bool) | (faces["label"] == "real")]
    if faces["logit"].isna().all():
        raise RunError(
            "All judged faces are of media that the bundle was fitted on, so they say nothing "
            "about others. Measure media that it has not seen."
            if left_out
            else "No face was judged in these predictions. Measure more media."
        )
    items = everything[everything["level"] == "item"]
    rates = {
        **reliability_table(faces, spec),
        "bundle": bundle.model_json(),
        "left_out": left_out,
        **media_tables(items, spec.conditions.min_groups),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(out, json.dumps(rates, indent=2, ensure_ascii=False) + "\n")
    return rates


def condition_table(faces: pd.DataFrame, threshold: float, min_groups: int) -> dict[str, Any]:
    """Return FPR and TPR at ``threshold`` by face width and sharpness.

    ``faces`` holds held-out faces with the columns label, group, ``log_likelihood_ratio`` (NaN if
    not judged, which counts in no rate), ``face_px`` and ``sharpness``; of fakes, only the main
    person's. ``threshold`` is the bundle's ``thresholds.face.likely_manipulated``. ``decides`` is
    false where a class has judged faces of fewer than ``min_groups`` groups. The bins follow the
    faces; see ``adaptive_edges``.
    """
    bins = []
    edges = adaptive_edges(faces[faces["log_likelihood_ratio"].notna()], min_groups)
    places = _places(faces, edges)
    spans = (itertools.pairwise((0.0, *inner, None)) for inner in (edges.face_px, edges.sharpness))
    for place, (width, sharpness) in enumerate(itertools.product(*spans)):
        part = faces[places == place]
        judged = part[part["log_likelihood_ratio"].notna()]
        rates = _rates(judged, threshold, min_groups)
        bins.append(
            {
                "face_px": list(width),
                "sharpness": list(sharpness),
                **rates,
                "not_judged": len(part) - len(judged),
                "decides": not any(r["indicative"] for r in rates.values()),
            }
        )
    return {"level": "face", "threshold": threshold, "min_groups": min_groups, "bins": bins}


def conditions(table: Mapping[str, Any]) -> ConditionsSpec:
    """Return the conditions under which a bundle may decide, from a ``condition_table``."""
    edges = {
        f"{measure}_edges": tuple(sorted({b[measure][0] for b in table["bins"]})[1:])
        for measure, _ in _MEASURES
    }
    rows = itertools.groupby(table["bins"], key=lambda b: b["face_px"])
    bins = tuple(tuple(map(_condition_bin, row)) for _, row in rows)
    return ConditionsSpec(**edges, min_groups=table["min_groups"], bins=bins)


def _condition_bin(entry: Mapping[str, Any]) -> ConditionBin:
    return ConditionBin.model_validate(
        {name: {key: entry[name][key] for key in MeasuredRate.model_fields} for name in _RATES}
    )


@dataclass(frozen=True, slots=True)
class Edges:
    """Inner edges of bins, ascending, at least one of each measurement."""

    face_px: tuple[float, ...]
    sharpness: tuple[float, ...]


def adaptive_edges(judged: pd.DataFrame, min_groups: int) -> Edges:
    """Return the edges that make the most bins with nearly every face in a measured one.

    A bin is measured if it has faces of at least ``min_groups`` groups of each class. Of all
    choices of quartiles, at least one of each measurement, those count that have
    ``MEASURED_SHARE`` of the real and of the manipulated faces in measured bins; without any, the
    choice with the largest share is returned. Of choices with equally many bins, that is so too.

    ``judged`` are held-out faces with the columns label, group, ``face_px`` and ``sharpness``.
    """
    face_px, sharpness = (_quantiles(judged, *measure) for measure in _MEASURES)
    options = [Edges(a, b) for a in _choices(face_px) for b in _choices(sharpness)]

    def merit(edges: Edges) -> tuple[float, ...]:
        share = _measured_share(judged, edges, min_groups)
        bins = (len(edges.face_px) + 1) * (len(edges.sharpness) + 1)
        return (1.0, bins, share) if share >= MEASURED_SHARE else (0.0, share, -bins)

    return max(options, key=merit)


def _measured_share(judged: pd.DataFrame, edges: Edges, min_groups: int) -> float:
    """Return the share of faces in measured bins, of the class that has fewer in them."""
    if judged.empty:
        return 1.0
    place = pd.Series(_places(judged, edges), index=judged.index)
    groups = judged.groupby([place, "label"])["group"].nunique().unstack(fill_value=0)
    measured = (groups.reindex(columns=_CLASSES, fill_value=0) >= min_groups).all(axis=1)
    return float(place.map(measured).groupby(judged["label"]).mean().min())


def _places(faces: pd.DataFrame, edges: Edges) -> NDArray[np.intp]:
    """Return the number of each face's bin, (N,), row by row of face widths."""
    row = np.searchsorted(edges.face_px, faces["face_px"], side="right")
    return row * (len(edges.sharpness) + 1) + np.searchsorted(
        edges.sharpness, faces["sharpness"], side="right"
    )


def _choices(edges: tuple[float, ...]) -> Iterator[tuple[float, ...]]:
    for count in range(1, len(edges) + 1):
        yield from itertools.combinations(edges, count)


def _quantiles(judged: pd.DataFrame, measure: str, digits: int) -> tuple[float, ...]:
    """Return the quartiles of a measurement, with equal weight for both classes and all groups."""
    values = judged[measure].to_numpy(np.float64)
    if not len(values):
        return (1.0,)
    order = np.argsort(values, kind="stable")
    faces = judged.groupby(["label", "group"])["group"].transform("size").to_numpy(np.float64)
    groups = judged.groupby("label")["group"].transform("nunique").to_numpy(np.float64)
    share = np.cumsum((1.0 / (faces * groups))[order])
    places = np.searchsorted(share, np.array(_QUANTILES) * share[-1])
    edges = np.unique(np.round(values[order][np.minimum(places, len(values) - 1)], digits))
    return tuple(float(e) for e in edges if e > 0.0) or (1.0,)


def value_histogram(
    items: pd.DataFrame, kind: Literal["video", "image"], limit: float, min_groups: int
) -> ValueHistogram | None:
    """Count media by value and class; ``None`` if either class is of too few groups.

    ``items`` are held-out media with the columns label, group, kind and log_likelihood_ratio; those
    without a value are left out. ``limit`` is the largest value, in either direction.
    """
    valued = items[(items["kind"] == kind) & items["log_likelihood_ratio"].notna()]
    bins = math.ceil(round(limit / HISTOGRAM_STEP, 9))
    edges = HISTOGRAM_STEP * np.arange(-bins, bins + 1)
    counts, groups = {}, {}
    for label in ("real", "fake"):
        part = valued[valued["label"] == label]
        values = np.clip(part["log_likelihood_ratio"].to_numpy(np.float64), edges[0], edges[-1])
        counts[label] = tuple(np.histogram(values, edges)[0].tolist())
        groups[label] = int(part["group"].nunique())
    if min(groups.values()) < min_groups:
        return None
    return ValueHistogram(
        edges=tuple(edges.tolist()),
        real=counts["real"],
        fake=counts["fake"],
        real_groups=groups["real"],
        fake_groups=groups["fake"],
    )


def histograms(
    items: pd.DataFrame, calibration: LevelCalibrations, min_groups: int
) -> Histograms | None:
    """Return the histograms of videos and of stills; ``None`` if there are too few of both."""
    videos = value_histogram(items, "video", calibration.item.limit, min_groups)
    stills = value_histogram(items, "image", calibration.face.limit, min_groups)
    return Histograms(item=videos, picture=stills) if videos or stills else None
