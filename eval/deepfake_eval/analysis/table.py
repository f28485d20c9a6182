"""``deepfake-eval table``: the figures of several runs by data set, as papers print them.

Runs are lined up on the media that all runs with a data set list. A medium that a run did not score
counts as chance, so that every figure of a column is of the same media.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.analysis import intervals
from deepfake_eval.analysis.in_sample import is_fitted
from deepfake_eval.analysis.metrics import FIGURES, FPR_LIMITS, RANKED, sample_figures
from deepfake_eval.analysis.pairing import RunTable, holm, line_up, read_runs
from deepfake_eval.analysis.summary import mean_of_frames
from deepfake_eval.errors import RunError

SHOWN = tuple(RANKED)
SECTIONS = ("pictures", "videos", "videos, mean of frames")
MEAN = "mean"
"""The column with the mean over data sets."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of one detector on one data set.

    ``not_scored`` and ``in_sample`` count media; the latter is ``None`` where that is not known.
    ``best`` says that it is better than that of every other detector on the same media, by p-values
    that are corrected for all comparisons of the figure in the section (Holm 1979). A detector that
    was fitted on some of the media is not compared.
    """

    section: str
    dataset: str
    detector: str
    figure: str
    estimate: intervals.Estimate
    not_scored: int
    in_sample: int | None
    indicative: bool
    best: bool


@dataclass(frozen=True, slots=True)
class _Column:
    """The figures (D, F) of the detectors on one data set, and those of each resample (B, D, F).

    A detector that did not measure the data set has NaN.
    """

    dataset: str
    values: NDArray[np.float64]
    drawn: NDArray[np.float64]
    samples: int
    groups: int
    fewest: int
    not_scored: tuple[int, ...]
    in_sample: tuple[int | None, ...]

    def estimate(
        self, values: NDArray[np.float64], drawn: NDArray[np.float64]
    ) -> intervals.Estimate:
        low, high = intervals.interval(drawn[np.isfinite(drawn)])
        return intervals.Estimate(
            float(values), float(low), float(high), self.samples, self.groups, self.fewest
        )


def table_of_runs(
    folders: Sequence[Path], *, draws: int = intervals.BOOTSTRAP_DRAWS
) -> tuple[list[Cell], list[str]]:
    """Return the cells of a table of detectors by data sets, with the mean over data sets of each
    detector that measured all of them, and what is left out because it has one class alone.

    Raises:
        RunError: a folder has no predictions, runs label a medium differently, or no data set has
            both classes.
    """
    runs = read_runs(folders)
    min_groups = max(run.metrics["bundle"]["min_groups"] for run in runs)
    cells: list[Cell] = []
    left_out: list[str] = []
    for section in SECTIONS:
        columns = list(_columns(runs, section, draws, left_out))
        if len(columns) > 1:
            columns.append(_mean(columns))
        cells += _cells(columns, section, [run.name for run in runs], min_groups)
    if not cells:
        raise RunError("No data set of these runs has real and manipulated media. Add some.")
    return cells, left_out


def _columns(
    runs: Sequence[RunTable], section: str, draws: int, left_out: list[str]
) -> Iterator[_Column]:
    tables = [_rows(run, section) for run in runs]
    for dataset in sorted({str(name) for t in tables for name in t["dataset"].unique()}):
        parts = {n: t[t["dataset"] == dataset] for n, t in enumerate(tables)}
        parts = {n: part for n, part in parts.items() if len(part)}
        both = line_up(list(parts.values()))
        if section == "pictures":
            both = both[both["kind"] == "image"]
        elif section == "videos":  # or of no kind, because it could not be decoded
            both = both[both["kind"] != "image"]
        if both["label"].nunique() == 2:
            yield _column(dataset, both, [*parts], len(runs), draws)
        elif len(both) and section != SECTIONS[2]:
            left_out.append(f"{section} of {dataset} (only {both['label'].iloc[0]})")


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


def _column(
    dataset: str, both: pd.DataFrame, present: Sequence[int], detectors: int, draws: int
) -> _Column:
    truth = (both["label"] == "fake").to_numpy().astype(np.intp)
    groups = both["group"].to_numpy()
    ranks = both[[f"rank_{n}" for n in range(len(present))]].to_numpy(np.float64)
    unknown = np.full(len(truth), np.nan)
    places = [FIGURES.index(name) for name in SHOWN]

    def measured(rows: NDArray[np.intp]) -> NDArray[np.float64]:
        values = np.full((detectors, len(SHOWN)), np.nan)
        for column, detector in enumerate(present):
            found = sample_figures(truth[rows], ranks[rows, column], unknown[rows], 0.5)
            values[detector] = found[places]
        return values

    fewest = intervals.fewest_groups(truth, groups)
    values = measured(np.arange(len(truth)))
    drawn = np.full((0, *values.shape), np.nan)
    if fewest > 1:
        drawn = np.stack([measured(rows) for rows in intervals.resamples(groups, draws=draws)])
    few = [(truth == 0).sum() * FPR_LIMITS.get(name, 1.0) < 1.0 for name in SHOWN]
    values[:, few] = drawn[:, :, few] = np.nan
    not_scored = [0] * detectors
    in_sample: list[int | None] = [None] * detectors
    for column, detector in enumerate(present):
        not_scored[detector] = int((~both[f"judged_{column}"].astype(bool)).sum())
        fitted = both[f"fitted_{column}"]
        if fitted.notna().all():
            in_sample[detector] = int(is_fitted(fitted).sum())
    return _Column(
        dataset,
        values,
        drawn,
        len(truth),
        both["group"].nunique(),
        fewest,
        tuple(not_scored),
        tuple(in_sample),
    )


def _mean(columns: Sequence[_Column]) -> _Column:
    """Return the mean over data sets, whose resamples are independent of each other."""
    known = [c.in_sample for c in columns]
    return _Column(
        MEAN,
        np.mean([c.values for c in columns], axis=0),
        np.mean([c.drawn for c in columns], axis=0)
        if len({len(c.drawn) for c in columns}) == 1
        else columns[0].drawn[:0],
        sum(c.samples for c in columns),
        sum(c.groups for c in columns),
        min(c.fewest for c in columns),
        tuple(sum(counts) for counts in zip(*(c.not_scored for c in columns), strict=True)),
        tuple(
            None if None in counts else sum(n for n in counts if n)
            for counts in zip(*known, strict=True)
        ),
    )


def _cells(
    columns: Sequence[_Column], section: str, names: Sequence[str], min_groups: int
) -> Iterator[Cell]:
    for place, figure in enumerate(SHOWN):
        best = _best(columns, place, min_groups)
        for column in columns:
            for number, name in enumerate(names):
                value = column.values[number, place]
                if np.isfinite(value):
                    yield Cell(
                        section,
                        column.dataset,
                        name,
                        figure,
                        column.estimate(value, column.drawn[:, number, place]),
                        column.not_scored[number],
                        column.in_sample[number],
                        column.fewest < min_groups,
                        (column.dataset, number) in best,
                    )


def _best(columns: Sequence[_Column], place: int, min_groups: int) -> set[tuple[str, int]]:
    """Return the data sets on which one detector is shown to be the best, each with its number."""
    sign = -1.0 if SHOWN[place] == "eer" else 1.0
    claims: list[tuple[tuple[str, int], float]] = []
    for column in columns:
        values = sign * column.values[:, place]
        compared = [n for n, v in enumerate(values) if np.isfinite(v) and not column.in_sample[n]]
        if len(compared) < 2 or column.fewest < min_groups:
            continue
        top = max(compared, key=lambda n: float(values[n]))
        for other in compared:
            if other != top:
                drawn = sign * (column.drawn[:, top, place] - column.drawn[:, other, place])
                difference = column.estimate(values[top] - values[other], drawn)
                claims.append(((column.dataset, top), intervals.p_value(difference)))
    corrected = holm([p for _, p in claims])
    doubtful = {claim for (claim, _), p in zip(claims, corrected, strict=True) if p >= 0.05}
    return {claim for claim, _ in claims} - doubtful
