"""KoDF, the Korean DeepFake Detection Dataset (Kwon et al. 2021, arXiv:2103.10094), from AI-Hub.

AI-Hub gives the data only to approved users. The names used here come from public code that reads
the data, not from a copy of the data: the four metadata tables and the columns ``영상ID``,
``변조모델``, ``타겟영상``, ``타겟UUID``, ``소스UUID``, ``UUID`` and ``인물성별`` appear in several
independent programs. Folder names differ between downloads: ``[원천][변조]train_dfl1_data`` below
``1.Training`` in one, ``원천데이터/train_변조`` in another. Tables and videos are therefore looked
up by file name at any depth below the root. Not confirmed: that ``영상ID`` always ends in ``.mp4``
(both forms are accepted), that every method has UUIDs, and whether there is an age column.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError

TABLES: dict[base.Label, str] = {
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
"""Parts of folder names that tell a real clip from a fake one with the same file name."""

ENCODINGS = ("utf-8-sig", "cp949")


@base.adapter
@dataclass(frozen=True, slots=True)
class KoDf:
    """KoDF: 403 Korean subjects; FaceSwap, DeepFaceLab, FSGAN, FOMM and audio-driven fakes."""

    name: ClassVar[str] = "kodf"
    layout: ClassVar[str] = (
        "at any depth: {원본영상,변조영상}_{training,validation}_메타데이터.csv, a folder of real "
        "clips for each subject, a folder of fakes for each method; videos are found by 영상ID"
    )
    grouping: ClassVar[str] = (
        "subjects: UUID of a real clip, 타겟UUID and 소스UUID of a fake, linked over all clips; or "
        "the subject of the footage if that links more than half of the clips"
    )

    def rows(self, root: Path, split: str) -> base.Rows:
        tables = {base.composed(p.name): p for p in sorted(root.rglob("*.csv"))}
        parts = {"all": ("train", "val"), "test": ("val",)}.get(split, (split,))
        found = base.Found(root)
        if split == "test":
            found.notes.append(
                "KoDF: AI-Hub publishes no test part, so the validation part is used."
            )
        names = [TABLES[label].format(part=PARTS[p]) for p in parts for label in TABLES]
        absent = [n for n in names if n not in tables]
        if absent:
            raise base.wrong_root(self.name, root, f"{' and '.join(absent)} at any depth")
        index: dict[str, list[str]] = {}
        for path in base.files_below(root, pictures=False):
            index.setdefault(base.composed(path.stem), []).append(base.relative(path, root))
        for part in parts:
            for label, pattern in TABLES.items():
                for line in _table(tables[pattern.format(part=PARTS[part])]):
                    stem = base.composed(line[VIDEO_ID]).removesuffix(".mp4")
                    media = _choose(index.get(stem, []), label)
                    if media is None:
                        found.missing.append(line[VIDEO_ID])
                        continue
                    method = base.original_or(line.get(METHOD) or "unknown", label)
                    sex = SEXES.get(line.get(SEX, ""))
                    attributes = (("sex", sex),) if sex else ()
                    row = base.Row(media, label, method, "KoDF", part, "", attributes=attributes)
                    found.add(row, *_people(line, label, stem))
        return found.rows()


def _table(path: Path) -> list[dict[str, str]]:
    raw = path.read_bytes()
    for encoding in ENCODINGS:
        try:
            text = raw.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise DatasetError(f"{path.name} is neither UTF-8 nor CP949. Save it as one of them.")
    reader = csv.DictReader(text.splitlines())
    columns = [base.composed(c.strip()) for c in reader.fieldnames or ()]
    if VIDEO_ID not in columns:
        raise DatasetError(
            f"{path.name} needs a column {VIDEO_ID}. It has {', '.join(columns) or 'none'}."
        )
    reader.fieldnames = columns
    return [
        {k: (v or "").strip() for k, v in line.items() if isinstance(k, str)} for line in reader
    ]


def _choose(candidates: list[str], label: base.Label) -> str | None:
    """Return the clip of class ``label`` among those with one file name, judged by their folders.

    Return None if the folders do not decide: the clip is then reported as missing, not guessed.
    """
    if len(candidates) > 1:
        own, other = (REAL_FOLDER, FAKE_FOLDER) if label == "real" else (FAKE_FOLDER, REAL_FOLDER)
        candidates = [c for c in candidates if own in base.composed(c)] or [
            c for c in candidates if other not in base.composed(c)
        ]
    return candidates[0] if len(candidates) == 1 else None


def _people(line: dict[str, str], label: base.Label, stem: str) -> list[str]:
    if label == "real":
        return [line.get(PERSON) or stem]
    target = next((line[c] for c in TARGET if line.get(c)), "")
    return [p for p in (target, line.get(SOURCE, "")) if p] or [stem]
