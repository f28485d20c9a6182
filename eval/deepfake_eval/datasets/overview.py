"""Describe the supported data sets, and what of one is found below a root."""

from __future__ import annotations

import dataclasses
import textwrap
from pathlib import Path

from deepfake_eval.datasets import DATASETS, SPLITS, load, parse
from deepfake_eval.errors import DatasetError


def of_all() -> str:
    """Return a block of text for each data set."""
    return "\n\n".join(_block(name) for name in DATASETS)


def of_one(text: str) -> str:
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
