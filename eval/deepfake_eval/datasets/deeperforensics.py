"""DeeperForensics-1.0 (Jiang et al. 2020, arXiv:2001.03024)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from deepfake_eval.datasets import base
from deepfake_eval.errors import DatasetError

SEX = {"M": "M", "W": "F"}
LISTS = ("train", "val", "test")
TITLE = "DeeperForensics-1.0"


@base.adapter
@dataclass(frozen=True, slots=True)
class DeeperForensics:
    """Faces of 100 paid actors swapped into FaceForensics++ videos.

    The publishers use the c23 originals of FaceForensics++ as the real class: add them with the
    ``ffpp`` adapter. ``source_videos`` are studio recordings that differ in light and background.
    """

    variant: str = "end_to_end"
    """Folders below ``manipulated_videos``, joined by ``+``."""
    name: ClassVar[str] = "deeperforensics"
    layout: ClassVar[str] = (
        "manipulated_videos/{end_to_end,end_to_end_level_1..5,end_to_end_mix_{2,3,4}_distortions,"
        "end_to_end_random_level,reenact_postprocess}/TTT_SSSS.mp4, "
        "lists/splits/{train,val,test}.txt"
    )
    grouping: ClassVar[str] = (
        "the FaceForensics++ video TTT and the actor SSSS of TTT_SSSS.mp4, linked over all clips: "
        "in effect an actor with every video that received their face"
    )

    def rows(self, root: Path, split: str) -> base.Rows:
        base.require(self.name, root, ("manipulated_videos", "lists"))
        present = [p.name for p in base.visible(root / "manipulated_videos") if p.is_dir()]
        variants = base.choose(TITLE, "variant", self.variant, present)
        found = base.Found(root)
        for part in base.parts_of(split, LISTS):
            path = root / "lists" / "splits" / f"{part}.txt"
            if not path.is_file():
                raise DatasetError(
                    f"{root} needs lists/splits/{part}.txt of {TITLE}. Download it again."
                )
            for line in path.read_text(encoding="utf-8").split():
                target, _, actor = Path(line).stem.partition("_")
                for variant in variants:
                    media = f"manipulated_videos/{variant}/{line}"
                    row = base.Row(media, "fake", variant, TITLE, part, "", attributes=_sex(actor))
                    found.add_listed(row, target, actor)
        found.notes.append(
            f"{TITLE} has only fakes. Its real class is FaceForensics++ c23: add "
            "--dataset ffpp:ROOT."
        )
        return found.rows()


def _sex(actor: str) -> tuple[tuple[str, str], ...]:
    return (("sex", SEX[actor[:1]]),) if actor[:1] in SEX else ()
