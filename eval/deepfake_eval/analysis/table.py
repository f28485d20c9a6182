"""``deepfake-eval table``: the figures of several runs by data set, as papers print them.

Runs are lined up on the media that all runs with a data set list. A medium that a run did not score
counts as chance, so that every figure of a column is of the same media.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.analysis import intervals
from deepfake_eval.analysis.in_sample import is_fitted
from deepfake_eval.analysis.metrics import FIGURES, FPR_LIMITS, RANKED, sample_figures
from deepfake_eval.analysis.pairing import RunTable, holm, line_up, read_runs
from deepfake_eval.analysis.summary import mean_of_frames
from deepfake_eval.datasets import DATASETS
from deepfake_eval.datasets.base import LABELS, namespace
from deepfake_eval.errors import RunError

SHOWN = tuple(RANKED)
_PLACES = [FIGURES.index(name) for name in SHOWN]
SECTIONS = ("pictures", "videos", "videos, mean of frames")
MEAN = "mean"
"""The column with the mean over data sets."""
_TYPES = {method: kind for kind, methods in DATASETS["df40"].types.items() for method in methods}


@dataclass(frozen=True, slots=True)
class Protocol:
    """Which data sets (a regular expression) have columns, ``by`` data set, or type or method of
    one, and which of these ``count`` in the mean of a detector: all, those that its name names, or
    the others. ``named_by`` says what the name of a detector is."""

    title: str = ""
    datasets: str = ".*"
    by: Literal["data set", "type", "method"] = "data set"
    counts: Literal["all", "named", "others"] = "all"
    named_by: str = "trained on"


PROTOCOLS = {
    "within": Protocol("Within data sets", counts="named"),
    "across": Protocol("Across data sets", counts="others"),
    "leave-one-out": Protocol("Leave one method out", ".*", "method", "named", "left out"),
    "df40-1": Protocol("Same data domain, different forgery types", "DF40-ff", "type", "others"),
    "df40-2": Protocol("Same forgery types, different data domain", "DF40-cdf", "type", "named"),
    "df40-3": Protocol("Different forgery types and data domain", "DF40-(?!(ff|cdf)$).*"),
    "df40-4": Protocol("Train on one method, test on all others", "DF40-.*", "method", "others"),
}
"""Protocols by name. The four of DF40 are as the README of its repository has them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of one detector on one data set, or on a type or method (``part``) of it.

    ``seeds`` are the runs of one name, and ``deviation`` is that of the figure over several of
    them. ``counts`` says whether it is in the detector's mean by the protocol. ``not_scored`` and
    ``in_sample`` count media, and are the highest of any seed; the latter is ``None`` where that is
    not known. ``best`` says that it is better than that of every other detector on the same media,
    by p-values that are corrected for all comparisons of the figure in the section (Holm 1979). A
    detector that was fitted on some of the media, or does not count, is not compared.
    """

    section: str
    dataset: str
    part: str
    detector: str
    figure: str
    estimate: intervals.Estimate
    seeds: int
    deviation: float | None
    counts: bool
    not_scored: int
    in_sample: int | None
    indicative: bool
    best: bool


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a table by a protocol (empty without one), and in words what is ``left_out``
    because it has one class alone, and what each detector did not score, or does not name."""

    protocol: str
    cells: tuple[Cell, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """What makes a column: its media (positions), and what names it. A method of a data set that
    has a column itself is a ``detail``, and not in the mean."""

    dataset: str
    part: str
    names: set[str]
    rows: NDArray[np.intp]
    detail: bool = False


@dataclass(frozen=True, slots=True)
class _Column:
    """The figures (R, F) of the runs on some media, and those (B, D, F) of each resample and
    detector, which is the mean of its runs. A run that did not measure them has NaN."""

    part: _Part
    values: NDArray[np.float64]
    drawn: NDArray[np.float64]
    fewest: int


def table_of_runs(
    runs: Sequence[str | Path],
    *,
    protocol: str = "",
    by_method: bool = False,
    draws: int = intervals.BOOTSTRAP_DRAWS,
) -> Table:
    """Return the table of detectors by data sets, with the mean over the columns that count.

    ``runs`` are folders, or ``NAME=FOLDER``; runs of one name are seeds of one detector. With
    ``by_method``, each method of a data set that has several is a column as well.

    Raises:
        RunError: a folder has no predictions, runs label a medium differently, runs of one name
            differ in their data sets, there is no such protocol, or no data set has both classes.
    """
    if protocol and protocol not in PROTOCOLS:
        raise RunError(f"There is no protocol {protocol!r}. Choose from {', '.join(PROTOCOLS)}.")
    chosen = PROTOCOLS.get(protocol, Protocol())
    given = [_named(str(run)) for run in runs]
    read = read_runs([folder for _, folder in given])
    named = [replace(r, name=name or r.name) for r, (name, _) in zip(read, given, strict=True)]
    sections = [_Section(title, named, chosen, by_method, draws) for title in SECTIONS]
    cells = [cell for section in sections for cell in section.cells()]
    if not cells:
        of = f" of the protocol {protocol}" * bool(protocol)
        raise RunError(f"No data set of these runs has real and manipulated media{of}. Add some.")
    left_out = [name for section in sections[:2] for name in section.left_out]
    return Table(protocol, tuple(cells), tuple(left_out), tuple(_remarks(sections)))


def _named(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    return (name.strip(), Path(folder)) if equals and not Path(text).is_dir() else ("", Path(text))


def _remarks(sections: Sequence[_Section]) -> Iterator[str]:
    first = sections[0]
    for name, runs in first.members.items():
        columns = [column for section in sections for column in section.columns]
        if first.protocol.counts != "all" and not any(first.names(name, c.part) for c in columns):
            yield f"{name} names no column."
        missed, media = np.sum([section.missed(runs) for section in sections[:2]], axis=0)
        if missed:
            yield f"{name} did not score {missed} of {media}."


class _Section:
    """The figures of pictures, of videos, or of videos by the mean of their frames."""

    def __init__(
        self, title: str, runs: Sequence[RunTable], protocol: Protocol, by_method: bool, draws: int
    ) -> None:
        both = line_up([_rows(run, title) for run in runs], join="outer")
        if title == "pictures":
            both = both[both["kind"] == "image"]
        elif title == "videos":  # or of no kind, because it could not be decoded
            both = both[both["kind"] != "image"]
        self.title, self.protocol, self.media = title, protocol, both
        self.min_groups = max(run.metrics["bundle"]["min_groups"] for run in runs)
        detectors = np.array([run.name for run in runs])
        self.members = {str(name): np.flatnonzero(detectors == name) for name in detectors}

        def of_runs(column: str) -> pd.DataFrame:
            return both[[f"{column}_{number}" for number in range(len(runs))]]

        self.truth = (both["label"] == "fake").to_numpy().astype(np.intp)
        self.people, self.groups = np.unique(both["group"].to_numpy(), return_inverse=True)
        self.ranks = of_runs("rank").to_numpy(np.float64)
        self.listed = of_runs("label").notna().to_numpy()
        self.missing = self.listed & ~of_runs("judged").eq(True).to_numpy()
        fitted = of_runs("fitted")
        self.fitted = fitted.apply(is_fitted).astype(float).where(fitted.notna()).to_numpy()
        self.left_out: list[str] = []
        self.columns = self._measured([*self._parts(by_method)], draws)

    def names(self, detector: str, part: _Part) -> bool:
        """Return whether the name of a detector names a column."""
        return not part.names.isdisjoint(re.split(r"\s*[:,]\s*", detector.casefold()))

    def missed(self, runs: NDArray[np.intp]) -> tuple[int, int]:
        """Return how many media of the columns were not scored, and how many there are."""
        used = np.unique(np.concatenate([np.arange(0), *(c.part.rows for c in self.columns)]))
        of_runs = np.ix_(used, runs)
        return int(self.missing[of_runs].sum()), int(self.listed[of_runs].sum())

    def cells(self) -> Iterator[Cell]:
        columns = [*self.columns, *self._means()]
        for place, figure in enumerate(SHOWN):
            best = self._best(columns, place)
            for column in columns:
                part = column.part
                for number, (name, runs) in enumerate(self.members.items()):
                    each, drawn = column.values[runs, place], column.drawn[:, number, place]
                    if np.isfinite(each).all():
                        yield Cell(
                            self.title,
                            part.dataset,
                            part.part,
                            name,
                            figure,
                            self._estimate(column, each.mean(), drawn),
                            len(runs),
                            round(float(each.std(ddof=1)), 4) if len(runs) > 1 else None,
                            self._counts(name, part),
                            int(self.missing[np.ix_(part.rows, runs)].sum(axis=0).max()),
                            self._in_sample(column, runs),
                            column.fewest < self.min_groups,
                            (id(column), number) in best,
                        )

    def _parts(self, by_method: bool) -> Iterator[_Part]:
        """Yield what makes each column that has both classes. A data set of fakes alone has the
        reals of those that it was made from."""
        spaces, reals = self.media["dataset"].map(namespace), self.media["label"] == "real"
        for name in sorted(self.media["dataset"].unique()):
            if not re.fullmatch(self.protocol.datasets, name):
                continue
            own = self.media["dataset"] == name
            real = own & reals if (own & reals).any() else (spaces == namespace(name)) & reals
            methods = self.media["method"].where(own & ~reals)
            types = methods.map(lambda method: _TYPES.get(method.casefold(), method), "ignore")
            units = {"data set": methods.where(~own, ""), "type": types, "method": methods}
            unit = units[self.protocol.by]
            parts = [(part, unit == part, False) for part in sorted(unit.dropna().unique())]
            if by_method and methods.nunique() > 1:
                parts += [(m, methods == m, True) for m in sorted(methods.dropna().unique())]
            for part, chosen, detail in parts:
                fake = chosen & ~reals
                present = self.listed[real].any(axis=0) & self.listed[fake].any(axis=0)
                uneven = [d for d, runs in self.members.items() if len(set(present[runs])) > 1]
                if uneven:
                    raise RunError(
                        f"Only some runs named {uneven[0]} have {name}. Measure it in all."
                    )
                everywhere = self.listed[:, present].all(axis=1)
                rows = np.flatnonzero((real | fake) & everywhere)
                if present.any() and len(set(self.truth[rows])) == 2:
                    words = {name, part, *types[fake].unique()} if part else {name}
                    yield _Part(name, part, {word.casefold() for word in words}, rows, detail)
                elif len(rows):
                    called = f"{self.title} of {name}: {part}".removesuffix(": ")
                    self.left_out.append(f"{called} (only {LABELS[self.truth[rows[0]]]})")

    def _measured(self, parts: Sequence[_Part], draws: int) -> list[_Column]:
        """Return the columns. Those that may share people are resampled by the same groups."""
        drawn: dict[int, list[NDArray[np.float64]]] = {n: [] for n in range(len(parts))}
        for space in dict.fromkeys(namespace(part.dataset) for part in parts):
            within = [n for n, part in enumerate(parts) if namespace(part.dataset) == space]
            groups = np.unique(np.concatenate([self.groups[parts[n].rows] for n in within]))
            for picks in intervals.resamples(self.people[groups], draws=draws, stream=space):
                times = np.bincount(groups[picks], minlength=len(self.groups))
                for n in within:
                    again = np.repeat(parts[n].rows, times[self.groups[parts[n].rows]])
                    drawn[n].append(self._over_seeds(self._figures(again)))
        columns = []
        for n, part in enumerate(parts):
            values, resampled = self._figures(part.rows), np.stack(drawn[n])
            reals = (self.truth[part.rows] == 0).sum()
            few = [reals * FPR_LIMITS.get(name, 1.0) < 1.0 for name in SHOWN]
            fewest = intervals.fewest_groups(self.truth[part.rows], self.groups[part.rows])
            values[:, few] = resampled[:, :, [f or fewest < 2 for f in few]] = np.nan
            columns.append(_Column(part, values, resampled, fewest))
        return columns

    def _figures(self, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the figures (R, F) of the runs on media; NaN where one lists too few of them."""
        unknown = np.full(len(rows), np.nan)
        each = (sample_figures(self.truth[rows], r, unknown, 0.5) for r in self.ranks[rows].T)
        return np.stack([*each])[:, _PLACES]

    def _over_seeds(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([values[runs].mean(axis=0) for runs in self.members.values()])

    def _counts(self, detector: str, part: _Part) -> bool:
        kind = self.protocol.counts
        named = self.names(detector, part) == (kind == "named")
        return named or kind == "all" or part.dataset == MEAN

    def _means(self) -> Iterator[_Column]:
        """Yield the mean over columns, one for the detectors of which the same columns count."""
        main = [column for column in self.columns if not column.part.detail]
        alike: dict[tuple[bool, ...], list[str]] = {}
        for name in self.members:
            alike.setdefault(tuple(self._counts(name, c.part) for c in main), []).append(name)
        for counted, names in alike.items():
            columns = [column for column, counts in zip(main, counted, strict=True) if counts]
            if not columns or len(main) == 1:
                continue
            values = np.mean([c.values for c in columns], axis=0)
            drawn = np.mean([c.drawn for c in columns], axis=0)
            for number, (name, runs) in enumerate(self.members.items()):
                if name not in names:
                    values[runs] = drawn[:, number] = np.nan
            rows = np.unique(np.concatenate([c.part.rows for c in columns]))
            fewest = min(c.fewest for c in columns)
            yield _Column(_Part(MEAN, "", set(), rows), values, drawn, fewest)

    def _estimate(
        self, column: _Column, value: float, drawn: NDArray[np.float64]
    ) -> intervals.Estimate:
        low, high = intervals.interval(drawn[np.isfinite(drawn)])
        rows = column.part.rows
        groups = len(np.unique(self.groups[rows]))
        return intervals.Estimate(value, low, high, len(rows), groups, column.fewest)

    def _in_sample(self, column: _Column, runs: NDArray[np.intp]) -> int | None:
        fitted = self.fitted[np.ix_(column.part.rows, runs)].sum(axis=0).max()
        return int(fitted) if np.isfinite(fitted) else None

    def _best(self, columns: Sequence[_Column], place: int) -> set[tuple[int, int]]:
        """Return the columns (by ``id``) on which one detector is shown to be the best, each with
        its number."""
        sign = -1.0 if SHOWN[place] == "eer" else 1.0
        claims: list[tuple[tuple[int, int], float]] = []
        for column in columns:
            values = sign * self._over_seeds(column.values)[:, place]
            compared = [
                number
                for number, (name, runs) in enumerate(self.members.items())
                if self._counts(name, column.part) and not self._in_sample(column, runs)
            ]
            compared = [number for number in compared if np.isfinite(values[number])]
            if len(compared) < 2 or column.fewest < self.min_groups:
                continue
            top = max(compared, key=lambda n: float(values[n]))
            for other in compared:
                if other != top:
                    drawn = sign * (column.drawn[:, top, place] - column.drawn[:, other, place])
                    difference = self._estimate(column, values[top] - values[other], drawn)
                    claims.append(((id(column), top), intervals.p_value(difference)))
        corrected = holm([p for _, p in claims])
        doubtful = {claim for (claim, _), p in zip(claims, corrected, strict=True) if p >= 0.05}
        return {claim for claim, _ in claims} - doubtful


def _rows(run: RunTable, section: str) -> pd.DataFrame:
    """Return the rows of a run for a section; ``rank`` is chance where nothing was scored."""
    prior = run.metrics["bundle"]["prior"]
    if section == SECTIONS[2]:
        return mean_of_frames(run.predictions, prior)
    items = run.items
    chance = float(items["rank"].median())
    if items["score"].notna().any():
        chance = 0.0 if items["log_likelihood_ratio"].notna().any() else prior
    return items.assign(judged=items["rank"].notna(), rank=items["rank"].fillna(chance))
