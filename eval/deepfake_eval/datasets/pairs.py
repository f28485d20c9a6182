"""Data sets with one folder of real and one of manipulated videos: FFIW and UADFV."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError


@base.adapter
@dataclass(frozen=True, slots=True)
class Ffiw:
    """Face Forensics in the Wild (Zhou et al. 2021, arXiv:2103.16076): videos of several faces."""

    name: ClassVar[str] = "ffiw"
    layout: ClassVar[str] = (
        "[FFIW10K-v1-release/]{source,target}/{train,val}[/videos]/*.mp4; source is real, target "
        "is manipulated"
    )
    grouping: ClassVar[str] = (
        "the file name, which links a manipulated video to the source of the same name; the "
        "release does not document that names correspond"
    )

    def rows(self, root: Path, split: str) -> base.Rows:
        inner = root / "FFIW10K-v1-release"
        top = inner if inner.is_dir() else root
        base.require(self.name, top, ("source", "target"))
        found = base.Found(root)
        found.notes.append(
            "FFIW: only one of several faces is manipulated, and the label is that of the video."
        )
        if split == "test":
            found.notes.append("FFIW has no test videos in this layout; val is used, as in papers.")
        parts = {"all": ("train", "val"), "test": ("val",)}.get(split, (split,))
        labels: tuple[tuple[str, base.Label], ...] = (("source", "real"), ("target", "fake"))
        for part in parts:
            for folder, label in labels:
                clips = base.clips_in(top / folder / part)
                if not clips:
                    raise DatasetError(
                        f"{top} needs videos in {folder}/{part}/videos. Download them."
                    )
                for clip in clips:
                    media, group = base.relative(clip, root), f"{part}-{clip.stem}"
                    found.add(
                        base.Row(media, label, base.original_or("FFIW", label), "FFIW", part, group)
                    )
        return found.rows()


@base.adapter
@dataclass(frozen=True, slots=True)
class Uadfv:
    """UADFV (Yang et al. 2019, arXiv:1811.00661): 49 real videos with one FakeApp swap each."""

    name: ClassVar[str] = "uadfv"
    layout: ClassVar[str] = "{real,fake}[/videos]/*.mp4 or {real,fake}/frames/<clip>/*.png"
    grouping: ClassVar[str] = "the number of the clip, which a real video shares with its fake"

    def rows(self, root: Path, split: str) -> base.Rows:
        base.require(self.name, root, ("real", "fake"))
        found = base.Found(root, notes=["UADFV publishes no split; all of it is used."])
        for label in base.LABELS:
            clips = base.clips_in(root / label)
            if not clips:
                raise base.wrong_root(
                    self.name, root / label, "videos/*.mp4 or frames/<clip>/*.png"
                )
            for clip in clips:
                number = re.match(r"\d*", clip.stem)
                group = (number and number.group()) or clip.stem
                method = base.original_or("FakeApp", label)
                found.add(base.Row(base.relative(clip, root), label, method, "UADFV", split, group))
        return found.rows()
