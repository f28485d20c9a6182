"""Celeb-DF v1, v2 (Li et al. 2020, arXiv:1909.12962) and Celeb-DF++ (Li et al. 2025)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError

TEST_LIST = "List_of_testing_videos.txt"
FOLDERS = ("Celeb-real", "YouTube-real", "Celeb-synthesis")
SCENARIOS = ("FaceSwap", "FaceReenact", "TalkingFace")
LISTED = {100: "Celeb-DF-v1", 518: "Celeb-DF-v2"}
"""Length of the test list, which tells the two releases with the same layout apart."""

IS_REAL = {"1": True, "0": False}
"""First column of the list: 1 means real, the opposite of almost every other data set."""


@base.adapter
@dataclass(frozen=True, slots=True)
class CelebDf:
    name: ClassVar[str] = "celebdf"
    layout: ClassVar[str] = (
        "{Celeb-real,YouTube-real,Celeb-synthesis}[/videos]/*.mp4 (++: "
        "Celeb-synthesis/{FaceSwap,FaceReenact,TalkingFace}/<method>[/videos]/*.mp4), "
        "List_of_testing_videos.txt, in which 1 means real"
    )
    grouping: ClassVar[str] = (
        "celebrities: the person of idA_NNNN and both people of idA_idB_NNNN, linked over all "
        "clips; or the person of the footage (idA) if that links more than half of the clips, as "
        "in v2. Each YouTube-real clip shows a different person and is its own group"
    )

    def rows(self, root: Path, split: str) -> base.Rows:
        folders = {p.name.lower(): p.name for p in base.visible(root) if p.is_dir()}
        if not all(f.lower() in folders for f in FOLDERS) or not (root / TEST_LIST).is_file():
            raise base.wrong_root(
                self.name, root, f"{'/, '.join(FOLDERS)}/ and {TEST_LIST}", FOLDERS
            )
        base.refuse_split(self.name, split, "val")
        listed = _listed(root, folders)
        dataset = LISTED.get(len(listed), "Celeb-DF")
        synthesis = root / folders["celeb-synthesis"]
        if any((synthesis / s).is_dir() for s in SCENARIOS):
            dataset = "Celeb-DF++"
        found = base.Found(root)
        tested = {base.locate(root, media): media for media in listed}
        if split != "train":
            for media in listed:
                found.add_listed(_row(media, dataset, "test"), *_people(media))
        if split != "test":
            for folder in _sources(root, folders):
                for media in (base.relative(clip, root) for clip in base.clips_in(folder)):
                    if media not in tested:
                        found.add(_row(media, dataset, "train"), *_people(media))
        return found.rows()


def _row(media: str, dataset: str, part: str) -> base.Row:
    top, *rest = media.split("/")
    label: base.Label = "fake" if top.lower() == "celeb-synthesis" else "real"
    method = rest[1] if len(rest) > 2 and rest[0] in SCENARIOS else top
    return base.Row(media, label, method, dataset, part, "")


def _sources(root: Path, folders: dict[str, str]) -> list[Path]:
    sources = [root / folders[f.lower()] for f in FOLDERS]
    synthesis = sources[-1]
    for scenario in SCENARIOS:
        if (synthesis / scenario).is_dir():
            sources += [p for p in base.visible(synthesis / scenario) if p.is_dir()]
    return sources


def _listed(root: Path, folders: dict[str, str]) -> list[str]:
    listed = []
    text = (root / TEST_LIST).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        flag, _, path = line.strip().partition(" ")
        top, _, rest = path.strip().partition("/")
        folder = folders.get(top.lower())
        if flag not in IS_REAL or folder is None or not rest:
            raise DatasetError(
                f"Line {number} of {TEST_LIST} must be like '1 YouTube-real/00170.mp4'. Download "
                "the list again."
            )
        if IS_REAL[flag] == (top.lower() == "celeb-synthesis"):
            raise DatasetError(
                f"In line {number} of {TEST_LIST}, {flag} contradicts {folder}. Write 1 for real."
            )
        listed.append(f"{folder}/{rest}")
    return listed


def _people(media: str) -> list[str]:
    """Return the celebrities in a clip, the person of the footage first.

    A clip of YouTube-real stands for its own, unnamed person.
    """
    stem = Path(media).stem
    return re.findall(r"(?:^|_)(id\d+)(?=_|$)", stem) or [f"youtube-{stem}"]
