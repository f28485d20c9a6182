"""Write a table of detectors by data sets as CSV, Markdown and LaTeX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from deepfake_eval.analysis.intervals import NO_INTERVAL
from deepfake_eval.analysis.metrics import RANKED
from deepfake_eval.analysis.table import SECTIONS, SHOWN, Cell
from deepfake_eval.reporting.tables import csv_text
from deepfake_eval.reporting.templates import escape_latex, filled
from deepfake_models.machine import atomic_write_text

TABLES = ("table.csv", "table.md", "table.tex")
_NOTE = (
    "Media that a detector did not score count as chance. Brackets: 95% intervals from resamples "
    "of whole groups. Bold: better than every other detector on the same media, with p below 0.05 "
    "after Holm's correction."
)
_Dressed = Callable[[Cell], str]


def write_run_table(folder: Path, cells: Sequence[Cell], left_out: Sequence[str]) -> None:
    """Write ``table.csv`` with every figure, and ``table.md`` and ``table.tex`` with a table for
    each figure and what is ``left_out``, to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write_text(folder / "table.csv", _csv(cells))
    remarks = _remarks(cells)
    if left_out:
        remarks.append(f"Left out: {', '.join(left_out)}.")
    for name, dressed in (("table.md", _plain), ("table.tex", _typeset)):
        tables = [(RANKED[figure], _grids(cells, figure, dressed)) for figure in SHOWN]
        text = filled(name, tables=tables, note=_NOTE, remarks=remarks)
        atomic_write_text(folder / name, text)


def _csv(cells: Sequence[Cell]) -> str:
    return csv_text(
        [
            {
                "section": cell.section,
                "dataset": cell.dataset,
                "detector": cell.detector,
                "figure": cell.figure,
                **cell.estimate.to_json(),
                "not_scored": cell.not_scored,
                "in_sample": cell.in_sample,
                "indicative": int(cell.indicative),
                "best": int(cell.best),
            }
            for cell in cells
        ]
    )


def _grids(
    cells: Sequence[Cell], figure: str, dressed: _Dressed
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return title, header and rows of each section. What there is more of, data sets or detectors,
    goes down the page."""
    of_figure = [c for c in cells if c.figure == figure]
    detectors = list(dict.fromkeys(c.detector for c in of_figure))
    turned = len(detectors) > len({c.dataset for c in of_figure})
    grids = []
    for section in SECTIONS:
        chosen = [c for c in of_figure if c.section == section]
        down = list(dict.fromkeys(c.dataset for c in chosen))
        across = detectors
        text = {(c.dataset, c.detector): dressed(c) for c in chosen}
        rows = [[text.get((s, d), "--") for d in detectors] for s in down]
        if turned:
            across, down, rows = down, detectors, [list(r) for r in zip(*rows, strict=True)]
        if chosen:
            named = [[name, *row] for name, row in zip(down, rows, strict=True)]
            grids.append((section.capitalize(), ["", *across], named))
    return grids


def _remarks(cells: Sequence[Cell]) -> list[str]:
    """Return what the marks mean, and how many media each detector did not score."""
    remarks = []
    if any(cell.indicative for cell in cells):
        remarks.append("†: too few groups in a class.")
    if any(not math.isfinite(cell.estimate.low) for cell in cells):
        remarks.append(NO_INTERVAL)
    if any(cell.in_sample for cell in cells):
        remarks.append("*: the detector was fitted on some of these media, and is not compared.")
    names = dict.fromkeys(cell.detector for cell in cells)
    unknown = [n for n in names if any(c.detector == n and c.in_sample is None for c in cells)]
    if unknown:
        remarks.append(f"What it was fitted on is not known of {', '.join(unknown)}.")
    counted = [c for c in cells if c.figure == SHOWN[0] and c.section != SECTIONS[2]]
    for name in names:
        own = {
            (c.section, c.dataset): c for c in counted if c.detector == name and c.dataset != "mean"
        }
        missed = sum(c.not_scored for c in own.values())
        if missed:
            media = sum(c.estimate.samples for c in own.values())
            remarks.append(f"{name} did not score {missed} of {media}.")
    return remarks


def _marks(cell: Cell) -> str:
    return "†" * cell.indicative + "*" * bool(cell.in_sample)


def _figure(cell: Cell) -> tuple[str, str]:
    entry = cell.estimate.to_json()
    bounds = "" if entry["low"] is None else f"[{entry['low']:.3f}, {entry['high']:.3f}]"
    return f"{entry['value']:.3f}", bounds


def _plain(cell: Cell) -> str:
    value, bounds = _figure(cell)
    marks = _marks(cell).replace("*", r"\*")
    return f"{f'**{value}**' if cell.best else value}{marks} {bounds}".rstrip()


def _typeset(cell: Cell) -> str:
    value, bounds = _figure(cell)
    shown = rf"\textbf{{{value}}}" if cell.best else value
    return rf"{shown}{escape_latex(_marks(cell))} {{\scriptsize {bounds}}}"
