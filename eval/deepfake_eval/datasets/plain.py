"""Media of your own: the folders ``real/`` and ``fake/``, or a CSV table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError


@base.adapter
@dataclass(frozen=True, slots=True)
class Folders:
    title: str = ""
    """Name of the data set in the report; by default that of the root folder."""

    name: ClassVar[str] = "folders"
    layout: ClassVar[str] = "real/**, fake/[<method>/]**: videos and pictures at any depth"
    grouping: ClassVar[str] = "each file; if people recur, use a CSV with groups"

    def rows(self, root: Path, split: str) -> base.Rows:
        base.require(self.name, root, base.LABELS)
        dataset = self.title or root.resolve().name
        found = base.Found(root)
        for label in base.LABELS:
            for path in base.files_below(root / label):
                inside = path.relative_to(root / label).parts
                method = inside[0] if len(inside) > 1 else base.original_or("fake", label)
                media = base.relative(path, root)
                found.add(base.Row(media, label, method, dataset, split, media))
        found.notes.append(
            f"{dataset}: each file is its own group. If people recur, intervals are too narrow."
        )
        return found.rows()


@base.adapter
@dataclass(frozen=True, slots=True)
class Csv:
    """A table of media, whose paths are relative to it."""

    title: str = ""
    """Name of the data set if the table has no column ``dataset``."""
    split_column: str = "split"
    """Column with the split; without it, every row is used."""

    name: ClassVar[str] = "csv"
    layout: ClassVar[str] = (
        "a CSV file, or a folder with manifest.csv: media (path relative to it), label "
        "(real|fake), and optionally method, dataset, split, group, attribute_<name>"
    )
    grouping: ClassVar[str] = "the column group; without it, each file"

    def rows(self, root: Path, split: str) -> base.Rows:
        path = root / "manifest.csv" if root.is_dir() else root
        if not path.is_file():
            raise DatasetError(
                f"{root} needs manifest.csv. Give the path of the table if its name is another."
            )
        found = base.Found(path.parent)
        columns, lines = base.read_table(path, ("media", "label"), DatasetError)
        if self.split_column not in columns and split != "all":
            found.notes.append(f"{path.name} has no column {self.split_column}; every row is used.")
        if "group" not in columns:
            found.notes.append(f"{path.name} has no column group; each file is its own group.")
        unassigned: Counter[str] = Counter()
        for number, line in lines:
            part = line.get(self.split_column) or ""
            if self.split_column in columns and split not in ("all", part):
                unassigned[part] += part not in base.SPLITS or part == "all"
                continue
            row = self._row(line, f"{path.name}, line {number}", path.stem, split)
            if (found.root / row.media).exists():
                found.add(row)
            else:
                found.missing.append(row.media)
        if named := ", ".join(f"{p!r} ({count})" for p, count in unassigned.most_common() if count):
            found.notes.append(
                f"{path.name}: rows whose {self.split_column} is not train, val or test are left "
                f"out: {named}; --split all includes them."
            )
        return found.rows()

    def _row(self, line: dict[str, str], where: str, title: str, split: str) -> base.Row:
        part = line.get(self.split_column)
        label, pure = base.checked_label(line["label"], where, DatasetError), Path(line["media"])
        if not pure.name or pure.is_absolute() or ".." in pure.parts:
            raise DatasetError(f"In {where}, media must be a path below the folder of the table.")
        media = pure.as_posix()  # ./a.jpg is a.jpg
        return base.Row(
            media,
            label,
            line.get("method") or base.original_or("fake", label),
            line.get("dataset") or self.title or title,
            part or (split if split in base.SPLITS else "test"),
            line.get("group") or media,
            tuple(
                (c.removeprefix("attribute_"), v)
                for c, v in line.items()
                if c and c.startswith("attribute_") and v
            ),
        )
