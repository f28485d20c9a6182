"""The Deepfake Detection Challenge (Dolhansky et al. 2020, arXiv:2006.07397) and its preview."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deepfake_eval.datasets.base import (
    Label,
    Row,
    Rows,
    files_below,
    group_by_people,
    locate,
    relative,
    require,
    visible,
    wrong_root,
)
from deepfake_eval.errors import DatasetError

LABELS: dict[str, Label] = {"FAKE": "fake", "REAL": "real", "1": "fake", "0": "real"}


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{name}: {path} is not readable JSON.") from error
    if not isinstance(content, dict) or not all(isinstance(v, dict) for v in content.values()):
        raise DatasetError(f"{name}: {path} does not map each file name to an object.")
    return content


def _label(value: object, name: str, where: str) -> Label:
    label = LABELS.get(str(value).strip().upper())
    if label is None:
        raise DatasetError(
            f"{name}: {where}: the label must be one of {', '.join(LABELS)}, not {value!r}."
        )
    return label


@dataclass(frozen=True, slots=True)
class Dfdc:
    """The training parts and the test set of the full challenge."""

    name: ClassVar[str] = "dfdc"
    layout: ClassVar[str] = (
        "test/{videos/*.mp4,labels.csv}, train/dfdc_train_part_N/{metadata.json,*.mp4}; "
        "videos/ and labels.csv may also be in the root itself"
    )
    grouping: ClassVar[str] = (
        "train: the original that a fake was made from. test: each clip, because the list names no "
        "originals; intervals are therefore too narrow"
    )

    def rows(self, root: Path, split: str) -> Rows:
        test = root / "test" if (root / "test").is_dir() else root
        parts = [p for p in sorted((root / "train").glob("dfdc_train_part_*")) if p.is_dir()]
        has_test = (test / "labels.csv").is_file()
        if not (has_test or parts):
            raise wrong_root(
                self.name, root, "test/labels.csv or train/dfdc_train_part_N/", ("test", "train")
            )
        if split == "val":
            raise DatasetError(f"{self.name} has no val split. Use train or test.")
        rows: list[Row] = []
        missing: list[str] = []
        notes: list[str] = []
        if split in ("test", "all"):
            if not has_test:
                raise wrong_root(self.name, test, "labels.csv and videos/")
            notes.append("DFDC: the test list names no originals, so each clip is its own group.")
            present, absent = _test_rows(test, root)
            rows += present
            missing += absent
        if split in ("train", "all"):
            if not parts:
                raise wrong_root(self.name, root / "train", "dfdc_train_part_N/")
            for part in parts:
                facts = _json(part / "metadata.json", self.name)
                for file, fact in facts.items():
                    media = locate(root, f"{relative(part, root)}/{file}")
                    if media is None:
                        missing.append(f"{relative(part, root)}/{file}")
                        continue
                    label = _label(fact.get("label"), self.name, file)
                    group = str(fact.get("original") or file)
                    rows.append(Row(media, label, _method(label), "DFDC", "train", group))
        return Rows(root, tuple(rows), tuple(missing), tuple(notes))


def _method(label: Label) -> str:
    return "original" if label == "real" else "DFDC"


def _test_rows(test: Path, root: Path) -> tuple[list[Row], list[str]]:
    rows, missing = [], []
    with (test / "labels.csv").open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if not {"filename", "label"} <= set(reader.fieldnames or ()):
            raise DatasetError("dfdc: labels.csv lacks the columns filename and label.")
        for line in reader:
            label = _label(line["label"], "dfdc", "labels.csv")
            media = locate(test, line["filename"])
            folder = relative(test, root)
            prefix = "" if folder == "." else f"{folder}/"
            if media is None:
                missing.append(f"{prefix}videos/{line['filename']}")
            else:
                group = Path(line["filename"]).stem
                rows.append(Row(prefix + media, label, _method(label), "DFDC", "test", group))
    return rows, missing


@dataclass(frozen=True, slots=True)
class DfdcPreview:
    """The challenge's preview (Dolhansky et al. 2019, arXiv:1910.08854)."""

    group: str = "auto"
    """``auto``, ``component`` or ``target``; see ``base.group_by_people``."""

    name: ClassVar[str] = "dfdcp"
    layout: ClassVar[str] = "{original_videos,method_A,method_B}[/videos]/**/*.mp4, dataset.json"
    grouping: ClassVar[str] = (
        "actors: target_id and swapped_id of a fake, the actor in the folder name of an original, "
        "linked over all clips; or the actor of the footage if that links more than half of them"
    )

    def rows(self, root: Path, split: str) -> Rows:
        require(self.name, root, ("original_videos", "dataset.json"))
        if split == "val":
            raise DatasetError(f"{self.name} publishes no val split. Use train or test.")
        facts = _json(root / "dataset.json", self.name)
        by_name = {
            (top.name, path.name): relative(path, root)
            for top in visible(root)
            if top.is_dir()
            for path in files_below(top, pictures=False)
        }
        clips: list[tuple[str, Label, str, list[str]]] = []
        missing = []
        for key, fact in facts.items():
            part = str(fact.get("set"))
            if split not in ("all", part):
                continue
            top, _, rest = key.partition("/")
            media = locate(root, key) or by_name.get((top, key.rpartition("/")[2]))
            if media is None:
                missing.append(key)
                continue
            label = _label(
                {"fake": "FAKE", "real": "REAL"}.get(str(fact.get("label")), fact.get("label")),
                self.name,
                key,
            )
            ids = [str(fact[k]) for k in ("target_id", "swapped_id") if fact.get(k)]
            clips.append((media, label, part, ids or [rest.split("/")[0].split("_")[0]]))
        groups, notes = group_by_people([clip[3] for clip in clips], self.group, "DFDC preview")
        return Rows(
            root,
            tuple(
                Row(media, label, media.split("/")[0], "DFDCP", part, group)
                for (media, label, part, _), group in zip(clips, groups, strict=True)
            ),
            tuple(missing),
            tuple(notes),
        )
