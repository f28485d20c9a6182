"""Data sets published as face crops: WildDeepfake and DF40."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError


@base.adapter
@dataclass(frozen=True, slots=True)
class WildDeepfake:
    """WildDeepfake (Zi et al. 2020, arXiv:2101.01456): face crops of internet videos."""

    name: ClassVar[str] = "wilddeepfake"
    layout: ClassVar[str] = (
        "[deepfake_in_the_wild/]{real_train,fake_train,real_test,fake_test}/<video>/.../*.png, "
        "already cropped to faces"
    )
    grouping: ClassVar[str] = "the numbered folder: one video from the internet"

    def rows(self, root: Path, split: str) -> base.Rows:
        inner = root / "deepfake_in_the_wild"
        top = inner if inner.is_dir() else root
        base.refuse_split(self.name, split, "val")
        found = base.Found(root)
        for part in base.parts_of(split, ("train", "test")):
            for label in base.LABELS:
                folder = top / f"{label}_{part}"
                if not folder.is_dir():
                    names = (f"real_{part}", f"fake_{part}")
                    raise base.wrong_root(self.name, top, f"{'/ and '.join(names)}/", names)
                for clip in base.clips_below(folder):
                    method = base.original_or("in the wild", label)
                    video = (*clip.relative_to(folder).parts, clip.name)[0]
                    group = f"{folder.name}-{video}"
                    media = base.relative(clip, root)
                    found.add(base.Row(media, label, method, "WildDeepfake", part, group))
        found.notes.append(
            "WildDeepfake: the crops are tight, so the detector misses more faces than in full "
            "frames."
        )
        return found.rows()


STILL_METHODS = frozenset(
    {
        "vqgan", "stylegan2", "stylegan3", "styleganxl", "sd2.1", "ddim", "ddpm", "rddm", "pixart",
        "dit", "sit", "midjourney", "midjourney6", "whichisreal", "whichfaceisreal", "collabdiff",
        "e4e", "stargan", "starganv2", "styleclip",
    }
)  # fmt: skip
"""Methods of DF40 that synthesise or edit a face: every picture is independent. The other methods
are swaps and reenactments, with a folder of frames for each clip."""


@base.adapter
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

    def rows(self, root: Path, split: str) -> base.Rows:
        folders = [p for p in base.visible(root) if p.is_dir()]
        known = ("ff", "cdf", "real", "fake")
        methods = [p for p in folders if any((p / d).is_dir() for d in known)]
        if not methods:
            raise base.wrong_root(self.name, root, "<method>/ff/, <method>/cdf/ or <method>/fake/")
        chosen = base.choose(self.name, "method", self.methods, [p.name for p in methods])
        methods = [p for p in methods if p.name in chosen]
        domains = self.domain.split("+")
        if not set(domains) <= {"ff", "cdf"}:
            raise DatasetError(f"The option domain of {self.name} must be ff, cdf or ff+cdf.")
        found = base.Found(root)
        for method in methods:
            still = method.name.lower() in STILL_METHODS
            for part in (*domains, "real", "fake"):
                folder = method / part
                if not folder.is_dir():
                    continue
                label: base.Label = "real" if part == "real" else "fake"
                dataset = f"DF40-{part if part in domains else method.name}"
                for item in base.files_below(folder) if still else base.clips_below(folder):
                    media = base.relative(item, root)
                    group = media if still else base.ids_in_name(item.stem)
                    shown = base.original_or(method.name, label)
                    found.add(base.Row(media, label, shown, dataset, split, group))
        found.notes.append(
            "DF40: training and test sets are separate downloads. The root decides, not --split."
        )
        if any(row.dataset in ("DF40-ff", "DF40-cdf") for row, _ in found.clips):
            found.notes.append(
                "DF40: its ff and cdf parts have only fakes. Their real class is that of "
                "FaceForensics++ or Celeb-DF: add --dataset ffpp:ROOT or celebdf:ROOT."
            )
        return found.rows()
