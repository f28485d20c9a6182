"""Error rates by condition: what ``reliability.json`` and ``conditions`` of a bundle state."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake_eval.analysis.metrics import Estimate, auc, rate
from deepfake_eval.errors import RunError
from deepfake_eval.io import write_text
from deepfake_models.bundle import Bundle, BundleSpec, load_bundle, seal
from deepfake_models.decision.calibration import log_likelihood_ratio
from deepfake_models.decision.conditions import time_weighted_mean
from deepfake_models.results import VerdictCode
from deepfake_models.spec import ConditionBin, ConditionsSpec, MeasuredRate

FACE_WIDTH_BINS_PX = (0.0, 96.0, 160.0, 320.0, float("inf"))
SHARPNESS_BINS = (0.0, 6.0, 12.0, 20.0, float("inf"))
"""Of ``Quality.sharpness``: a blurred or smoothed face is low. Few manipulated faces under 6 can be
had; with finer bins common faces too would lie where ``MIN_GROUPS`` are not reached."""

BLOCKINESS_BINS = (0.0, 1.1, 1.3, 1.6, float("inf"))
"""Of ``Quality.blockiness``: 1 without visible blocks of compression, more with them."""

MIN_GROUPS = 10
"""Figures that rest on fewer groups are marked indicative, and decide nothing."""

NEEDED = (
    "level", "dataset", "media", "label", "method", "group", "kind", "track", "main", "time_s",
    "logit", "log_likelihood_ratio", "face_px", "sharpness", "blockiness",
)  # fmt: skip


def error_rates(values: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """TPR, FPR and AUC of ``values`` (label, group, log_likelihood_ratio) at ``threshold``."""
    entry = _rates(values, threshold)
    if values["label"].nunique() == 2:
        entry["auc"] = auc(
            (values["label"] == "fake").to_numpy(int),
            values["log_likelihood_ratio"],
            values["group"],
        ).to_json()
    return entry


def _rates(values: pd.DataFrame, threshold: float) -> dict[str, Any]:
    return {name: _marked(e) for name, e in _estimates(values, threshold).items()}


def _marked(estimate: Estimate) -> dict[str, Any]:
    return {**estimate.to_json(), "indicative": estimate.groups < MIN_GROUPS}


def _estimates(values: pd.DataFrame, threshold: float) -> dict[str, Estimate]:
    estimates = {}
    for name, label in (("false_positive_rate", "real"), ("true_positive_rate", "fake")):
        part = values[values["label"] == label]
        estimates[name] = rate(part["log_likelihood_ratio"] >= threshold, part["group"])
    return estimates


def reliability_table(
    faces: pd.DataFrame, tracks: pd.DataFrame, *, face_threshold: float, track_threshold: float
) -> dict[str, Any]:
    """Error rates of held-out faces by face width and by source, and of tracks by source.

    ``faces`` carries ``face_px`` and ``log_likelihood_ratio``; both frames carry label, method,
    dataset and group. A fake method is measured against the real material of its own data set
    where there is any, else against all of it.
    """
    widths = pd.cut(faces["face_px"], list(FACE_WIDTH_BINS_PX), right=False)
    by_width = []
    for interval, part in faces.groupby(widths, observed=True):
        high = float(interval.right)
        by_width.append(
            {
                "face_px": [float(interval.left), high if np.isfinite(high) else None],
                **error_rates(part, face_threshold),
            }
        )
    return {
        "format_version": 1,
        "level_face": {
            "threshold": face_threshold,
            "overall": error_rates(faces, face_threshold),
            "by_face_width": by_width,
            "by_source": _by_source(faces, face_threshold),
        },
        "level_track": {
            "threshold": track_threshold,
            "overall": error_rates(tracks, track_threshold),
            "by_source": _by_source(tracks, track_threshold),
        },
    }


def _by_source(values: pd.DataFrame, threshold: float) -> list[dict[str, Any]]:
    entries = []
    for (dataset, method, label), part in values.groupby(["dataset", "method", "label"], sort=True):
        name = "false_positive_rate" if label == "real" else "true_positive_rate"
        estimate = rate(part["log_likelihood_ratio"] >= threshold, part["group"])
        entry: dict[str, Any] = {"dataset": dataset, "method": method, "label": label}
        entry[name] = _marked(estimate)
        if label == "fake":
            real = values[values["label"] == "real"]
            own = real[real["dataset"] == dataset]
            against = own if len(own) else real
            both = pd.concat([part, against])
            if len(against):
                entry["auc"] = auc(
                    (both["label"] == "fake").to_numpy(int),
                    both["log_likelihood_ratio"],
                    both["group"],
                ).to_json()
                entry["auc"]["against"] = dataset if len(own) else "all real sources"
        entries.append(entry)
    return entries


def item_table(items: pd.DataFrame) -> dict[str, Any]:
    """How often whole videos were called manipulated, by the verdicts that they got.

    ``items`` carries label, group, kind, verdict and rank of held-out media. A manipulated video on
    which the bundle abstains was not found; a real one that was not scored cannot be a false alarm
    and does not count.
    """
    videos = items[items["kind"] == "video"]
    parts = {
        "false_positive_rate": videos[(videos["label"] == "real") & videos["rank"].notna()],
        "true_positive_rate": videos[videos["label"] == "fake"],
    }
    called = str(VerdictCode.LIKELY_MANIPULATED)
    return {
        "overall": {
            name: _marked(rate(part["verdict"] == called, part["group"]))
            for name, part in parts.items()
        }
    }


def write_reliability(
    bundle_dir: Path, predictions: Sequence[Path], out: Path, *, bundle_out: Path | None = None
) -> dict[str, Any]:
    """Measure the bundle on what runs of it left in ``predictions``, and write ``out`` as JSON.

    The content is ``reliability_table``'s with ``by_condition``, which is returned as well. The
    bundle is not touched: its files are sealed. ``bundle_out`` is a new one beside it, with this
    table as its ``reliability.json`` and with its ``conditions``: where it may decide.

    Raises:
        BundleError: the bundle is incomplete or altered.
        RunError: a file was not written by ``deepfake-eval run`` with this bundle, two of them
            hold the same medium, no face was judged, or ``bundle_out`` is there already.
    """
    if bundle_out and bundle_out.exists():
        raise RunError(f"{bundle_out}: is there already; name a new folder")
    bundle = load_bundle(bundle_dir)
    spec = bundle.spec
    tables = [_read(path, bundle) for path in predictions]
    everything = pd.concat(tables, ignore_index=True)
    media = pd.concat([t[["dataset", "media"]].drop_duplicates() for t in tables])
    if media.duplicated().any():
        raise RunError("two of the files hold predictions of the same medium")
    faces = everything[everything["level"] == "face"]
    # A data set's label speaks of its main person: a bystander in a fake is real.
    faces = faces[faces["main"].astype(bool) | (faces["label"] == "real")]
    judged = faces[faces["logit"].notna()]
    if judged.empty:
        raise RunError("no face was judged in these predictions")
    limits = spec.thresholds
    tracks = _tracks(judged, spec)
    table = {
        **reliability_table(
            judged,
            tracks,
            face_threshold=limits.face.likely_manipulated,
            track_threshold=limits.track.likely_manipulated,
        ),
        "by_condition": condition_table(faces, limits.face.likely_manipulated),
        "bundle": bundle.model_json(),
    }
    items = everything[everything["level"] == "item"]
    if not bundle_out and {"verdict", "rank"} <= set(items.columns):
        # By verdicts of this bundle: one that may decide elsewhere would give others.
        table["level_item"] = item_table(items)
    text = json.dumps(table, indent=2, ensure_ascii=False) + "\n"
    write_text(out, text)
    if bundle_out:
        measured = conditions(faces, limits.face.likely_manipulated)
        _seal_copy(bundle, bundle_out, text, measured)
    return table


def _seal_copy(bundle: Bundle, out: Path, reliability: str, measured: ConditionsSpec) -> None:
    shutil.copytree(bundle.directory, out)
    write_text(out / "reliability.json", reliability)
    card = out / "MODEL_CARD.md"
    note = (
        "\n## Measured anew\n\nThe error rates that this bundle goes by were measured on other "
        "material than the tables above: see `reliability.json`.\n"
    )
    write_text(card, card.read_text(encoding="utf-8") + note)
    fields = bundle.spec.model_dump(exclude={"files", "format_version"})
    fields["conditions"] = measured.model_dump()
    seal(out, fields)


def conditions(faces: pd.DataFrame, threshold: float) -> ConditionsSpec:
    """Measure for a bundle where it may decide: rates of ``faces`` at ``threshold``.

    ``faces`` are held-out and carry label, group, ``log_likelihood_ratio`` (NaN where not judged,
    which counts nowhere), ``face_px`` and ``sharpness``; of fakes the main person's alone. The bins
    are those of ``condition_table`` by face width and sharpness. ``threshold`` is that of the
    bundle's ``thresholds.face.likely_manipulated``.
    """
    judged = faces[faces["log_likelihood_ratio"].notna()]

    def measured(width: tuple[float, float], sharpness: tuple[float, float]) -> ConditionBin:
        part = _inside(judged, face_px=width, sharpness=sharpness)
        rates = {
            name: MeasuredRate.model_validate(estimate.to_json())
            for name, estimate in _estimates(part, threshold).items()
        }
        return ConditionBin(**rates)

    return ConditionsSpec(
        face_px_edges=FACE_WIDTH_BINS_PX[1:-1],
        sharpness_edges=SHARPNESS_BINS[1:-1],
        min_groups=MIN_GROUPS,
        bins=tuple(
            tuple(measured(width, span) for span in _spans(SHARPNESS_BINS))
            for width in _spans(FACE_WIDTH_BINS_PX)
        ),
    )


def condition_table(faces: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """TPR and FPR of ``faces`` at ``threshold`` by face width and sharpness or blockiness.

    ``faces`` carries label, group, ``log_likelihood_ratio`` (NaN where not judged), ``face_px``,
    ``sharpness`` and ``blockiness``. Rates are those of judged faces. Every bin is listed; one in
    which a class has faces of fewer than ``MIN_GROUPS`` groups does not ``decides``.
    """
    bins = [
        _condition(faces, threshold, width, measure, span)
        for measure, edges in (("sharpness", SHARPNESS_BINS), ("blockiness", BLOCKINESS_BINS))
        for width in _spans(FACE_WIDTH_BINS_PX)
        for span in _spans(edges)
    ]
    return {"level": "face", "threshold": threshold, "min_groups": MIN_GROUPS, "bins": bins}


def _condition(
    faces: pd.DataFrame,
    threshold: float,
    width: tuple[float, float],
    measure: str,
    span: tuple[float, float],
) -> dict[str, Any]:
    part = _inside(faces, **{"face_px": width, measure: span})
    judged = part[part["log_likelihood_ratio"].notna()]
    rates = _rates(judged, threshold)
    return {
        "face_px": _stated(width),
        measure: _stated(span),
        **rates,
        "not_judged": len(part) - len(judged),
        "decides": not any(r["indicative"] for r in rates.values()),
    }


def _spans(edges: Sequence[float]) -> Iterator[tuple[float, float]]:
    return itertools.pairwise(edges)


def _inside(faces: pd.DataFrame, **spans: tuple[float, float]) -> pd.DataFrame:
    for measure, (low, high) in spans.items():
        faces = faces[(faces[measure] >= low) & (faces[measure] < high)]
    return faces


def _stated(span: tuple[float, float]) -> list[float | None]:
    return [span[0], span[1] if np.isfinite(span[1]) else None]


def _tracks(judged: pd.DataFrame, spec: BundleSpec) -> pd.DataFrame:
    """A row a track of a video with enough judged faces, valued as the bundle values tracks."""
    rows: list[dict[str, Any]] = []
    videos = judged[judged["kind"] == "video"]
    for _, part in videos.groupby(["dataset", "media", "track"], sort=True):
        if len(part) < spec.aggregation.min_track_faces:
            continue
        ordered = part.sort_values("time_s")
        raw = time_weighted_mean(
            ordered["time_s"].tolist(), ordered["logit"].tolist(), spec.sampling.interval_s
        )
        labels = {c: ordered[c].iloc[0] for c in ("label", "method", "dataset", "group")}
        ratio = log_likelihood_ratio(raw, spec.calibration.track)
        rows.append({**labels, "log_likelihood_ratio": ratio})
    return pd.DataFrame(
        rows, columns=["label", "method", "dataset", "group", "log_likelihood_ratio"]
    )


def _read(path: Path, bundle: Bundle) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: not a readable Parquet file") from error
    if not set(NEEDED) <= set(table.columns) or "degradation" in table.columns:
        raise RunError(f"{path}: not the predictions of deepfake-eval run")
    judged = table[(table["level"] == "face") & table["logit"].notna()]
    calibration = bundle.spec.calibration.face
    ratios = [log_likelihood_ratio(float(z), calibration) for z in judged["logit"]]
    metrics = path.with_name("metrics.json")
    try:
        stated = json.loads(metrics.read_text(encoding="utf-8"))["bundle"]["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        # The table alone was passed on: its calibration tells bundles apart.
        stated = bundle.sha256
    same = np.allclose(ratios, judged["log_likelihood_ratio"].to_numpy(dtype=np.float64))
    if stated != bundle.sha256 or not same:
        raise RunError(f"{path}: scored with another bundle")
    return table
