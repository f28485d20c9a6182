"""Read the manifests that list the media of a training run and check that they agree; write one
from data sets in their published layouts.

Media are identified by their path relative to the root of their manifest, so that a folder of crops
stays valid when the media move. Where two manifests use one such path for different files, the name
of the data set is put before it.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from deepfake_eval.datasets import load, parse
from deepfake_eval.datasets.base import PICTURE_SUFFIXES, namespace, read_table
from deepfake_eval.inference.predictions import LABELS
from deepfake_training.errors import TrainingError

COLUMNS = (*LABELS, "fold")
"""Columns that a manifest must have."""
TERMS = "terms"
"""Optional column: licence or terms of use of the medium."""


def is_still(media: str) -> bool:
    """Return True if the file name ``media`` is that of a picture, not a video."""
    return PurePosixPath(media).suffix.lower() in PICTURE_SUFFIXES


@dataclass(frozen=True, slots=True)
class Manifest:
    """A CSV file that lists labelled media, and the folder to which their paths are relative."""

    path: Path
    root: Path | None = None
    """None: the folder of the CSV file."""

    @classmethod
    def parse(cls, text: str) -> Manifest:
        """Read ``FILE`` or ``FILE:ROOT``; either may contain colons. ``TrainingError`` if there is
        no such file, or the root is not a folder."""
        if Path(text).is_file():
            return cls(Path(text))
        for position in (i for i, character in enumerate(text) if character == ":"):
            path, root = Path(text[:position]), Path(text[position + 1 :])
            if path.is_file():
                if not text[position + 1 :] or not root.is_dir():
                    raise TrainingError(
                        f"{path.name}: The root {str(root)!r} is not a folder. Name one."
                    )
                return cls(path, root)
        raise TrainingError(f"{text}: There is no such manifest. Pass FILE or FILE:ROOT.")


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of all manifests of a run."""

    rows: pd.DataFrame
    """A row for each medium, with ``COLUMNS``, ``terms`` (empty if not given), ``path``, the file,
    and ``where``, which names the row for messages. ``media`` is unique."""
    repeated: int
    """Rows left out because they list a medium that an earlier row lists."""
    sources: list[dict[str, Any]]
    """Name, SHA-256 and number of rows of each manifest, for the record in a bundle."""


def read_manifests(manifests: Sequence[Manifest], *, excluded: Sequence[str] = ()) -> Listing:
    """Read and check ``manifests``. All text is kept as it is: group ``001`` is not group ``1``.

    Rows of the data sets in ``excluded`` are checked like all others, and left out of the result.

    A file that is listed more than once, by one or several manifests, is used once. Its first row
    counts. ``TrainingError`` if a file cannot be read, lacks a column or a value, has an unknown
    label, lists a group in more than one fold, two rows contradict each other, or none is left; the
    message names the lines.
    """
    if not manifests:
        raise TrainingError("No manifest is given. Pass --manifest FILE.")
    short = [m.path.name for m in manifests]
    names = short if len(set(short)) == len(short) else [str(m.path) for m in manifests]
    sources, frames = [], []
    for manifest, name in zip(manifests, names, strict=True):
        frame = _read(manifest, name)
        frames.append(frame)
        digest = hashlib.sha256(manifest.path.read_bytes()).hexdigest()
        sources.append({"name": manifest.path.name, "sha256": digest, "rows": len(frame)})
    listed = pd.concat(frames, ignore_index=True)
    _check_folds(listed)
    rows = _one_row_per_medium(listed)
    repeated = len(listed) - len(rows)
    rows = rows[~rows["dataset"].isin(excluded)].reset_index(drop=True)
    if rows.empty:
        raise TrainingError(
            "The manifests list no media to use. Add a row for each file, or exclude fewer data "
            "sets."
        )
    return Listing(rows, repeated, sources)


def _read(manifest: Manifest, name: str) -> pd.DataFrame:
    """Read one manifest; the column ``where`` names its lines for messages."""
    columns, lines = read_table(manifest.path, COLUMNS, TrainingError)
    frame = pd.DataFrame([line for _, line in lines], columns=columns, dtype=str)
    frame["where"] = [f"{name}, line {n} ({line['media']})" for n, line in lines]
    frame[TERMS] = frame[TERMS].str.strip() if TERMS in columns else ""
    for column in COLUMNS:
        empty = frame[frame[column].str.strip() == ""]
        if len(empty):
            raise TrainingError(f"{empty['where'].iloc[0]}: The {column} is empty. Fill it in.")
    broken = frame[[media.splitlines() != [media] for media in frame["media"]]]
    if len(broken):  # lists of media have a line for each
        raise TrainingError(
            f"{broken['where'].iloc[0]!r}: The name has a line break. Rename the file."
        )
    wrong = frame[~frame["label"].isin(("real", "fake"))]
    if len(wrong):
        raise TrainingError(
            f"{wrong['where'].iloc[0]}: The label must be real or fake, not "
            f"{wrong['label'].iloc[0]!r}."
        )
    folds = pd.to_numeric(frame["fold"], errors="coerce")
    odd = frame[~(folds >= 0) | (folds % 1 != 0)]
    if len(odd):
        raise TrainingError(
            f"{odd['where'].iloc[0]}: The fold must be a whole number, not {odd['fold'].iloc[0]!r}."
        )
    frame["fold"] = folds.astype("int64")
    root = (manifest.root or manifest.path.parent).resolve()
    frame["path"] = [os.path.normpath(root / media) for media in frame["media"]]
    return frame[[*COLUMNS, TERMS, "path", "where"]]


def _check_folds(listed: pd.DataFrame) -> None:
    crossing = listed.groupby("group")["fold"].nunique()
    if (crossing > 1).any():
        group = crossing.idxmax()
        ends = listed[listed["group"] == group].drop_duplicates("fold")
        raise TrainingError(
            f"Group {group} is in more than one fold. Give it one: "
            + ", ".join(f"{r.where} has fold {r.fold}" for r in ends.head(2).itertuples())
            + "."
        )


def _one_row_per_medium(listed: pd.DataFrame) -> pd.DataFrame:
    """Return the first row of each file, with unique ``media``."""
    repeats = []
    for _, same in listed[listed["path"].duplicated(keep=False)].groupby("path", sort=False):
        first = same.iloc[0]
        for _, row in same.iloc[1:].iterrows():
            for column in ("label", "group", "fold"):
                if first[column] != row[column]:
                    raise TrainingError(
                        f"{first['where']} and {row['where']} list the same file, once with the "
                        f"{column} {first[column]} and once with {row[column]}. Correct one of "
                        "the lines."
                    )
            repeats.append(row.name)
    rows = listed.drop(index=cast("list[int]", repeats)).reset_index(drop=True)
    taken = rows["media"].duplicated(keep=False)
    rows.loc[taken, "media"] = rows["dataset"] + "/" + rows["media"]
    if rows["media"].duplicated().any():
        one, two = rows[rows["media"].duplicated(keep=False)]["where"].head(2)
        raise TrainingError(
            f"{one} and {two} are different files with the same name. Rename one of the files, or "
            "give it another dataset."
        )
    return rows


def check_same(earlier: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Check that two rows of equal bytes agree; ``TrainingError`` if not."""
    for column in ("label", "group"):  # and so the fold
        if earlier[column] != row[column]:
            raise TrainingError(
                f"{earlier['where']} and {row['where']} list the same bytes, once with the "
                f"{column} {earlier[column]} and once with {row[column]}. Correct one of "
                "the lines; what shows the same people is one group."
            )


@dataclass(frozen=True, slots=True)
class WrittenManifest:
    """A manifest that ``write_manifest`` has written, and what the data sets lack."""

    manifest: Manifest
    listing: Listing
    missing: tuple[Path, ...]
    """Media that the lists of a data set name, and that are not on disk."""
    notes: tuple[str, ...]
    """Remarks on the data sets, for example on absent methods."""


def write_manifest(
    out: Path, datasets: Sequence[str], *, split: str = "train", folds: int = 5
) -> WrittenManifest:
    """Write a manifest of ``datasets``, each ``NAME[,OPTION=VALUE...]:ROOT``, to ``out``.

    Media of one group share a fold, and each of the ``folds`` has about the same part of the real
    and of the manipulated media of each data set. Only media of the official ``split`` are listed,
    so that the others stay unseen and can be measured. Paths are relative to the folder of ``out``
    if all data sets are below it, and else to the lowest folder that contains them all.

    Raises:
        DatasetError: a data set has no such split, or not the layout of its name.
        TrainingError: ``out`` exists, nothing is found, there are fewer groups than ``folds``, a
            data set is of frames, which are not cut, or two data sets contradict each other.
    """
    if out.exists():
        raise TrainingError(f"{out}: This already exists. Name another file, or delete it.")
    loaded = []
    for text in datasets:
        name, options, root = parse(text)
        loaded.append(load(name, root.absolute(), split, **options))
    root = out.absolute().parent
    if not all(rows.root.is_relative_to(root) for rows in loaded):
        root = Path(os.path.commonpath([rows.root for rows in loaded]))
    missing = tuple(rows.root / media for rows in loaded for media in rows.missing)
    records = []
    for rows in loaded:
        for row in rows.rows:
            path = rows.root / row.media
            if path.is_dir():
                raise TrainingError(
                    f"{row.dataset} is of folders of frames, such as {path}. Faces are cut from "
                    "files: give the data set's videos."
                )
            group = namespace(row.dataset) + row.group
            media = path.relative_to(root).as_posix()
            records.append((media, row.label, row.method, row.dataset, group, row.split))
    frame = pd.DataFrame(records, columns=[*LABELS, "split"], dtype=str)
    if (groups := frame["group"].nunique()) < folds:
        lacking = f" {len(missing)} files are missing, such as {missing[0]}." if missing else ""
        raise TrainingError(
            f"The {split} split has {groups} groups, too few for {folds} folds.{lacking} Name "
            "further data sets, or fewer --folds."
        )
    frame["fold"] = _folds(frame, folds)
    out.parent.mkdir(parents=True, exist_ok=True)
    frame[[*COLUMNS, "split"]].to_csv(out, index=False)
    manifest = Manifest(out, None if root == out.absolute().parent else root)
    notes = tuple(note for rows in loaded for note in rows.notes)
    return WrittenManifest(manifest, read_manifests([manifest]), missing, notes)


def _folds(frame: pd.DataFrame, folds: int) -> pd.Series:
    """Return the fold of each row: a group has one, and classes and data sets are spread evenly."""
    kind = frame["dataset"] + frame["label"]
    result = pd.Series(0, index=frame.index)
    if folds == 1:
        return result
    with warnings.catch_warnings():  # a small data set need not be in each fold
        warnings.filterwarnings("ignore", message="The least populated class", module="sklearn")
        parts = StratifiedGroupKFold(folds).split(np.zeros(len(frame)), kind, frame["group"])
        for fold, (_, held_out) in enumerate(parts):
            result.iloc[held_out] = fold
    return result
