"""Line up several runs on the media that all of them list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from deepfake_eval.errors import RunError
from deepfake_eval.inference.predictions import read_run

COLUMNS = ("level", "dataset", "media", "label", "method", "kind", "group", "rank", "score")
_KEYS = ["dataset", "media"]


@dataclass(frozen=True, slots=True)
class RunTable:
    """The predictions and metrics of one run, under the name of its folder."""

    name: str
    predictions: pd.DataFrame
    metrics: dict[str, Any]

    @property
    def items(self) -> pd.DataFrame:
        return self.predictions[self.predictions["level"] == "item"]


def read_runs(folders: Sequence[Path]) -> list[RunTable]:
    """Read run folders; those whose last parts are alike are named by their paths.

    Raises:
        RunError: a folder has no predictions of ``deepfake-eval``.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = []
    for name, folder in zip(names, folders, strict=True):
        predictions, metrics = read_run(folder / "predictions.parquet", COLUMNS)
        if "fitted" not in predictions.columns:
            predictions = predictions.assign(fitted=None)
        runs.append(RunTable(name, predictions, metrics))
    return runs


def line_up(
    tables: Sequence[pd.DataFrame], join: Literal["inner", "outer"] = "inner"
) -> pd.DataFrame:
    """Return the rows of the media that all ``tables`` list, or with the ``join`` ``outer`` one of
    them, with one row for each medium in each.

    ``rank_0``, ``fitted_0``, ``judged_0`` and so on are those of each table. ``group`` joins what
    shares a group in one of the tables.

    Raises:
        RunError: two tables label a medium differently.
    """
    chosen = ["label", "method", "kind", "group", "rank", "fitted", "judged"]
    parts = [
        table.set_index(_KEYS).reindex(columns=chosen).add_suffix(f"_{number}")
        for number, table in enumerate(tables)
    ]
    both = pd.concat(parts, axis=1, join=join, verify_integrity=True)

    def first(column: str) -> pd.Series:
        each = both[[f"{column}_{number}" for number in range(len(tables))]].astype(object)
        # One of the runs may not have been able to decode the medium.
        return each.where(each != "").bfill(axis=1).iloc[:, 0].fillna("")

    label = first("label")
    for number in range(len(tables)):
        listed = both[f"label_{number}"].notna()
        if (label != both[f"label_{number}"])[listed].any():
            raise RunError(
                "Two of the runs label a medium differently. Score it with the same label in all."
            )
    groups = _joined(both.reset_index(), [f"group_{n}" for n in range(len(tables))])
    both = both.assign(label=label, method=first("method"), kind=first("kind"), group=groups)
    return both.reset_index()


def _joined(rows: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.object_]:
    """Return groups (N,) of the rows that share a group in one of ``columns``, also through others.

    One of two runs may know the people in its media, where the other takes each for a group.
    """
    alone = "\0" + rows["dataset"] + "\0" + rows["media"]
    # A medium that a table does not list shares no group there.
    rows = rows.assign(**{column: rows[column].fillna(alone) for column in columns})
    codes, size = [], 0
    for column in columns:
        code, names = pd.factorize(rows[column])
        codes.append(code + size)
        size += len(names)
    ends = np.concatenate([np.stack([codes[0], code]) for code in codes], axis=1)
    links = coo_array((np.ones(ends.shape[1]), tuple(ends)), shape=(size, size))
    _, of_name = connected_components(links, directed=False)
    # Named, so that neither the order of the runs nor that of their media has an influence.
    # Group 1 of one run and group 1 of the other may have no medium in common.
    lowest = rows[list(columns)].min(axis=1).astype(object).to_numpy()
    named = lowest + alone.to_numpy(object)
    return pd.Series(named).groupby(of_name[codes[0]]).transform("min").to_numpy(object)


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return ``p_values`` (N,) corrected for N comparisons (Holm 1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected
