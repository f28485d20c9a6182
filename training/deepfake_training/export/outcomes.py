"""How often verdicts on held-out media name the right kind, and what they say of media apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepfake_eval.analysis.intervals import rate
from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import VerdictCode
from deepfake_models.bundle.spec import ConditionsSpec
from deepfake_models.decision.decide import judge_again
from deepfake_models.decision.level import Criteria
from deepfake_training.config import Config
from deepfake_training.export.held_out import Judged


def shown(entry: Mapping[str, Any] | None) -> str:
    """Return a figure with its interval, and * if it is indicative; a dash for none."""
    if entry is None or entry["value"] is None:
        return "–"
    star = "*" if entry["indicative"] else ""
    low, high = entry["low"], entry["high"]
    span = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{entry['value']:.2f}{star}{span}"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Tables with one row per medium: ``kinds`` of those whose verdict names a kind, with the
    columns actual, named and share; ``apart`` of methods that count nowhere else, with the columns
    method, group and called."""

    kinds: pd.DataFrame
    apart: pd.DataFrame

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
                best = max(shares, key=lambda k: shares[k])
                named.append((kind_of[row["method"]], best, shares[best]))
        for row, verdict in apart:
            called = judge_again(verdict, criteria).verdict is VerdictCode.LIKELY_MANIPULATED
            aside.append((row["method"], row["group"], called))
        return cls(
            pd.DataFrame(named, columns=["actual", "named", "share"]),
            pd.DataFrame(aside, columns=["method", "group", "called"]),
        )

    def kind_lines(self, kinds: Sequence[str]) -> list[str]:
        """Return a Markdown table of the named kind by the actual one; empty without kinds."""
        if self.kinds.empty:
            return []
        counts = pd.crosstab(self.kinds["actual"], self.kinds["named"])
        lines = [
            "| actual kind | " + " | ".join(f"named {k}" for k in kinds) + " |",
            "| --- |" + " ---: |" * len(kinds),
        ]
        for kind in kinds:
            if kind in counts.index:
                row = counts.loc[kind]
                lines.append(f"| {kind} | " + " | ".join(str(row.get(k, 0)) for k in kinds) + " |")
        right = float((self.kinds["actual"] == self.kinds["named"]).mean())
        return [*lines, "", f"Right for {right:.0%} of {len(self.kinds)} media.", ""]

    def apart_lines(self) -> list[str]:
        """Return a Markdown table of the methods apart; empty if there are none."""
        if self.apart.empty:
            return []
        lines = ["| method | n | groups | called manipulated |", "| --- | ---: | ---: | ---: |"]
        for method, part in self.apart.groupby("method", sort=True):
            called = rate(part["called"].astype(float), part["group"])
            text = shown(called.to_json(min_groups=ConditionsSpec().min_groups))
            lines.append(f"| {method} | {called.samples} | {called.groups} | {text} |")
        return [*lines, ""]
