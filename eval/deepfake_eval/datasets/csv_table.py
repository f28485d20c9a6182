"""Media of your own in a CSV table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError


def read(root: Path, split: str, options: Mapping[str, str]) -> base.Rows:
    """Read a table, or ``manifest.csv`` in a folder. Its paths are relative to it, or to the option
    ``root``. Without a column ``split``, every row is used. ``title`` is the name of the data set
    of rows without one.
    """
    path = root / "manifest.csv" if root.is_dir() else root
    if not path.is_file():
        raise DatasetError(
            f"{root} needs manifest.csv. Give the path of the table if its name is another."
        )
    title = options["title"] or path.stem
    found = base.Found(Path(options["root"] or path.parent))
    columns, lines = base.read_table(path, ("media", "label"), DatasetError)
    if "split" not in columns and split != "all":
        found.notes.append(f"{path.name} has no column split; every row is used.")
    if "group" not in columns:
        found.notes.append(f"{path.name} has no column group; each file is its own group.")
    unassigned: Counter[str] = Counter()
    for number, line in lines:
        part = line.get("split") or ""
        if "split" in columns and split not in ("all", part):
            unassigned[part] += part not in base.SPLITS or part == "all"
            continue
        row = _row(line, f"{path.name}, line {number}", title, part or split)
        if (found.root / row.media).exists():
            found.add(row)
        else:
            found.missing.append(row.media)
    if named := ", ".join(f"{p!r} ({count})" for p, count in unassigned.most_common() if count):
        found.notes.append(
            f"{path.name}: rows whose split is not train, val or test are left out: {named}; "
            "--split all includes them."
        )
    return found.rows()


def _row(line: dict[str, str], where: str, title: str, split: str) -> base.Row:
    label, pure = base.checked_label(line["label"], where, DatasetError), Path(line["media"])
    if not pure.name or pure.is_absolute() or ".." in pure.parts:
        raise DatasetError(
            f"In {where}, media must be a path below the folder of the table, or of another that "
            "is named: csv,root=FOLDER:TABLE."
        )
    media = pure.as_posix()  # ./a.jpg is a.jpg
    return base.Row(
        media,
        label,
        line.get("method") or base.original_or("fake", label),
        line.get("dataset") or title,
        split,
        line.get("group") or media,
        tuple(
            (c.removeprefix("attribute_"), v)
            for c, v in line.items()
            if c and c.startswith("attribute_") and v
        ),
    )
