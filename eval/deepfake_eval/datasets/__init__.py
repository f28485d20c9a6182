"""Turn data sets in their published layouts into labelled rows, by an adapter for each.

Adapters may import ``base`` and ``errors``, and read only file names and lists: they decode no
media. Begin at ``base.Dataset`` and ``plain.Folders``; a new adapter is a module and its line here.
"""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path

from deepfake_eval.datasets import (  # noqa: F401 - each registers its adapters
    celebdf,
    crops,
    deeperforensics,
    deepfakebench,
    dfdc,
    faceforensics,
    kodf,
    pairs,
    plain,
)
from deepfake_eval.datasets.base import DATASETS, SPLITS, Dataset, Label, Row, Rows
from deepfake_eval.errors import DatasetError

__all__ = [
    "DATASETS",
    "SPLITS",
    "Dataset",
    "Label",
    "Row",
    "Rows",
    "describe_all",
    "describe_one",
    "load",
    "parse",
]


def load(name: str, root: Path, split: str = "test", **options: str) -> Rows:
    """Read the rows of one data set.

    ``options`` are the fields of the adapter, for example ``compression="c40"``.

    Raises:
        DatasetError: the name, split or option is unknown, or the root does not have the layout of
            the data set; the message says what was expected and what was found.
    """
    adapter = DATASETS.get(name)
    if adapter is None:
        raise DatasetError(f"There is no data set {name!r}. Choose from {', '.join(DATASETS)}.")
    if split not in SPLITS:
        raise DatasetError(f"The split must be one of {', '.join(SPLITS)}, not {split!r}.")
    known = [f.name for f in dataclasses.fields(adapter)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise DatasetError(
                f"{name} has no option {option!r}. Choose from {', '.join(known) or 'none'}."
            )
    if not root.exists():
        raise DatasetError(f"{root} does not exist. Give the folder of the data set {name}.")
    return adapter(**options).rows(root, split)


def parse(text: str) -> tuple[str, dict[str, str], Path]:
    """Split the command-line argument ``NAME[,OPTION=VALUE...]:ROOT`` into its parts.

    Raises:
        DatasetError: the argument does not have this form.
    """
    head, colon, root = text.partition(":")
    name, *pairs_given = head.split(",")
    options = dict(p.split("=", 1) for p in pairs_given if "=" in p)
    if not (name and colon and root) or len(options) != len(pairs_given):
        raise DatasetError(
            f"{text!r} is not of the form NAME:ROOT or NAME,OPTION=VALUE:ROOT. "
            f"Known names: {', '.join(DATASETS)}."
        )
    return name, options, Path(root)


def describe_all() -> str:
    """Return a block of text for each data set."""
    return "\n\n".join(_block(name) for name in DATASETS)


def describe_one(text: str) -> str:
    """Return the block of one data set, and with a root what is found there.

    ``text`` is ``NAME``, or ``NAME[,OPTION=VALUE...]:ROOT``.

    Raises:
        DatasetError: there is no such data set or option, or no such root.
    """
    if ":" not in text:
        if text not in DATASETS:
            raise DatasetError(f"There is no data set {text!r}. Choose from {', '.join(DATASETS)}.")
        return _block(text)
    name, options, root = parse(text)
    return "\n".join([_block(name) if name in DATASETS else name, "", _found(name, options, root)])


def _block(name: str) -> str:
    adapter = DATASETS[name]
    fields = dataclasses.fields(adapter)  # type: ignore[arg-type]
    options = ", ".join(f"{f.name}={f.default}" for f in fields) or "none"
    facts = {"below ROOT": adapter.layout, "options": options, "group": adapter.grouping}
    lines = (
        textwrap.fill(f"{key}: {text}", 92, initial_indent="  ", subsequent_indent="    ")
        for key, text in facts.items()
    )
    return "\n".join([name, *lines])


def _found(name: str, options: dict[str, str], root: Path) -> str:
    lines = [f"found in {root}:"]
    for split in SPLITS:
        try:
            rows = load(name, root, split, **options)
        except DatasetError as error:
            lines.append(f"  {split}: {error.message}")
            continue
        counts = (sum(r.label == label for r in rows.rows) for label in ("real", "fake"))
        text = "  {}: {} real, {} fake".format(split, *counts)
        if rows.missing:
            text += f"; {len(rows.missing)} listed but absent, such as {rows.missing[0]}"
        lines.append(text)
    return "\n".join(lines)
