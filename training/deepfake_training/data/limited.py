"""Draw a small part of the manifests, with which a person can try all steps in minutes."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from deepfake_models.machine import atomic_write_text
from deepfake_training.data.manifests import Manifest, read_manifests
from deepfake_training.data.splits import is_still
from deepfake_training.errors import TrainingError

FOLDER = "limited"


def limited(
    manifests: Sequence[Manifest], limit: int, work: Path, *, excluded: Sequence[str] = ()
) -> list[Manifest]:
    """Write manifests of at most ``limit`` of the listed media into ``work``, and return them.

    Files that are missing, and data sets in ``excluded``, are not drawn. The same manifests and
    files give the same draw.

    Raises:
        TrainingError: the manifests are invalid, or every group with files has more media.
    """
    listed = read_manifests(manifests, excluded=excluded).rows
    present = listed[[Path(path).is_file() for path in listed["path"]]]
    drawn = drawn_paths(present, limit)
    if not drawn:
        raise TrainingError(
            f"--limit {limit}: each of the groups whose files are present has more media, and "
            "groups are not divided; raise the limit"
        )
    written = []
    for number, manifest in enumerate(manifests):
        rows = pd.read_csv(manifest.path, dtype=str, keep_default_na=False)
        root = manifest.media_root.resolve()
        kept = rows[[os.path.normpath(root / media) in drawn for media in rows["media"]]]
        if len(kept):
            path = work / FOLDER / f"{number}-{manifest.path.name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(path, kept.to_csv(index=False))
            written.append(Manifest(path, root))
    return written


def drawn_paths(rows: pd.DataFrame, limit: int) -> set[str]:
    """Return the paths of at most ``limit`` of ``rows``, which are those of ``Listing``.

    Whole groups are drawn. First comes the smallest group with a video of each class in each fold,
    because a run that holds a fold out needs both there, and likewise with a picture. Then groups
    are drawn for the class of a data set of which fewest media were drawn so far; among its groups,
    one of the fold of which fewest were. So each class of each data set and each fold has about as
    many as the others, as far as there are such media. The order of groups otherwise follows from a
    digest of their names.
    """
    described = rows.assign(still=[is_still(str(media)) for media in rows["media"]])
    groups = {str(name): part for name, part in described.groupby("group", sort=True)}
    order = sorted(groups, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    kinds = {name: _counts(part[["dataset", "label"]]) for name, part in groups.items()}
    folds = {name: _counts(part[["still", "fold", "label"]]) for name, part in groups.items()}
    per_kind: Counter[tuple[object, ...]] = Counter(dict.fromkeys(set().union(*kinds.values()), 0))
    per_fold: Counter[tuple[object, ...]] = Counter(dict.fromkeys(set().union(*folds.values()), 0))
    paths: set[str] = set()

    def fitting(
        kind: tuple[object, ...], kinds_of: dict[str, Counter[tuple[object, ...]]]
    ) -> list[str]:
        return [
            name
            for name in order
            if kind in kinds_of[name] and len(paths) + len(groups[name]) <= limit
        ]

    def draw(name: str) -> None:
        order.remove(name)
        paths.update(groups[name]["path"])
        per_kind.update({k: n for k, n in kinds[name].items() if k in per_kind})
        per_fold.update(folds[name])

    for fold in sorted(per_fold):  # videos first
        if not per_fold[fold] and (names := fitting(fold, folds)):
            draw(min(names, key=lambda n: len(groups[n])))
    while per_kind:
        kind = min(per_kind, key=lambda k: (per_kind[k], str(k)))
        if names := fitting(kind, kinds):
            draw(min(names, key=lambda n: sum(per_fold[f] for f in folds[n]) / len(folds[n])))
        else:
            del per_kind[kind]
    return paths


def _counts(columns: pd.DataFrame) -> Counter[tuple[object, ...]]:
    rows: Iterable[tuple[object, ...]] = columns.itertuples(index=False, name=None)
    return Counter(rows)
