"""Count the measured media that the weights of the measured bundle were fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from deepfake_eval.inference.fitted_media import SAME_FILE, SAME_PICTURE


def is_fitted(found: pd.Series) -> pd.Series:
    """Return a mask (N,) bool of the media that the weights were fitted on, by what was found."""
    return found.isin((SAME_FILE, SAME_PICTURE))


def in_sample(items: pd.DataFrame) -> dict[str, Any]:
    """Count the ``items`` that the weights were fitted on, all of them and by data set.

    ``known`` is false if it is not stated of each; then those that are stated count, and not by
    data set.
    """
    if items["fitted"].isna().any():
        return {"known": False, **_counts(items), "datasets": []}
    by_dataset = items.groupby("dataset", sort=True)
    return {
        "known": True,
        **_counts(items),
        "datasets": [{"dataset": str(name), **_counts(part)} for name, part in by_dataset],
    }


def _counts(items: pd.DataFrame) -> dict[str, int]:
    found = items["fitted"]
    return {
        "media": len(items),
        "same_file": int((found == SAME_FILE).sum()),
        "same_picture": int((found == SAME_PICTURE).sum()),
    }


def any_fitted(counts: Mapping[str, Any]) -> bool:
    """Return whether the result of ``in_sample`` counts any medium."""
    return bool(counts.get("same_file") or counts.get("same_picture"))


def in_sample_sentence(counts: Mapping[str, Any]) -> str:
    """Return a result of ``in_sample`` as a sentence."""
    if not counts["known"]:
        return (
            "In sample: not known, because the detector has no list of the media that it was "
            "fitted on."
        )
    media, files, pictures = (counts[k] for k in ("media", "same_file", "same_picture"))
    if not files + pictures:
        return f"In sample: none of {media} media."
    return (
        f"In sample: {files + pictures} of {media} media. The weights were fitted on {files} of "
        f"the files, and {pictures} more begin with the same picture as a fitted medium. Figures "
        "on them say nothing about other media."
    )
