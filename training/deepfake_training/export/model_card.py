"""The model card of a bundle: the figures that ``model_card.md.jinja`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.analysis.intervals import rate
from deepfake_eval.analysis.stated import three_lines
from deepfake_eval.reporting.templates import filled, markdown_cell
from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.bundle.spec import ConditionsSpec
from deepfake_models.decision.decide import judge_again
from deepfake_models.decision.level import Criteria
from deepfake_training.config import Config
from deepfake_training.export.held_out import Judged

Row = Sequence[object]


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
    metrics: dict[str, Any],
    *,
    crossed: tuple[int, int] | None,
    outcomes: Outcomes | None = None,
) -> str:
    """Return the text of the card of a bundle with the manifest ``fields``.

    ``metrics`` are the figures of ``deepfake_eval.analysis.summary.summarise`` on the held-out
    media. ``crossed`` are the numbers of runs that held out folds and sources; None if the exported
    run was measured on its own held-out folds. ``outcomes`` are the named kinds and the methods
    apart, if any.
    """
    training = fields["training"]
    train, held = training["train"], training["held_out"]
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
        stated=three_lines(reliability),
        outcomes=outcomes or Outcomes(),
        crossed=crossed,
        scales=[config.bundle.crop.scale, *config.bundle.crop.further_scales],
        manifests=training.get("manifests", []),
        sources=[
            (source.description, source.terms)
            for source in config.card.sources
            if any(name.startswith(source.datasets) for name in train)
        ],
        terms=[
            (name, markdown_cell(terms), media)
            for name, counts in sorted(train.items())
            for terms, media in counts.get("terms", {}).items()
        ],
        without_terms=[
            name
            for name, counts in sorted(train.items())
            if not counts.get("terms") and not (described and name.startswith(described))
        ],
        held=held,
        counts=[_counts(name, train, held) for name in sorted({*train, *held})],
        thresholds=thresholds,
        leaning={level: t["leaning"] for level, t in thresholds.items() if t.get("leaning")},
        items=_items(metrics),
        reals=_reals(metrics),
    )


def _rate(entry: Mapping[str, Any]) -> str:
    """Return a rate in per cent with its interval, and its numbers of media and of groups."""
    if entry["value"] is None:
        return "–"
    span = f"{entry['low']:.1%} to {entry['high']:.1%}"
    return f"{entry['value']:.1%}, {span} ({entry['samples']:,}; {entry['groups']:,})"


def _counts(name: str, train: dict[str, Any], held: dict[str, Any]) -> Row:
    learnt, measured = train.get(name, {}), held.get(name, {})
    cells = [learnt.get(count, 0) for count in ("crops", "media", "groups")]
    return name, *cells, *([measured.get(c, 0) for c in ("media", "groups")] if held else [])


def _items(metrics: dict[str, Any]) -> list[Row]:
    rates = {
        (e["dataset"], e["name"]): e["true_positive_rate"]
        for e in metrics["operating_point"]
        if e["label"] == "fake" and e["scope"] != "all"
    }
    rows: list[Row] = []
    for e in metrics["levels"]["item"]:
        if e["scope"] == "method":
            found = rates[e["dataset"], e["name"]]
            auc = shown({**e["auc"], "indicative": e["indicative"]})
            rows.append(
                (e["dataset"], e["name"], found["samples"], found["groups"], auc, shown(found))
            )
    return rows


def _reals(metrics: dict[str, Any]) -> list[Row]:
    def key(e: dict[str, Any]) -> tuple[Any, ...]:
        return e["scope"], e["label"], e.get("dataset"), e["name"]

    decided = {key(e): e["decided_rate"] for e in metrics["coverage"]}
    return [
        (
            e.get("dataset", "all"),
            e["false_positive_rate"]["samples"],
            e["false_positive_rate"]["groups"],
            shown(e["false_positive_rate"]),
            shown(e["cleared_rate"]),
            shown(decided[key(e)]),
        )
        for e in metrics["operating_point"]
        if e["label"] == "real"
    ]
