"""``deepfake-eval compare``: the difference between two runs on the media that both scored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfake_eval.analysis.in_sample import any_fitted, in_sample
from deepfake_eval.analysis.intervals import BOOTSTRAP_DRAWS, delong_p_value, p_value
from deepfake_eval.analysis.metrics import auc, auc_value
from deepfake_eval.analysis.pairing import holm, line_up, read_runs
from deepfake_eval.errors import RunError


def compare(a: Path, b: Path, *, draws: int = BOOTSTRAP_DRAWS) -> dict[str, Any]:
    """Return how the AUC of run folder ``a`` differs from that of ``b``.

    Only media scored in both runs are compared; the numbers scored in one run alone are reported.
    ``difference`` is A minus B, with an interval from resampling the same groups in both runs;
    media that share a group in either run are one group. ``parts`` has the same for each data set
    and method, with ``p_value`` corrected for the number of parts that have one (Holm 1979).
    ``delong_p_value`` is that of ``intervals.delong_p_value``, where each medium is its own group.
    ``in_sample`` counts the compared media that the weights of each run were fitted on.

    Raises:
        RunError: a folder has no predictions, the runs have no medium in common or label one
            differently, or a class is missing among the media scored in both.
    """
    runs = read_runs((a, b))
    left, right = (run.items for run in runs)
    both = line_up((left, right))
    if both.empty:
        raise RunError(_nothing_in_common(left, right))
    scored = both[both["rank_0"].notna() & both["rank_1"].notna()]
    if scored["label"].nunique() < 2:
        raise RunError(
            "The media that both runs scored lack a class. Score real and manipulated media in "
            "both."
        )
    min_groups = max(run.metrics["bundle"]["min_groups"] for run in runs)
    measured = [(t, *_difference(part, draws, min_groups)) for t, part in _parts(scored)]
    corrected = iter(holm([p for *_, p in measured if p is not None]))
    parts = [
        {**title, **entry, "p_value": None if p is None else round(float(next(corrected)), 4)}
        for title, entry, p in measured
    ]
    return {
        "a": runs[0].name,
        "b": runs[1].name,
        **_difference(scored, draws, min_groups)[0],
        "scored_in_both": len(scored),
        "scored_in_a_alone": int(left["rank"].notna().sum()) - len(scored),
        "scored_in_b_alone": int(right["rank"].notna().sum()) - len(scored),
        "parts": parts,
        "in_sample": {
            run.name: in_sample(scored.assign(fitted=scored[f"fitted_{number}"]))
            for number, run in enumerate(runs)
        },
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


def _parts(scored: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    """Yield each data set, and if it has several methods each of them beside the same reals."""
    for dataset, part in scored.groupby("dataset", sort=True):
        real, fake = part[part["label"] == "real"], part[part["label"] == "fake"]
        if real.empty or fake.empty:
            continue
        yield {"dataset": str(dataset), "method": ""}, part
        methods = fake.groupby("method", sort=True)
        for method, of_method in methods if methods.ngroups > 1 else ():
            title = {"dataset": str(dataset), "method": str(method)}
            yield title, pd.concat([of_method, real])


def sentence(result: dict[str, Any]) -> str:
    """Return in one sentence which of two compared runs ranks media better.

    One is better if the interval of the difference in AUC excludes 0 and rests on enough groups,
    and it was fitted on none of the media.
    """
    difference = result["difference"]
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    aucs = [(result["auc_a"], result["a"]), (result["auc_b"], result["b"])]
    (first, better), (second, worse) = aucs if value >= 0 else aucs[::-1]
    if low is None:
        size, doubts = f"{abs(value):.3f}, without an interval", ["there is no interval"]
    else:
        low, high = (low, high) if value >= 0 else (-high, -low)
        size = f"{abs(value):.3f} [{low:.3f}, {high:.3f}]"
        doubts = ["the interval includes 0"] * (low <= 0)
    doubts += ["a class has too few groups"] * difference["indicative"]
    doubts += [f"{better} was fitted on some of the media"] * any_fitted(
        result["in_sample"][better]
    )
    shown = f"{better} is better than {worse} by {size} AUC"
    if doubts:
        because = " and ".join(doubts)
        shown = f"No difference is shown, because {because}: AUC of {better} is higher by {size}"
    media = f"{result['scored_in_both']} media of {difference['groups']} groups"
    return f"{shown} ({first:.3f} and {second:.3f} on {media})."


def part_lines(result: dict[str, Any]) -> Iterator[str]:
    """Yield a line for DeLong's test if it applies, and for each data set and method of a result of
    ``compare``."""
    if (delong := result["delong_p_value"]) is not None:
        yield f"  DeLong's test, as each medium is its own group: p = {delong:.3f}"
    for entry in result["parts"]:
        difference = entry["difference"]
        name = f"{entry['dataset']}: {entry['method']}".removesuffix(": ")
        size = f"{difference['value']:+.3f}, without an interval"
        if difference["low"] is not None:
            interval = f"[{difference['low']:+.3f}, {difference['high']:+.3f}]"
            size = f"{difference['value']:+.3f} {interval}, p = {entry['p_value']:.3f}"
        mark = "; indicative" if difference["indicative"] else ""
        aucs = f"{entry['auc_a']:.3f} and {entry['auc_b']:.3f}"
        yield f"  {name}: {size} ({aucs} on {difference['samples']} media{mark})"


def _difference(
    scored: pd.DataFrame, draws: int, min_groups: int
) -> tuple[dict[str, Any], float | None]:
    """Return both AUCs and their difference, and the p-value of that if it has an interval."""
    truth = (scored["label"] == "fake").to_numpy().astype(np.intp)
    a, b = scored["rank_0"].to_numpy(), scored["rank_1"].to_numpy()
    estimate = auc(truth, a, scored["group"].to_numpy(), less=b, draws=draws)
    delong = delong_p_value(truth, a, b) if estimate.groups == len(scored) else np.nan
    entry = {
        "auc_a": round(auc_value(truth, a), 4),
        "auc_b": round(auc_value(truth, b), 4),
        "difference": estimate.to_json(min_groups=min_groups),
        "delong_p_value": round(delong, 4) if np.isfinite(delong) else None,
    }
    return entry, p_value(estimate) if np.isfinite(estimate.low) else None
