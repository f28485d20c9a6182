"""Error rates by condition: what ``reliability.json`` of a bundle states."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from deepfake_eval.metrics import auc, rate

FACE_WIDTH_BINS_PX = (0.0, 96.0, 160.0, 320.0, float("inf"))
MIN_GROUPS = 10
"""Figures that rest on fewer groups are marked indicative."""


def error_rates(values: pd.DataFrame, threshold: float) -> dict[str, Any]:
    """TPR, FPR and AUC of ``values`` (label, group, log_likelihood_ratio) at ``threshold``."""
    real, fake = values[values["label"] == "real"], values[values["label"] == "fake"]
    entry: dict[str, Any] = {}
    for name, part in (("false_positive_rate", real), ("true_positive_rate", fake)):
        estimate = rate(part["log_likelihood_ratio"] >= threshold, part["group"])
        entry[name] = estimate.to_json()
        entry[name]["indicative"] = estimate.groups < MIN_GROUPS
    if len(real) and len(fake):
        entry["auc"] = auc(
            (values["label"] == "fake").to_numpy(int),
            values["log_likelihood_ratio"],
            values["group"],
        ).to_json()
    return entry


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
    for (dataset, method), part in values.groupby(["dataset", "method"], sort=True):
        label = str(part["label"].iloc[0])
        name = "false_positive_rate" if label == "real" else "true_positive_rate"
        estimate = rate(part["log_likelihood_ratio"] >= threshold, part["group"])
        entry: dict[str, Any] = {"dataset": dataset, "method": method, "label": label}
        entry[name] = {**estimate.to_json(), "indicative": estimate.groups < MIN_GROUPS}
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
