"""DeeperForensics-1.0 (Jiang et al. 2020, arXiv:2001.03024)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets.base import (
    Row,
    Rows,
    clips_below,
    group_by_people,
    locate,
    relative,
    require,
    visible,
)
from deepfake_eval.errors import DatasetError

REALS = ("none", "source")
SEX = {"M": "M", "W": "F"}
LISTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class DeeperForensics:
    """Faces of 100 paid actors swapped into FaceForensics++ videos.

    The publishers use the c23 originals of FaceForensics++ as the real class: add them with the
    ``ffpp`` adapter. ``source_videos`` are studio recordings that differ in light and background.
    """

    variant: str = "end_to_end"
    """Folders below ``manipulated_videos``, joined by ``+``."""
    reals: str = "none"
    """``source`` uses ``source_videos`` as real, like DeepfakeBench; they belong to no split."""
    group: str = "auto"
    """``auto``, ``component`` or ``target``; see ``base.group_by_people``."""

    name: ClassVar[str] = "deeperforensics"
    layout: ClassVar[str] = (
        "manipulated_videos/{end_to_end,end_to_end_level_1..5,end_to_end_mix_{2,3,4}_distortions,"
        "end_to_end_random_level,reenact_postprocess}/TTT_SSSS.mp4, source_videos/<actor>/, "
        "lists/splits/{train,val,test}.txt"
    )
    grouping: ClassVar[str] = (
        "the FaceForensics++ video TTT and the actor SSSS of TTT_SSSS.mp4, linked over all clips: "
        "in effect an actor with every video that received their face"
    )

    def rows(self, root: Path, split: str) -> Rows:
        require(self.name, root, ("manipulated_videos", "lists"))
        if self.reals not in REALS:
            raise DatasetError(f"{self.name}: the option reals must be one of {', '.join(REALS)}.")
        variants = self.variant.split("+")
        for variant in variants:
            if not (root / "manipulated_videos" / variant).is_dir():
                present = [p.name for p in visible(root / "manipulated_videos") if p.is_dir()]
                raise DatasetError(
                    f"{self.name}: there is no variant {variant!r}; "
                    f"found {', '.join(present) or 'none'}."
                )
        clips: list[tuple[str, str, str, list[str]]] = []
        missing = []
        for part in LISTS if split == "all" else (split,):
            path = root / "lists" / "splits" / f"{part}.txt"
            if not path.is_file():
                raise DatasetError(f"{self.name}: expected lists/splits/{part}.txt in {root}.")
            for line in path.read_text(encoding="utf-8").split():
                for variant in variants:
                    name = f"manipulated_videos/{variant}/{line}"
                    media = locate(root, name)
                    if media is None:
                        missing.append(name)
                    else:
                        clips.append((media, variant, part, Path(line).stem.split("_")))
        notes = []
        if self.reals == "source":
            for actor in visible(root / "source_videos"):
                if not actor.is_dir():
                    continue
                for clip in clips_below(actor):
                    clips.append((relative(clip, root), "source", split, ["", actor.name]))
            notes.append(
                "DeeperForensics-1.0: source_videos belong to no published split and are not its "
                "real class. Figures against them say little about real footage."
            )
        else:
            notes.append(
                "DeeperForensics-1.0 has only fakes. Its real class is FaceForensics++ c23: add "
                "--dataset ffpp:ROOT."
            )
        people = [[p for p in shown if p] for *_, shown in clips]
        groups, remarks = group_by_people(people, self.group, "DeeperForensics-1.0")
        rows = []
        for (media, method, part, shown), group in zip(clips, groups, strict=True):
            sex = SEX.get(shown[-1][:1])
            rows.append(
                Row(
                    media,
                    "real" if method == "source" else "fake",
                    method,
                    "DeeperForensics-1.0",
                    part,
                    group,
                    attributes=(("sex", sex),) if sex else (),
                )
            )
        return Rows(root, tuple(rows), tuple(missing), (*notes, *remarks))
