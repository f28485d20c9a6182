"""Turn data sets in their published layouts into labelled rows.

A data set is a manifest in ``sets``, of an installed package (entry points of the group
``deepfake.datasets``), or one of yours; ``manifest`` describes its keys and reads it.
Two kinds of lists have code of their own. Only file names and lists are read: nothing is decoded.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from deepfake_eval.datasets import csv_table, deepfakebench
from deepfake_eval.datasets.base import LABELS, SPLITS, Row, Rows
from deepfake_eval.datasets.manifest import Manifest, load_manifest, read
from deepfake_eval.errors import DatasetError
from deepfake_eval.installed import Registry

__all__ = ["DATASETS", "Row", "Rows", "describe", "load", "load_manifest", "parse"]

_SETS = sorted((Path(__file__).parent / "sets").iterdir())
DATASETS: Registry[Manifest] = Registry(
    "deepfake.datasets",
    {path.stem: load_manifest(path) for path in _SETS},
    DatasetError,
    lambda found: isinstance(found, Manifest),
)
"""Every data set by its name on the command line."""


def load(name: str, root: Path, /, split: str = "test", **options: str) -> Rows:
    """Read the rows of one data set: ``name``, or the path of a manifest that ends in ``.toml``.

    ``options`` are those of the manifest, for example ``compression="c40"``.

    Raises:
        DatasetError: the name, split or option is unknown, or the root does not have the layout of
            the data set; the message says what was expected and what was found.
    """
    manifest = _manifest(name)
    if split not in SPLITS:
        raise DatasetError(f"The split must be one of {', '.join(SPLITS)}, not {split!r}.")
    known = manifest.options
    for option in options:
        if option not in known:
            raise DatasetError(
                f"{name} has no option {option!r}. Choose from {', '.join(known) or 'none'}."
            )
    if not root.exists():
        raise DatasetError(f"{root} does not exist. Give the folder of the data set {name}.")
    if not manifest.reader:
        return read(name, manifest, root, split, options)
    given = {key: option.default for key, option in known.items()} | options
    reader = csv_table.read if manifest.reader == "csv" else deepfakebench.read
    return reader(root, split, given)


def _manifest(name: str) -> Manifest:
    if name.endswith(".toml"):
        return load_manifest(Path(name))
    if name not in DATASETS:
        raise DatasetError(
            f"There is no data set {name!r}. Choose from {', '.join(DATASETS)}, or give the path "
            "of a manifest, which ends in .toml."
        )
    return DATASETS[name]


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


def describe(text: str) -> str:
    """Return a block of text on one data set, and with a root what is found there; without a name,
    of each data set.

    ``text`` is ``NAME``, or ``NAME[,OPTION=VALUE...]:ROOT``, or empty.

    Raises:
        DatasetError: there is no such data set or option, or no such root.
    """
    if not text:
        return "\n\n".join(map(_listed, DATASETS))
    if ":" not in text:
        return _block(text)
    name, options, root = parse(text)
    return "\n".join([_block(name), "", _found(name, options, root)])


def _listed(name: str) -> str:
    try:
        return _block(name)
    except DatasetError as error:  # a package that cannot be imported hides no other data set
        return f"{name}\n  {error.message}"


def _block(name: str) -> str:
    manifest = _manifest(name)
    options = ", ".join(f"{key}={option.default}" for key, option in manifest.options.items())
    facts = {
        "below ROOT": manifest.layout,
        "options": options or "none",
        "group": manifest.grouping,
        "terms": manifest.terms,
        "not confirmed": manifest.unconfirmed,
        "published": _published(manifest),
    }
    lines = (
        textwrap.fill(f"{key}: {text}", 92, initial_indent="  ", subsequent_indent="    ")
        for key, text in facts.items()
        if text
    )
    return "\n".join([name, *lines])


def _published(manifest: Manifest) -> str:
    return ", ".join(f"{number:,} {label}" for label, number in manifest.published.items())


def _found(name: str, options: dict[str, str], root: Path) -> str:
    lines = [f"found in {root}:"]
    for split in SPLITS:
        try:
            rows = load(name, root, split, **options)
        except DatasetError as error:
            lines.append(f"  {split}: {error.message}")
            continue
        counts = (sum(r.label == label for r in rows.rows) for label in LABELS)
        text = "  {}: {} real, {} fake".format(split, *counts)
        if rows.missing:
            text += f"; {len(rows.missing)} listed but absent, such as {rows.missing[0]}"
        if split == "all" and (published := _published(_manifest(name))):
            text += f" (published: {published})"
        lines.append(text)
    return "\n".join(lines)
