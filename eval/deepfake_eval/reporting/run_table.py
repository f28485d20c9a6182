"""Write a table of detectors by data sets as CSV, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from deepfake_eval.analysis.intervals import NO_INTERVAL
from deepfake_eval.analysis.metrics import RANKED
from deepfake_eval.analysis.table import MEAN, PROTOCOLS, SECTIONS, SHOWN, Cell, Table
from deepfake_eval.reporting.tables import csv_text
from deepfake_eval.reporting.templates import escape_latex, filled
from deepfake_models.machine import atomic_write_text

TABLES = ("table.csv", "table.md", "table.tex")
_NOTE = (
    "Media that a detector did not score count as chance. Brackets: 95% intervals from resamples "
    "of whole groups. Bold: better than every other detector on the same media, with p below 0.05 "
    "after Holm's correction."
)
_FIRST = ("section", "dataset", "part", "detector", "figure")
_LAST = ("seeds", "deviation", "counts", "not_scored", "in_sample", "indicative", "best")
_Dressed = Callable[[Cell], str]


def write_run_table(folder: Path, table: Table) -> None:
    """Write ``table.csv`` with every figure, and ``table.md`` and ``table.tex`` with a table for
    each figure and what is left out, to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / "table.csv", _csv(table.cells))
    remarks = [*_marks_explained(table), *table.remarks]
    if table.left_out:
        remarks.append(f"Left out: {', '.join(table.left_out)}.")
    for name, dressed in (("table.md", _plain), ("table.tex", _typeset)):
        tables = [(RANKED[figure], _grids(table, figure, dressed)) for figure in SHOWN]
        text = filled(name, tables=tables, note=_NOTE, remarks=remarks)
        atomic_write_text(folder / name, text)


def _csv(cells: Sequence[Cell]) -> str:
    def plain(cell: Cell, names: Sequence[str]) -> dict[str, object]:
        values = ((name, getattr(cell, name)) for name in names)
        return {name: int(value) if isinstance(value, bool) else value for name, value in values}

    return csv_text(
        [{**plain(c, _FIRST), **c.estimate.to_json(), **plain(c, _LAST)} for c in cells]
    )


def _grids(
    table: Table, figure: str, dressed: _Dressed
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, header and rows of each section. What there is more of, columns or detectors,
    goes down the page; by a protocol it is what detectors were trained on."""
    of_figure = [c for c in table.cells if c.figure == figure]
    detectors = list(dict.fromkeys(c.detector for c in of_figure))
    columns = {(c.dataset, c.part) for c in of_figure}
    turned = bool(table.protocol) or len(detectors) > len(columns)
    corner = PROTOCOLS[table.protocol].named_by if table.protocol else ""
    grids = []
    for section in SECTIONS:
        chosen = [c for c in of_figure if c.section == section]
        text = {(_heading(c), c.detector): dressed(c) for c in chosen}
        named = list(dict.fromkeys(heading for heading, _ in text))
        grid = [[corner, *named]]
        grid += [[d, *(text.get((name, d), "--") for name in named)] for d in detectors]
        header, *rows = grid if turned else [list(line) for line in zip(*grid, strict=True)]
        if chosen:
            grids.append((section.capitalize(), header, rows))
    return grids


def _heading(cell: Cell) -> str:
    """Return what a column is of, with its number of groups."""
    if cell.dataset == MEAN:
        return MEAN
    name = f"{cell.dataset}: {cell.part}".removesuffix(": ")
    return f"{name} ({cell.estimate.groups} groups)"


def _marks_explained(table: Table) -> list[str]:
    """Return what the protocol is, and what the marks mean."""
    cells, remarks = table.cells, []
    if table.protocol:
        remarks.append(f"Protocol {table.protocol}: {PROTOCOLS[table.protocol].title}.")
    if not all(cell.counts for cell in cells):
        remarks.append("In parentheses: not of the protocol, and not in the mean.")
    seeds = {cell.detector: cell.seeds for cell in cells if cell.seeds > 1}
    if seeds:
        runs = ", ".join(f"{name} ({count} runs)" for name, count in seeds.items())
        remarks.append(
            f"Mean ± standard deviation (n - 1) over seeds: {runs}. Intervals and bold are of the "
            "mean, and of the media alone."
        )
    if any(cell.indicative for cell in cells):
        remarks.append("†: too few groups in a class.")
    if any(not math.isfinite(cell.estimate.low) for cell in cells):
        remarks.append(NO_INTERVAL)
    if any(cell.in_sample for cell in cells):
        remarks.append("*: the detector was fitted on some of these media, and is not compared.")
    unknown = dict.fromkeys(cell.detector for cell in cells if cell.in_sample is None)
    if unknown:
        remarks.append(f"What it was fitted on is not known of {', '.join(unknown)}.")
    return remarks


def _marks(cell: Cell) -> str:
    return "†" * cell.indicative + "*" * bool(cell.in_sample)


def _figure(cell: Cell) -> tuple[str, str, str]:
    entry = cell.estimate.to_json()
    bounds = "" if entry["low"] is None else f"[{entry['low']:.3f}, {entry['high']:.3f}]"
    spread = "" if cell.deviation is None else f" ± {cell.deviation:.3f}"
    return f"{entry['value']:.3f}", spread, bounds


def _plain(cell: Cell) -> str:
    value, deviation, bounds = _figure(cell)
    marks = _marks(cell).replace("*", r"\*")
    shown = f"{f'**{value}**' if cell.best else value}{deviation}{marks} {bounds}".rstrip()
    return shown if cell.counts else f"({shown})"


def _typeset(cell: Cell) -> str:
    value, deviation, bounds = _figure(cell)
    value = rf"\textbf{{{value}}}" if cell.best else value
    shown = rf"{value}{escape_latex(deviation + _marks(cell))} {{\scriptsize {bounds}}}"
    return shown if cell.counts else f"({shown})"
