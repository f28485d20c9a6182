"""``deepfake-eval compare``: the difference between two runs on the media that both scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_eval.analysis.intervals import BOOTSTRAP_DRAWS, two_class_estimate
from deepfake_eval.analysis.metrics import auc_value
from deepfake_eval.errors import RunError
from deepfake_eval.inference.predictions import read_run

COLUMNS = ("level", "dataset", "media", "label", "group", "rank")


def compare(a: Path, b: Path, *, draws: int = BOOTSTRAP_DRAWS) -> dict[str, Any]:
    """Return how the AUC of run folder ``a`` differs from that of ``b``.

    Only media scored in both runs are compared; the numbers scored in one run alone are reported.
    ``difference`` is A minus B, with an interval from resampling the same groups in both runs;
    media that share a group in either run are one group. ``in_sample`` names the runs whose weights
    were fitted on a compared data set.

    Raises:
        RunError: a folder has no predictions, the runs have no medium in common or label one
            differently, or a class is missing among the media scored in both.
    """
    runs = [read_run(folder / "predictions.parquet", COLUMNS) for folder in (a, b)]
    (first, _), (second, _) = runs
    metrics = [metrics for _, metrics in runs]
    min_groups = max(run["bundle"]["min_groups"] for run in metrics)
    names = [folder.resolve().name for folder in (a, b)]
    if names[0] == names[1]:
        names = [str(a), str(b)]
    left, right = (t[t["level"] == "item"] for t in (first, second))
    both = left.merge(right, on=["dataset", "media"], suffixes=("_a", "_b"), validate="one_to_one")
    if both.empty:
        raise RunError(_nothing_in_common(left, right))
    if (both["label_a"] != both["label_b"]).any():
        raise RunError("The two runs label a medium differently. Score both with the same labels.")
    scored = both[both["rank_a"].notna() & both["rank_b"].notna()]
    truth = (scored["label_a"] == "fake").to_numpy().astype(np.intp)
    if len(truth) == 0 or truth.min() == truth.max():
        raise RunError(
            "The media that both runs scored lack a class. Score real and manipulated media in "
            "both."
        )
    compared = set(scored["dataset"])
    return {
        **dict(zip("ab", names, strict=True)),
        **_difference(scored, truth, draws, min_groups),
        "scored_in_both": len(scored),
        "scored_in_a_alone": int(left["rank"].notna().sum()) - len(scored),
        "scored_in_b_alone": int(right["rank"].notna().sum()) - len(scored),
        "in_sample": [
            name for name, run in zip(names, metrics, strict=True) if compared & _fitted_on(run)
        ],
    }


def _nothing_in_common(left: pd.DataFrame, right: pd.DataFrame) -> str:
    first, second = (
        f"{run['media'].iloc[0]!r} in the data set {run['dataset'].iloc[0]!r}"
        for run in (left, right)
    )
    return (
        "The two runs have no medium in common. Media are matched by data set and name, and the "
        f"first of one run is {first}, of the other {second}. Give them the same names, in a table "
        "of scores by its columns media and dataset."
    )


def sentence(result: dict[str, Any]) -> str:
    """Return in one sentence which of two compared runs ranks media better.

    The runs differ if the interval of the difference in AUC excludes 0.
    """
    difference, a, b = result["difference"], result["a"], result["b"]
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    better, worse = (a, b) if value >= 0 else (b, a)
    if low is None:
        shown = f"AUC of {better} is higher by {abs(value):.3f}, without an interval"
    else:
        low, high = (low, high) if value >= 0 else (-high, -low)
        size = f"{abs(value):.3f} [{low:.3f}, {high:.3f}]"
        shown = (
            f"{better} is better than {worse} by {size} AUC"
            if low > 0
            else f"No difference is shown: AUC of {better} is higher by {size}"
        )
    doubt = "; indicative, too few groups" if difference["indicative"] else ""
    return (
        f"{shown} ({result['auc_a']:.3f} and {result['auc_b']:.3f} on "
        f"{result['scored_in_both']} media of {difference['groups']} groups{doubt})."
    )


def _fitted_on(metrics: dict[str, Any]) -> set[str]:
    datasets = metrics.get("settings", {}).get("datasets", [])
    return {s["dataset"] for entry in datasets for s in entry.get("training_sources", ())}


def _difference(
    scored: pd.DataFrame, truth: NDArray[np.intp], draws: int, min_groups: int
) -> dict[str, Any]:
    a, b = scored["rank_a"].to_numpy(), scored["rank_b"].to_numpy()
    groups = _joined(scored)

    def difference(rows: NDArray[np.intp]) -> float:
        return auc_value(truth[rows], a[rows]) - auc_value(truth[rows], b[rows])

    estimate = two_class_estimate(difference, truth, groups, draws=draws)
    return {
        "auc_a": round(auc_value(truth, a), 4),
        "auc_b": round(auc_value(truth, b), 4),
        "difference": estimate.to_json(min_groups=min_groups),
    }


def _joined(scored: pd.DataFrame) -> NDArray[np.object_]:
    """Return groups (N,) of the rows that share a group in one of the runs, also through others.

    One of two runs may know the people in its media, where the other takes each for a group.
    """
    a, b = scored["group_a"], scored["group_b"]
    (first, names), (second, others) = pd.factorize(a), pd.factorize(b)
    size = len(names) + len(others)
    links = coo_array((np.ones(len(scored)), (first, second + len(names))), shape=(size, size))
    _, of_name = connected_components(links, directed=False)
    # Named, so that neither the order of the runs nor that of their media has an influence.
    # Group 1 of one run and group 1 of the other may have no medium in common.
    lowest = np.minimum(a.to_numpy(object), b.to_numpy(object))
    named = lowest + "\0" + (scored["dataset"] + "\0" + scored["media"]).to_numpy(object)
    return pd.Series(named).groupby(of_name[first]).transform("min").to_numpy(object)
