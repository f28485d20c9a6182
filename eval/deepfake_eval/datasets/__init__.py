"""Data sets in their published layouts, each turned into labelled rows by one small adapter.

``load("ffpp", root, split="test")`` returns ``Rows``. Adapters read names and lists alone and
decode nothing, so they are quick and can be tried on a tree of empty files.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from deepfake_eval.datasets.base import SPLITS, Dataset, Label, Row, Rows
from deepfake_eval.datasets.celebdf import CelebDf
from deepfake_eval.datasets.crops import Df40, WildDeepfake
from deepfake_eval.datasets.deeperforensics import DeeperForensics
from deepfake_eval.datasets.deepfakebench import DeepfakeBench
from deepfake_eval.datasets.dfdc import Dfdc, DfdcPreview
from deepfake_eval.datasets.faceforensics import DeepFakeDetection, FaceForensics
from deepfake_eval.datasets.kodf import KoDf
from deepfake_eval.datasets.pairs import Ffiw, Uadfv
from deepfake_eval.datasets.plain import Csv, Folders
from deepfake_eval.errors import DatasetError

__all__ = ["DATASETS", "SPLITS", "Dataset", "Label", "Row", "Rows", "load", "parse"]

DATASETS: dict[str, type[Dataset]] = {
    adapter.name: adapter
    for adapter in (
        FaceForensics,
        DeepFakeDetection,
        CelebDf,
        Dfdc,
        DfdcPreview,
        DeeperForensics,
        Ffiw,
        Uadfv,
        WildDeepfake,
        Df40,
        KoDf,
        DeepfakeBench,
        Folders,
        Csv,
    )
}
"""Every adapter by the name it has on the command line."""


def load(name: str, root: Path, split: str = "test", **options: str) -> Rows:
    """Read the rows of one data set.

    ``options`` are the adapter's own fields, for instance ``compression="c40"``.

    Raises:
        DatasetError: an unknown name, split or option, or a root laid out otherwise; it says what
            was expected and what was found.
    """
    adapter = DATASETS.get(name)
    if adapter is None:
        raise DatasetError(f"no data set is called {name!r}; known: {', '.join(DATASETS)}")
    if split not in SPLITS:
        raise DatasetError(f"split must be one of {', '.join(SPLITS)}, not {split!r}")
    known = [f.name for f in dataclasses.fields(adapter)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise DatasetError(
                f"{name}: has no option {option!r}; it has {', '.join(known) or 'none'}"
            )
    if not root.exists():
        raise DatasetError(f"{name}: {root} does not exist")
    return adapter(**options).rows(root, split)


def parse(text: str) -> tuple[str, dict[str, str], Path]:
    """Split ``NAME[,OPTION=VALUE...]:ROOT`` as given on the command line.

    Raises:
        DatasetError: when it is not of that form.
    """
    head, colon, root = text.partition(":")
    name, *pairs = head.split(",")
    options = dict(p.split("=", 1) for p in pairs if "=" in p)
    if not (name and colon and root) or len(options) != len(pairs):
        raise DatasetError(
            f"{text!r} is not of the form NAME:ROOT or NAME,OPTION=VALUE:ROOT; "
            f"names: {', '.join(DATASETS)}"
        )
    return name, options, Path(root)
