"""``deepfake-eval robustness``: how a bundle's figures hold as media are degraded.

Every medium is scored as it is and at each level of each degradation. As in ``run``, each leaves a
line in ``records.jsonl``, so that a sweep goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from deepfake_eval.analysis.metrics import (
    BOOTSTRAP_DRAWS,
    CONFIDENCE,
    Estimate,
    bootstrap,
    coverage,
    outcome,
    rate,
    worst_case_auc,
)
from deepfake_eval.analysis.plots import write_robustness_plots
from deepfake_eval.analysis.summary import heading
from deepfake_eval.datasets import Row
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate import (
    PLOTS,
    PREDICTIONS,
    REPORT,
    record_key,
    source_of,
    stated,
    unique,
)
from deepfake_eval.inference.corruptions import AS_IS, CLIP_FRAMES, DEGRADATIONS, Variant
from deepfake_eval.inference.predictions import assemble
from deepfake_eval.inference.runner import RECORDS, Job, Progress, score_all, silent
from deepfake_eval.reporting.robustness_report import write_robustness_report
from deepfake_models.bundle import load_bundle
from deepfake_models.files import atomic_write_text
from deepfake_models.session import Device

ROBUSTNESS = "robustness.json"


def robustness(
    bundle_dir: Path,
    datasets: Sequence[str],
    out: Path,
    *,
    split: str = "test",
    frames: int | None = 16,
    only: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    workers: int = 1,
    draws: int = BOOTSTRAP_DRAWS,
    device: Device = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Sweep degradations over the rows of ``datasets`` (``NAME[,OPTION=VALUE]:ROOT``), write the
    results to ``out`` and return the content of ``robustness.json``.

    ``only`` names the degradations of ``DEGRADATIONS`` to sweep, by default all. ``limit`` draws
    that many media by ``seed``, half of them real, fakes evenly from all methods. ``frames`` and
    ``workers`` are as in ``run.run``. Everything in ``out`` but ``records.jsonl`` is written anew.

    Raises:
        BundleError: the bundle is incomplete or altered.
        DatasetError: a root is laid out otherwise than its data set is published.
        RunError: there is nothing to score, a degradation is unknown, or two data sets share a
            medium's name.
    """
    report = progress or silent
    names = _chosen(only)
    bundle = load_bundle(bundle_dir)
    sources = [source_of(text, split) for text in datasets]
    labelled = draw(unique(sources), limit, seed)
    variants = list(
        dict.fromkeys(
            [AS_IS, *(Variant(n, v).settled() for n in names for v in DEGRADATIONS[n].levels)]
        )
    )
    out.mkdir(parents=True, exist_ok=True)
    keys = {
        variant: [
            record_key(bundle, frames, row, root, seed, *dataclasses.astuple(variant))
            for row, root in labelled
        ]
        for variant in variants
    }
    records = score_all(
        bundle_dir,
        [
            Job(keys[variant][number], root / row.media, variant)
            for number, (row, root) in enumerate(labelled)
            for variant in variants
        ],
        out / RECORDS,
        frames=frames,
        workers=workers,
        device=device,
        seed=seed,
        progress=report,
    )
    tables = {
        variant: assemble(
            ((row, records[key]) for (row, _), key in zip(labelled, keys[variant], strict=True)),
            bundle.spec.prior,
        )
        for variant in variants
    }
    pd.concat(
        [t.assign(degradation=v.name, degradation_level=v.level) for v, t in tables.items()],
        ignore_index=True,
    ).to_parquet(out / PREDICTIONS)
    measured: dict[Variant, dict[str, Any]] = {}
    baseline = _items(tables[AS_IS])
    for done, variant in enumerate(variants):
        report("measuring", done, len(variants))
        measured[variant] = measure(
            _items(tables[variant]), baseline, bundle.spec.conditions.min_groups, draws=draws
        )
    report("measuring", len(variants), len(variants))
    result = {
        **heading(bundle),
        "settings": {
            "frames": frames,
            "split": split,
            "limit": limit,
            "seed": seed,
            "draws": draws,
            "confidence": CONFIDENCE,
            "clip_frames": CLIP_FRAMES,
            "datasets": [stated(s) for s in sources],
        },
        "media": len(labelled),
        "baseline": measured[AS_IS],
        "degradations": [_curve(name, measured) for name in names],
    }
    atomic_write_text(out / ROBUSTNESS, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    plots = write_robustness_plots(result, out / PLOTS)
    write_robustness_report(out / REPORT, result, plots)
    return result


def draw(labelled: Sequence[tuple[Row, Path]], limit: int | None, seed: int) -> list[
    tuple[Row, Path]
]:  # fmt: skip
    """At most ``limit`` of ``labelled`` in their order: classes in turn, and in each its methods.

    The draw is by ``seed``; a smaller ``limit`` draws part of what a larger one does.
    """
    if limit is None or limit >= len(labelled):
        return list(labelled)
    order = np.random.default_rng(seed).permutation(len(labelled)).tolist()
    queues: dict[str, dict[tuple[str, str], list[int]]] = {"real": {}, "fake": {}}
    for number in order:
        row = labelled[number][0]
        queues[row.label].setdefault((row.dataset, row.method), []).append(number)
    by_class = []
    for methods in queues.values():
        # The n-th of every method stands before the n + 1st of any.
        turns: dict[int, list[int]] = defaultdict(list)
        for numbers in methods.values():
            for turn, number in enumerate(numbers):
                turns[turn].append(number)
        by_class.append([n for turn in sorted(turns) for n in turns[turn]])
    real, fake = by_class
    both = [n for pair in zip(real, fake, strict=False) for n in pair]
    rest = real[len(fake) :] + fake[len(real) :]
    return [labelled[n] for n in sorted((both + rest)[:limit])]


def measure(
    items: pd.DataFrame, baseline: pd.DataFrame, min_groups: int, *, draws: int = BOOTSTRAP_DRAWS
) -> dict[str, Any]:
    """Figures of ``items`` (level ``item`` of ``run.assemble``), the same media as ``baseline``.

    ``auc`` is that of scored items; ``auc_change`` that of items scored both times, less the
    baseline's, with groups resampled together. A fake on which the bundle abstains is missed; the
    false positive rate is that of scored reals.
    """
    scored = items["rank"].notna().to_numpy()
    fake = (items["label"] == "fake").to_numpy()
    groups = items["group"].to_numpy()
    flagged = (outcome(items) == "flagged").to_numpy()
    now, then = items["rank"].to_numpy(), baseline["rank"].to_numpy()
    both = scored & np.isfinite(then)
    area = _estimate(lambda rows: _area(fake[rows], now[rows]), scored, groups, draws)
    change = _estimate(
        lambda rows: _area(fake[rows], now[rows]) - _area(fake[rows], then[rows]),
        both,
        groups,
        draws,
    )
    fewest = min(len(set(groups[scored & of])) for of in (fake, ~fake))
    worst = worst_case_auc(fake, items["rank"])
    return {
        "auc": {**area.to_json(), "indicative": fewest < min_groups},
        "auc_change": {**change.to_json(), "indicative": fewest < min_groups},
        "worst_case_auc": round(worst, 4) if np.isfinite(worst) else None,
        **{
            name: rate(hits, groups[counted]).to_json(min_groups=min_groups)
            for name, hits, counted in (
                ("false_positive_rate", flagged[~fake & scored], ~fake & scored),
                ("true_positive_rate", flagged[fake], fake),
                ("scored_rate", scored, np.ones_like(scored)),
            )
        },
        "coverage": {
            label: coverage(items[in_class], min_groups)
            for label, in_class in (("real", ~fake), ("fake", fake))
        },
    }


def _estimate(
    statistic: Callable[[NDArray[np.intp]], float],
    of: NDArray[np.bool_],
    groups: NDArray[Any],
    draws: int,
) -> Estimate:
    """``statistic`` of the rows ``of``, with an interval where there are two groups or more."""
    rows = np.flatnonzero(of)
    count = len(set(groups[rows]))
    value = statistic(rows)
    low = high = float("nan")
    if count > 1 and np.isfinite(value):
        low, high = bootstrap(lambda drawn: statistic(rows[drawn]), groups[rows], draws=draws)
    return Estimate(value, low, high, len(rows), count)


def _area(fake: NDArray[np.bool_], rank: NDArray[np.float64]) -> float:
    """AUC as the Mann–Whitney statistic: scikit-learn's figure, in a tenth of the time."""
    m, n = int(fake.sum()), int((~fake).sum())
    if m == 0 or n == 0:
        return float("nan")
    return float((rankdata(rank)[fake].sum() - m * (m + 1) / 2) / (m * n))


def _items(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["level"] == "item"].reset_index(drop=True)


def _curve(name: str, measured: dict[Variant, dict[str, Any]]) -> dict[str, Any]:
    kind = DEGRADATIONS[name]
    return {
        "name": name,
        "title": kind.title,
        "unit": kind.unit,
        "identity": kind.identity,
        "levels": [
            {"level": level, **measured[Variant(name, level).settled()]} for level in kind.levels
        ],
    }


def _chosen(only: Sequence[str]) -> list[str]:
    unknown = [name for name in only if name not in DEGRADATIONS]
    if unknown:
        raise RunError(f"unknown degradation {unknown[0]!r}; known: {', '.join(DEGRADATIONS)}")
    return [name for name in DEGRADATIONS if not only or name in only]
