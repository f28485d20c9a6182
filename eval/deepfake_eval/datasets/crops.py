"""Data sets published as face crops: WildDeepfake and DF40."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets.base import (
    Label,
    Row,
    Rows,
    clips_below,
    files_below,
    relative,
    visible,
    wrong_root,
)
from deepfake_eval.errors import DatasetError


@dataclass(frozen=True, slots=True)
class WildDeepfake:
    """WildDeepfake (Zi et al. 2020, arXiv:2101.01456): face crops of internet videos."""

    name: ClassVar[str] = "wilddeepfake"
    layout: ClassVar[str] = (
        "[deepfake_in_the_wild/]{real_train,fake_train,real_test,fake_test}/<video>/.../*.png, "
        "already cropped to faces"
    )
    grouping: ClassVar[str] = "the numbered folder: one video from the internet"

    def rows(self, root: Path, split: str) -> Rows:
        inner = root / "deepfake_in_the_wild"
        base = inner if inner.is_dir() else root
        if split == "val":
            raise DatasetError(f"{self.name} publishes no val split. Use train or test.")
        rows = []
        labels: tuple[Label, ...] = ("real", "fake")
        for part in ("train", "test") if split == "all" else (split,):
            for label in labels:
                folder = base / f"{label}_{part}"
                if not folder.is_dir():
                    raise wrong_root(
                        self.name, base, f"real_{part}/ and fake_{part}/",
                        (f"real_{part}", f"fake_{part}"),
                    )  # fmt: skip
                for clip in clips_below(folder):
                    inside = clip.relative_to(folder).parts
                    rows.append(
                        Row(
                            relative(clip, root),
                            label,
                            "original" if label == "real" else "in the wild",
                            "WildDeepfake",
                            part,
                            f"{folder.name}-{inside[0] if inside else clip.name}",
                        )
                    )
        note = (
            "WildDeepfake: the crops are tight, so the detector misses more faces than in full "
            "frames."
        )
        return Rows(root, tuple(rows), (), (note,))


STILL_METHODS = frozenset(
    {
        "vqgan", "stylegan2", "stylegan3", "styleganxl", "sd2.1", "ddim", "ddpm", "rddm", "pixart",
        "dit", "sit", "midjourney", "midjourney6", "whichisreal", "whichfaceisreal", "collabdiff",
        "e4e", "stargan", "starganv2", "styleclip",
    }
)  # fmt: skip
"""Methods of DF40 that synthesise or edit a face: every picture is independent. The other methods
are swaps and reenactments, with a folder of frames for each clip."""


@dataclass(frozen=True, slots=True)
class Df40:
    """DF40 (Yan et al. 2024, arXiv:2406.13495): face crops of forty methods."""

    methods: str = ""
    """Methods (folder names) to use, joined by ``+``; all by default."""
    domain: str = "ff+cdf"
    """``ff``, ``cdf`` or ``ff+cdf``: the data set that the fakes were made from."""

    name: ClassVar[str] = "df40"
    layout: ClassVar[str] = (
        "<method>/{ff,cdf}/... with fakes only; nine methods with their own source as "
        "<method>/{real,fake}/..."
    )
    grouping: ClassVar[str] = (
        "ids in the name of a clip: the FaceForensics++ pair (000_003), or the celebrity of the "
        "footage (id0_id1_0000); each still picture is its own group"
    )

    def rows(self, root: Path, split: str) -> Rows:
        folders = [p for p in visible(root) if p.is_dir()]
        known = ("ff", "cdf", "real", "fake")
        methods = [p for p in folders if any((p / d).is_dir() for d in known)]
        if not methods:
            raise wrong_root(self.name, root, "<method>/ff/, <method>/cdf/ or <method>/fake/")
        if self.methods:
            chosen = self.methods.split("+")
            absent = sorted(set(chosen) - {p.name for p in methods})
            if absent:
                raise DatasetError(
                    f"{self.name}: there is no method {absent[0]!r}; "
                    f"found {', '.join(p.name for p in methods)}."
                )
            methods = [p for p in methods if p.name in chosen]
        domains = self.domain.split("+")
        if not set(domains) <= {"ff", "cdf"}:
            raise DatasetError(f"{self.name}: the option domain must be ff, cdf or ff+cdf.")
        rows = []
        for method in methods:
            still = method.name.lower() in STILL_METHODS
            for part in (*domains, "real", "fake"):
                folder = method / part
                if not folder.is_dir():
                    continue
                label: Label = "real" if part == "real" else "fake"
                for item in files_below(folder) if still else clips_below(folder):
                    media = relative(item, root)
                    rows.append(
                        Row(
                            media,
                            label,
                            "original" if label == "real" else method.name,
                            f"DF40-{part}" if part in domains else f"DF40-{method.name}",
                            split,
                            media if still else _clip_group(item.stem),
                        )
                    )
        notes = [
            "DF40: training and test sets are separate downloads. The root decides, not --split."
        ]
        if any(r.dataset in ("DF40-ff", "DF40-cdf") for r in rows):
            notes.append(
                "DF40: its ff and cdf parts have only fakes. Their real class is that of "
                "FaceForensics++ or Celeb-DF: add --dataset ffpp:ROOT or celebdf:ROOT."
            )
        return Rows(root, tuple(rows), (), tuple(notes))


def _clip_group(stem: str) -> str:
    pair = re.fullmatch(r"(\d{3})_(\d{3})", stem)
    if pair:
        return "_".join(sorted(pair.groups()))
    celebrity = re.match(r"id\d+", stem)
    return celebrity.group() if celebrity else stem
