"""Fill templates of pages, tables and model cards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_SPECIAL = {
    "†": r"$^{\dagger}$",
    "±": r"$\pm$",
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: "\\" + c for c in "&%$#_{}"},
}


def filled(name: str, *, folder: Path = Path(__file__).parent, **values: object) -> str:
    """Return the template ``name`` in ``folder`` with ``values``. In HTML, all of them are escaped;
    LaTeX and Markdown have ``<< >>`` and ``<% %>`` in place of braces, which LaTeX needs itself."""
    brackets: Any = {
        "block_start_string": "<%",
        "block_end_string": "%>",
        "variable_start_string": "<<",
        "variable_end_string": ">>",
        "comment_start_string": "<#",
        "comment_end_string": "#>",
    }
    html = name.endswith(".html")
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=html,  # noqa: S701 - nothing else is a page
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        **({} if html else brackets),
    )
    environment.filters |= {
        "percent": lambda value: f"{value:.1%}",
        "tex": escape_latex,
        "cell": markdown_cell,
    }
    return environment.get_template(f"{name}.jinja").render(values)


def markdown_cell(text: str) -> str:
    """Return ``text`` for one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def escape_latex(text: str) -> str:
    """Return ``text`` for LaTeX: special characters escaped, control characters as spaces."""
    return "".join(_SPECIAL.get(c, c if c.isprintable() else " ") for c in text)
