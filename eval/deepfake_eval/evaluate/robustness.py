"""``deepfake-eval robustness``: how a bundle's figures change as media are degraded.

Every medium is scored unchanged and at each level of each degradation. As in ``evaluate``, each
scored variant adds a line to ``records.jsonl``, so that an interrupted sweep can resume.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.analysis import metrics
from deepfake_eval.analysis.in_sample import in_sample
from deepfake_eval.analysis.intervals import BOOTSTRAP_DRAWS, CONFIDENCE, rate
from deepfake_eval.analysis.plots import robustness_figures, write_plots
from deepfake_eval.analysis.summary import Subject
from deepfake_eval.datasets import Row
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate import run
from deepfake_eval.inference.corruptions import CLIP_FRAMES, DEGRADATIONS, ORIGINAL, Variant
from deepfake_eval.inference.pool import no_progress
from deepfake_eval.inference.runner import StageReporter
from deepfake_eval.options import SweepOptions
from deepfake_eval.reporting.report import PLOTS, PREDICTIONS
from deepfake_eval.reporting.tables import sweep_table
from deepfake_models.bundle.bundle import load_bundle
from deepfake_models.machine import atomic_write_text

ROBUSTNESS, TABLE = "robustness.json", "robustness.csv"


def robustness(
    bundle_dir: Path,
    datasets: Sequence[str],
    out: Path,
    options: SweepOptions | None = None,
    *,
    progress: StageReporter = no_progress,
) -> dict[str, Any]:
    """Sweep degradations over ``datasets`` (``NAME[,OPTION=VALUE]:ROOT``) and write to ``out``.

    Return the content of ``robustness.json``. Variants with a record in ``out`` are not scored
    again; all other files there are replaced.

    Raises:
        BundleError: the bundle is incomplete or altered.
        DatasetError: a root does not have the published layout of its data set.
        RunError: there is nothing to score, a degradation is unknown, or two data sets share the
            name of a medium.
    """
    options = options or SweepOptions()
    names = _chosen(options.only)
    levels = [Variant(name, level) for name in names for level in DEGRADATIONS[name].levels]
    variants = [ORIGINAL, *levels]
    bundle = load_bundle(bundle_dir)
    media, facts = run.load_media(datasets, options.split, out)
    labelled = draw(media, options.limit)
    tables = run.score_variants(bundle, labelled, variants, out, options, progress)
    pd.concat(
        [t.assign(degradation=v.name, degradation_level=v.level) for v, t in tables.items()],
        ignore_index=True,
    ).to_parquet(out / PREDICTIONS)
    baseline, min_groups = _items(tables[ORIGINAL]), bundle.spec.conditions.min_groups
    measured: dict[Variant, dict[str, Any]] = {}
    for variant, table in tables.items():
        measured[variant] = measure(_items(table), baseline, min_groups, draws=options.draws)
        progress("measuring", len(measured), len(tables))
    result = {
        **Subject.of_bundle(bundle).heading(),
        "settings": {
            **{k: getattr(options, k) for k in ("split", "limit", "draws")},
            "frames": options.frames or None,
            "confidence": CONFIDENCE,
            "clip_frames": CLIP_FRAMES,
            "datasets": facts,
        },
        "in_sample": in_sample(baseline),
        "media": len(labelled),
        "baseline": measured[ORIGINAL],
        "degradations": [_curve(name, measured) for name in names],
    }
    atomic_write_text(out / ROBUSTNESS, json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    atomic_write_text(out / TABLE, sweep_table(result))
    write_plots(robustness_figures(result), out / PLOTS)
    return result


def _chosen(only: str) -> list[str]:
    names = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in names if name not in DEGRADATIONS]
    if unknown:
        raise RunError(
            f"There is no degradation {unknown[0]!r}. Choose from {', '.join(DEGRADATIONS)}."
        )
    return [name for name in DEGRADATIONS if not names or name in names]


def draw(labelled: run.Labelled, limit: int | None) -> list[tuple[Row, Path]]:
    """Draw at most ``limit`` of ``labelled`` at random and return them in their original order.

    The draw alternates between the classes and, within each, between the methods. It is the same
    each time; a smaller ``limit`` draws a subset of what a larger one draws.
    """
    if limit is None or limit >= len(labelled):
        return list(labelled)
    columns = ["label", "dataset", "method"]
    keys = pd.DataFrame([asdict(row) for row, _ in labelled])[columns]
    drawn = keys.iloc[np.random.default_rng(0).permutation(len(keys))]
    # The n-th medium of every method comes before the n + 1st of any, and the classes alternate.
    drawn = drawn.iloc[np.argsort(drawn.groupby(columns).cumcount(), kind="stable")]
    drawn = drawn.assign(place=drawn.groupby("label").cumcount())
    drawn = drawn.sort_values(["place", "label"], ascending=[True, False])  # real before fake
    return [labelled[number] for number in sorted(drawn.index[:limit])]


def measure(
    items: pd.DataFrame, baseline: pd.DataFrame, min_groups: int, *, draws: int = BOOTSTRAP_DRAWS
) -> dict[str, Any]:
    """Measure degraded ``items`` and their difference from ``baseline``.

    Both are rows of level ``item`` from ``predictions.assemble`` and cover the same media in the
    same order. ``auc`` covers scored items. ``auc_change`` is the difference on items scored in
    both tables, with the same groups resampled in both. A fake on which the bundle abstains counts
    as missed; the false positive rate is that of scored reals. Figures are marked ``indicative`` if
    what they cover has fewer than ``min_groups`` groups, of either class for AUCs.
    """
    scored = items["rank"].notna().to_numpy()
    fake = (items["label"] == "fake").to_numpy()
    groups = items["group"].to_numpy()
    flagged = (metrics.outcome(items) == "flagged").to_numpy()

    def share(hits: NDArray[np.bool_], counted: NDArray[np.bool_]) -> dict[str, Any]:
        return rate(hits[counted], groups[counted]).to_json(min_groups=min_groups)

    now, then = items["rank"].to_numpy(), baseline["rank"].to_numpy()

    both = scored & np.isfinite(then)
    area = metrics.auc(fake[scored], now[scored], groups[scored], draws=draws)
    change = metrics.auc(fake[both], now[both], groups[both], less=then[both], draws=draws)
    worst = metrics.worst_case_auc(fake, items["rank"])
    return {
        "auc": area.to_json(min_groups=min_groups),
        "auc_change": change.to_json(min_groups=min_groups),
        "worst_case_auc": round(worst, 4) if np.isfinite(worst) else None,
        "false_positive_rate": share(flagged, ~fake & scored),
        "true_positive_rate": share(flagged, fake),
        "scored_rate": share(scored, np.ones_like(scored)),
        "coverage": {
            label: metrics.coverage(items[in_class], min_groups)
            for label, in_class in (("real", ~fake), ("fake", fake))
        },
    }


def _items(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["level"] == "item"].reset_index(drop=True)


def _curve(name: str, measured: dict[Variant, dict[str, Any]]) -> dict[str, Any]:
    kind = DEGRADATIONS[name]
    return {
        "name": name,
        "title": kind.title,
        "unit": kind.unit,
        "levels": [{"level": v.level, **entry} for v, entry in measured.items() if v.name == name],
    }
