"""KoDF, the Korean DeepFake Detection Dataset (Kwon et al. 2021, arXiv:2103.10094), from AI-Hub.

AI-Hub gives the data to approved users alone. The names here were read in public code that uses
it, not in a copy of the data: the four metadata tables and the columns ``영상ID``, ``변조모델``,
``타겟영상``, ``타겟UUID``, ``소스UUID``, ``UUID`` and ``인물성별`` appear in several independent
programs. The archives' folder names differ between downloads: ``[원천][변조]train_dfl1_data`` below
``1.Training`` in one, ``원천데이터/train_변조`` in another. So tables and videos are looked up by
file name at any depth below the root. Not confirmed: that ``영상ID`` always ends in ``.mp4`` (both
forms are taken), that UUIDs are filled for every method, and whether there is an age column.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets.base import (
    Label,
    Row,
    Rows,
    composed,
    files_below,
    group_by_people,
    relative,
    wrong_root,
)
from deepfake_eval.errors import DatasetError

TABLES: dict[Label, str] = {
    "real": "원본영상_{part}_메타데이터.csv",
    "fake": "변조영상_{part}_메타데이터.csv",
}
PARTS = {"train": "training", "val": "validation"}

VIDEO_ID = "영상ID"
METHOD = "변조모델"
PERSON = "UUID"
TARGET = ("타겟UUID", "타깃UUID")
SOURCE = "소스UUID"
SEX = "인물성별"
SEXES = {"남": "M", "남성": "M", "남자": "M", "여": "F", "여성": "F", "여자": "F"}

REAL_FOLDER = "원본"
FAKE_FOLDER = "변조"
"""Part of a folder name, by which a real and a fake clip of one file name are told apart."""

ENCODINGS = ("utf-8-sig", "cp949")


@dataclass(frozen=True, slots=True)
class KoDf:
    """KoDF: 403 Korean subjects; FaceSwap, DeepFaceLab, FSGAN, FOMM, audio-driven."""

    group: str = "auto"
    """``auto``, ``component`` or ``target``; see ``base.group_by_people``."""

    name: ClassVar[str] = "kodf"
    layout: ClassVar[str] = (
        "at any depth: {원본영상,변조영상}_{training,validation}_메타데이터.csv, real clips by "
        "subject folder, fakes by method folder; videos are found by their 영상ID"
    )
    grouping: ClassVar[str] = (
        "subjects: UUID of a real clip, 타겟UUID and 소스UUID of a fake, linked over all clips; by "
        "the subject of the footage where that would tie more than half of the clips together"
    )

    def rows(self, root: Path, split: str) -> Rows:
        tables = {composed(p.name): p for p in sorted(root.rglob("*.csv"))}
        parts = {"all": ("train", "val"), "test": ("val",)}.get(split, (split,))
        notes = []
        if split == "test":
            notes.append("KoDF: AI-Hub publishes no test part; its validation part is used")
        names = [TABLES[label].format(part=PARTS[p]) for p in parts for label in TABLES]
        absent = [n for n in names if n not in tables]
        if absent:
            raise wrong_root(self.name, root, f"{' and '.join(absent)} at some depth")
        index: dict[str, list[str]] = {}
        for path in files_below(root, pictures=False):
            index.setdefault(composed(path.stem), []).append(relative(path, root))
        found: list[tuple[str, Label, str, str, list[str], str]] = []
        missing = []
        for part in parts:
            for label, pattern in TABLES.items():
                for line in _table(tables[pattern.format(part=PARTS[part])]):
                    stem = composed(line[VIDEO_ID]).removesuffix(".mp4")
                    media = _choose(index.get(stem, []), label)
                    if media is None:
                        missing.append(line[VIDEO_ID])
                        continue
                    method = "original" if label == "real" else line.get(METHOD) or "unknown"
                    sex = SEXES.get(line.get(SEX, ""), "")
                    found.append((media, label, method, part, _people(line, label, stem), sex))
        groups, remarks = group_by_people([f[4] for f in found], self.group, "KoDF")
        rows = tuple(
            Row(media, label, method, "KoDF", part, group,
                attributes=(("sex", sex),) if sex else ())
            for (media, label, method, part, _, sex), group in zip(found, groups, strict=True)
        )  # fmt: skip
        return Rows(root, rows, tuple(missing), (*notes, *remarks))


def _table(path: Path) -> list[dict[str, str]]:
    """The lines of a metadata table, keys and values stripped.

    Raises:
        DatasetError: for a table in neither encoding, or without ``영상ID``.
    """
    raw = path.read_bytes()
    for encoding in ENCODINGS:
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise DatasetError(f"kodf: {path.name} is neither UTF-8 nor CP949")
    reader = csv.DictReader(text.splitlines())
    columns = [composed(c.strip()) for c in reader.fieldnames or ()]
    if VIDEO_ID not in columns:
        raise DatasetError(
            f"kodf: {path.name}: expected a column {VIDEO_ID}, found {', '.join(columns) or 'none'}"
        )
    reader.fieldnames = columns
    return [
        {k: (v or "").strip() for k, v in line.items() if isinstance(k, str)} for line in reader
    ]


def _choose(candidates: list[str], label: Label) -> str | None:
    """The clip of ``label`` among those of one file name: by its folders, where there are several.

    None where that does not tell, so that it is listed rather than guessed.
    """
    if len(candidates) > 1:
        own, other = (REAL_FOLDER, FAKE_FOLDER) if label == "real" else (FAKE_FOLDER, REAL_FOLDER)
        candidates = [c for c in candidates if own in composed(c)] or [
            c for c in candidates if other not in composed(c)
        ]
    return candidates[0] if len(candidates) == 1 else None


def _people(line: dict[str, str], label: Label, stem: str) -> list[str]:
    if label == "real":
        return [line.get(PERSON) or stem]
    target = next((line[c] for c in TARGET if line.get(c)), "")
    return [p for p in (target, line.get(SOURCE, "")) if p] or [stem]
