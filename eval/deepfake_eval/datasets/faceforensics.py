"""FaceForensics++ and DeepFakeDetection (Rössler et al. 2019, arXiv:1901.08971)."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError

COMPRESSIONS = ("raw", "c23", "c40")
DFD = "DeepFakeDetection"
FOLDERS = ("original_sequences", "manipulated_sequences")
COPY = ("DFD_original sequences", "DFD_manipulated_sequences")
"""Folders of a copy of DeepFakeDetection that many people have."""
LISTS = ("train", "val", "test")
METHODS = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter")
"""Methods of the release, to report which are absent."""


@base.adapter
@dataclass(frozen=True, slots=True)
class FaceForensics:
    """FaceForensics++: 1,000 YouTube originals, and 1,000 fakes for each method."""

    compression: str = "c23"
    """``raw``, ``c23`` or ``c40``."""
    methods: str = ""
    """Methods to use, joined by ``+``; by default every folder except DeepFakeDetection."""

    name: ClassVar[str] = "ffpp"
    layout: ClassVar[str] = (
        "original_sequences/youtube/{raw,c23,c40}/{videos,frames}/, "
        "manipulated_sequences/<method>/{raw,c23,c40}/{videos,frames}/, "
        "{train,val,test}.json (lists of id pairs)"
    )
    grouping: ClassVar[str] = (
        "the official id pair: both originals, and both fakes of every method made from them"
    )

    def rows(self, root: Path, split: str) -> base.Rows:
        base.require(self.name, root, FOLDERS)
        base.check_option(self.name, "compression", self.compression, COMPRESSIONS)
        found = base.Found(root)
        sources = self._sources(root, found.notes)
        if not any((root / folder).is_dir() for folder in sources.values()):
            raise DatasetError(
                f"{root} needs {sources['original']} or the {self.compression} folder of a method. "
                "Choose another compression, or download it."
            )
        for part in base.parts_of(split, LISTS):
            for one, two in _pairs(root / f"{part}.json"):
                group = "_".join(sorted((one, two)))
                for method, folder in sources.items():
                    label: base.Label = "real" if method == "original" else "fake"
                    names = (one, two) if label == "real" else (f"{one}_{two}", f"{two}_{one}")
                    for name in names:
                        media = f"{folder}/videos/{name}.mp4"
                        found.add_listed(
                            base.Row(media, label, method, "FaceForensics++", part, group)
                        )
        return found.rows()

    def _sources(self, root: Path, notes: list[str]) -> dict[str, str]:
        """Return the folder of each method, and add a note for each that is absent."""
        sources = {"original": f"original_sequences/youtube/{self.compression}"}
        present = [p.name for p in base.visible(root / FOLDERS[1]) if p.is_dir() and p.name != DFD]
        for method in base.choose("FaceForensics++", "method", self.methods, present):
            folder = f"manipulated_sequences/{method}/{self.compression}"
            if (root / folder).is_dir():
                sources[method] = folder
            else:
                notes.append(f"FaceForensics++: {self.compression} of {method} is absent.")
        absent = [m for m in METHODS if m not in present]
        if absent and not self.methods:
            notes.append(f"FaceForensics++: absent methods: {', '.join(absent)}.")
        return sources


def _pairs(path: Path) -> list[tuple[str, str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(a, b) for a, b in content if isinstance(a, str) and isinstance(b, str)]
    except FileNotFoundError as error:
        raise DatasetError(
            f"{path.parent} needs the official list {path.name}. Download it with the code of the "
            "data set, where it is in dataset/splits."
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path.name} is not a list of id pairs. Download it again.") from error
    if len(pairs) != len(content):
        raise DatasetError(f"{path.name} is not a list of id pairs. Download it again.")
    return pairs


@base.adapter
@dataclass(frozen=True, slots=True)
class DeepFakeDetection:
    """DeepFakeDetection by Google, distributed with FaceForensics++: 28 paid actors.

    No split is published, so every clip is test and none is train or val. In a widespread copy the
    same clips are train, val and test: figures on it measure memorisation.
    """

    compression: str = "c23"
    name: ClassVar[str] = "dfd"
    layout: ClassVar[str] = (
        "original_sequences/actors/{raw,c23,c40}/{videos,frames}/, "
        "manipulated_sequences/DeepFakeDetection/{raw,c23,c40}/{videos,frames}/; or, as in a copy, "
        "DFD_original sequences/*.mp4, DFD_manipulated_sequences/[DFD_manipulated_sequences/]*.mp4"
    )
    grouping: ClassVar[str] = (
        "actors: the actor of NN__scene.mp4 and both actors of NN_MM__scene__hash.mp4, linked over "
        "all clips; or the actor of the footage (NN) if that links more than half of the clips"
    )

    def rows(self, root: Path, split: str) -> base.Rows:
        copied = (root / COPY[0]).is_dir()
        base.require(self.name, root, COPY if copied else FOLDERS)
        base.refuse_split(self.name, split, "train", "val")
        found = base.Found(root, notes=[f"{DFD} publishes no split; all of it is used as test."])
        folders = COPY if copied else [
            f"{folder}/{self.compression}"
            for folder in ("original_sequences/actors", f"manipulated_sequences/{DFD}")
        ]  # fmt: skip
        for folder, label in zip(folders, base.LABELS, strict=True):
            clips = base.clips_in(root / folder) or base.clips_in(root / folder / folder)
            if not clips:
                raise DatasetError(
                    f"{root} needs clips in {folder}. Download them, or choose another compression."
                )
            for clip in clips:
                media, method = base.relative(clip, root), base.original_or(DFD, label)
                row = base.Row(media, label, method, DFD, "test", "")
                found.add(row, *clip.stem.split("__")[0].split("_"))
        rows = found.rows()
        named = tuple(replace(row, group=f"actor-{row.group}") for row in rows.rows)
        return replace(rows, rows=named)
