"""CSV (RFC 4180) that spreadsheets open without running what others wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

BYTE_ORDER_MARK = "\ufeff"
"""Makes spreadsheets read the file as UTF-8."""
FORMULA_STARTS = ("=", "+", "-", "@", "|", "\t", "\r", "＝", "＋", "－", "＠")
"""Korean and Japanese editions of Excel take full-width signs for formulas as well."""


def csv_line(cells: Sequence[object]) -> str:
    """Return one line."""
    out = io.StringIO()
    csv.writer(out).writerow([escape_formula(cell) for cell in cells])
    return out.getvalue()


def escape_formula(cell: object) -> object:
    """Prefix text that a spreadsheet would evaluate as a formula."""
    if isinstance(cell, str) and cell.startswith(FORMULA_STARTS):
        return f"'{cell}"
    return "" if cell is None else cell
