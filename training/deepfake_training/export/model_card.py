"""The model card of a bundle: the figures that ``model_card.md.jinja`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.analysis.intervals import rate
from deepfake_eval.analysis.stated import three_lines
from deepfake_eval.reporting.templates import filled
from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.bundle.spec import ConditionsSpec
from deepfake_models.decision.decide import judge_again
from deepfake_models.decision.level import Criteria
from deepfake_training.config import Config
from deepfake_training.export.held_out import Judged

Row = Sequence[object]
METHODS, SOURCES = "by-method.csv", "by-source.csv"
DATA, TERMS = "data.csv", "terms.csv"


def shown(entry: object) -> str:
    """Return a figure with its interval, and * if it is indicative; a dash for none."""
    if not isinstance(entry, dict) or entry["value"] is None:
        return "–"
    star = "*" if entry["indicative"] else ""
    low, high = entry["low"], entry["high"]
    span = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{entry['value']:.2f}{star}{span}"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How often verdicts name the right kind, and what they say of methods that count nowhere else:
    rows of the card's tables."""

    kinds: Sequence[Row] = ()
    right: str = ""
    named: int = 0
    apart: Sequence[Row] = ()

    @classmethod
    def of(
        cls, judged: Sequence[Judged], apart: Sequence[Judged], spec: BundleSpec, config: Config
    ) -> Outcomes:
        """Judge the media again by ``spec`` and compare their kinds with those of the config."""
        kind_of = {m: k for k in spec.kinds for m in config.cross_validation.families[k]}
        criteria = Criteria.of(spec)
        named, aside = [], []
        for row, verdict in judged:
            shares = judge_again(verdict, criteria).kinds
            if shares and row["method"] in kind_of:
                named.append((kind_of[row["method"]], max(shares, key=lambda k: shares[k])))
        for row, verdict in apart:
            called = judge_again(verdict, criteria).verdict is VerdictCode.LIKELY_MANIPULATED
            aside.append((row["method"], row["group"], float(called)))
        return cls.counted(named, aside, spec.kinds)

    @classmethod
    def counted(
        cls,
        named: Sequence[tuple[str, str]],
        aside: Sequence[tuple[str, str, float]],
        kinds: Sequence[str],
    ) -> Outcomes:
        """Count pairs of actual and named kinds, and the method, group and call of media apart."""
        methods = pd.DataFrame(aside, columns=["method", "group", "called"])
        rows: list[Row] = []
        for method, part in methods.groupby("method", sort=True):
            called = rate(part["called"], part["group"])
            figure = called.to_json(min_groups=ConditionsSpec().min_groups)
            rows.append((method, called.samples, called.groups, shown(figure)))
        if not named:
            return cls(apart=rows)
        pairs = list(named)
        table = [
            (actual, *(pairs.count((actual, kind)) for kind in kinds))
            for actual in kinds
            if any(pair[0] == actual for pair in pairs)
        ]
        right = sum(actual == name for actual, name in pairs) / len(pairs)
        return cls(table, f"{right:.0%}", len(pairs), rows)


def model_card(
    config: Config,
    fields: dict[str, Any],
    reliability: dict[str, Any],
    *,
    crossed: tuple[int, int] | None,
    outcomes: Outcomes | None = None,
) -> str:
    """Return the text of the card of a bundle with the manifest ``fields``.

    ``crossed`` are the numbers of runs that held out folds and sources; None if the exported
    run was measured on its own held-out folds. ``outcomes`` are the named kinds and the methods
    apart, if any.
    """
    training = fields["training"]
    train, held, taught = training["train"], training["held_out"], training.get("taught", {})
    used = {**taught, **train}
    thresholds = {level: t for level, t in fields["thresholds"].items() if t}
    described = tuple(name for source in config.card.sources for name in source.datasets)
    return filled(
        "model_card.md",
        folder=Path(__file__).parent,
        shown=shown,
        measured=_rate,
        config=config,
        fields=fields,
        reliability=reliability,
        stated=three_lines(reliability, fields["unseen"]),
        outcomes=outcomes or Outcomes(),
        crossed=crossed,
        taught_media=sum(part["media"] for part in taught.values()),
        scales=[config.bundle.crop.scale, *config.bundle.crop.further_scales],
        manifests=training.get("manifests", []),
        sources=[
            (source.description, source.terms)
            for source in config.card.sources
            if any(name.startswith(source.datasets) for name in used)
        ],
        has_terms=any(counts.get("terms") for counts in used.values()),
        without_terms=[
            name
            for name, counts in sorted(used.items())
            if not counts.get("terms") and not (described and name.startswith(described))
        ],
        counts=[
            (use, len(part), f"{sum(counts['media'] for counts in part.values()):,}")
            for use, part in (
                ("learnt by the network", taught),
                ("fitted on", train),
                ("held out", held),
            )
            if part
        ],
        thresholds=thresholds,
        leaning={level: t["leaning"] for level, t in thresholds.items() if t.get("leaning")},
    )


def _rate(entry: Mapping[str, Any]) -> str:
    """Return a rate in per cent with its interval, and its numbers of media and of groups."""
    if entry["value"] is None:
        return "–"
    span = f"{entry['low']:.1%} to {entry['high']:.1%}"
    return f"{entry['value']:.1%}, {span} ({entry['samples']:,}; {entry['groups']:,})"


def long_tables(training: dict[str, Any], metrics: dict[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the tables that are too long for the card, by the name of their CSV file.

    ``training`` is that of the manifest, and ``metrics`` are the figures of
    ``deepfake_eval.analysis.summary.summarise`` on the held-out media. Rates and AUCs are shares, 0
    to 1, with a 95% interval by group; indicative ones rest on few groups.
    """
    train, held, taught = training["train"], training["held_out"], training.get("taught", {})
    tables = {
        METHODS: _methods(metrics),
        SOURCES: _sources(metrics),
        DATA: [
            {
                "source": name,
                **{n: train.get(name, {}).get(n, 0) for n in ("crops", "media", "groups")},
                **{f"held_out_{n}": held.get(name, {}).get(n, 0) for n in ("media", "groups")},
                **({"taught_media": taught.get(name, {}).get("media", 0)} if taught else {}),
            }
            for name in sorted({*train, *held, *taught})
        ],
        TERMS: [
            {"source": name, "terms": terms, "media": media}
            for name, counts in sorted({**taught, **train}.items())
            for terms, media in counts.get("terms", {}).items()
        ],
    }
    return {name: pd.DataFrame(rows) for name, rows in tables.items() if rows}


def _figure(name: str, entry: Mapping[str, Any], *, indicative: bool) -> dict[str, Any]:
    bounds = {f"{name}_{n}": entry[n] for n in ("low", "high")}
    return {name: entry["value"], **bounds, f"{name}_indicative": indicative}


def _methods(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    rates = {
        (e["dataset"], e["name"]): e["true_positive_rate"]
        for e in metrics["operating_point"]
        if e["label"] == "fake" and e["scope"] != "all"
    }
    rows = []
    for e in metrics["levels"]["item"]:
        if e["scope"] == "method":
            found = rates[e["dataset"], e["name"]]
            rows.append({
                "source": e["dataset"],
                "method": e["name"],
                "media": found["samples"],
                "groups": found["groups"],
                **_figure("auc", e["auc"], indicative=e["indicative"]),
                **_figure("called_manipulated", found, indicative=found["indicative"]),
            })  # fmt: skip
    return rows


def _sources(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    def key(e: dict[str, Any]) -> tuple[Any, ...]:
        return e["scope"], e["label"], e.get("dataset"), e["name"]

    decided = {key(e): e["decided_rate"] for e in metrics["coverage"]}
    rows = []
    for e in metrics["operating_point"]:
        if e["label"] == "real":
            named = {
                "called_manipulated": e["false_positive_rate"],
                "cleared": e["cleared_rate"],
                "decided": decided[key(e)],
            }
            row = {
                "source": e.get("dataset", "all"),
                "media": e["false_positive_rate"]["samples"],
                "groups": e["false_positive_rate"]["groups"],
            }
            for name, figure in named.items():
                row |= _figure(name, figure, indicative=figure["indicative"])
            rows.append(row)
    return rows
