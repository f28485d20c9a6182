"""Verdicts on held-out media by runs that did not see them, through the path of the service."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.inference.faces import face_crops
from deepfake_eval.inference.pool import no_progress
from deepfake_eval.inference.predictions import examine
from deepfake_models.bundle.bundle import BundleSpec, load_bundle, seal
from deepfake_models.bundle.results import Face, FaceScore, Verdict, unable
from deepfake_models.classifier import KIND_LOGITS, LOGIT
from deepfake_models.decision.decide import Part
from deepfake_models.decision.level import Criteria
from deepfake_models.errors import MediaError
from deepfake_models.faces.crops import CroppedFace
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer, conclude
from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.manifests import Listing, Manifest, check_same, read_manifests
from deepfake_training.data.prepare import not_used
from deepfake_training.data.splits import check_videos, measured_on, thinned
from deepfake_training.errors import TrainingError
from deepfake_training.export.graphs import write_network
from deepfake_training.heads import Heads, heads_of, logits_of
from deepfake_training.train.feature_store import ExaminedMedium, FeatureStore
from deepfake_training.train.material import has_features

HeldOutRun = tuple[Config, dict[str, Any]]
"""A config and the weights of a run that held something out."""
Judged = tuple[dict[str, Any], Verdict]
"""The row of a medium in the manifests, and its verdict."""
Report = Callable[[int, int], None]


HeldOut = Sequence[tuple[Config, dict[str, Any], pd.DataFrame]]
"""For each run its config, its weights, and the rows of the manifests that it held out."""


def held_out_rows(measured: Iterable[HeldOutRun], rows: pd.DataFrame) -> HeldOut:
    """Return what the runs ``measured`` held out of ``rows``, a result of ``listed_once``;
    ``TrainingError`` if that is nothing."""
    parts = [(config, weights, measured_on(rows, config)) for config, weights in measured]
    if not sum(len(part) for _, _, part in parts):
        raise TrainingError(
            "Nothing is held out. Pass --cross-validation, or set validation_folds in the config."
        )
    return parts


def listed_once(manifests: Sequence[Manifest], crops: Path, config: Config) -> pd.DataFrame:
    """Return the rows of the manifests without media that have the same bytes as an earlier one, or
    were missing when ``prepare`` ran.

    A copy may be in another fold than the medium that was learnt from. A missing file says nothing
    about what a model finds; as in an evaluation, it is listed (``absent.txt``) and not measured.
    """
    rows = read_manifests(manifests, excluded=config.excluded_datasets).rows
    return rows[~rows["media"].isin(not_used(crops))]


def rows_of_given(listing: Listing, config: Config) -> pd.DataFrame:
    """Return the rows to measure a network on that was trained elsewhere: each of equal files once,
    and at most ``media_per_group`` of each group, label and method. ``TrainingError`` if a file is
    missing, equal files are listed differently, or there are no videos of both classes."""
    seen: dict[bytes, dict[str, Any]] = {}
    missing = [path for path in listing.rows["path"] if not Path(path).is_file()]
    if missing:
        raise TrainingError(
            f"Of {len(listing.rows)} files of the manifests {len(missing)} are missing, for "
            f"example {missing[0]}. Pass the folder to which paths are relative as --manifest "
            "FILE:ROOT, or take out their lines."
        )
    for row in _records(listing.rows):
        with Path(row["path"]).open("rb") as file:
            check_same(seen.setdefault(hashlib.file_digest(file, "sha256").digest(), row), row)
    rows = pd.DataFrame(list(seen.values()))
    check_videos(rows, config)
    return thinned(rows, config.cross_validation.media_per_group)


def crops_of(rows: pd.DataFrame, config: Config, most: int) -> NDArray[np.uint8]:
    """Return the crop of a face from each of at most ``most`` of ``rows``, for a network of one
    square; ``TrainingError`` if there is none."""
    size, scale = config.bundle.input.height, config.bundle.crop.scale
    spread = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))
    crops: list[NDArray[np.uint8]] = []
    with closing(ProcessDecoder(workers=1)) as decoder:
        for path in rows["path"].iloc[spread]:
            with suppress(MediaError):
                crops.extend(
                    face_crops(Path(path), frames=1, size=size, scale=scale, decoder=decoder)
                )
    if not crops:
        raise TrainingError(
            f"No face is in a frame of each of {len(spread)} held-out files. Hold out files that "
            "show faces."
        )
    return np.stack(crops)


def score_served(directory: Path, rows: pd.DataFrame, frames: int) -> Iterator[Judged]:
    """Yield each of the media ``rows`` with the verdict of the sealed bundle in ``directory``."""
    scorer = Scorer.open(directory, device="cpu")
    with closing(ProcessDecoder(workers=1)) as decoder:
        for row in _records(rows):
            yield row, examine(scorer, Path(row["path"]), decoder, frames=frames)


def score_networks(
    held_out: HeldOut, directory: Path, report: Report = no_progress
) -> list[Judged]:
    """Score each run's media by its own network in a copy of the sealed bundle ``directory``."""
    judged: list[Judged] = []
    total = sum(len(part) for _, _, part in held_out)
    for config, weights, part in held_out:
        with tempfile.TemporaryDirectory(dir=directory.parent) as copy:
            shutil.copytree(directory, copy, dirs_exist_ok=True)
            write_network(Path(copy), weights, config.backbone, config.bundle.input)
            seal(Path(copy), load_bundle(directory).spec.model_dump(exclude={"files"}))
            for one in score_served(Path(copy), part, config.bundle.sampling.min_frames):
                judged.append(one)
                report(len(judged), total)
    return judged


def score_heads(
    held_out: HeldOut, store: CropStore, spec: BundleSpec, report: Report = no_progress
) -> list[Judged]:
    """Score each run's media by its own head on stored features; judge them by ``spec``.

    Frames, crops and features are those of the service, so the media need not be decoded again for
    every run.
    """
    runs = [
        ({row["media"]: row for row in _records(part)}, heads_of(weights))
        for _, weights, part in held_out
    ]
    listed = pd.concat([part for _, _, part in held_out]).drop_duplicates("media")
    # Stored features do not depend on what a run held out.
    features = FeatureStore(store, held_out[0][0])
    features.examine(listed, report)
    criteria = Criteria.of(spec)
    verdict_of = {
        (number, medium.media): _verdict(medium, heads, criteria)
        for medium in features.examined(listed["media"].to_list())
        for number, (rows, heads) in enumerate(runs)
        if medium.media in rows
    }
    report(len(verdict_of), len(verdict_of))
    unreadable = unable(MediaError("The medium cannot be decoded."))
    return [
        (row, verdict_of.get((number, media), unreadable))
        for number, (rows, _) in enumerate(runs)
        for media, row in rows.items()
    ]


def _verdict(medium: ExaminedMedium, heads: Heads, criteria: Criteria) -> Verdict:
    outputs = logits_of(heads, medium.features)
    logits = outputs[LOGIT][:, 1 if medium.timeline.facts.kind == "image" else 0]
    kinds = outputs.get(KIND_LOGITS, np.zeros((len(medium.features), 0)))
    scores = iter(
        FaceScore(logit, tuple(row) or None)
        for logit, row in zip(logits.tolist(), kinds.tolist(), strict=True)
    )

    def scored(face: Face) -> Face:
        return CroppedFace(face, None).scored(next(scores) if has_features(face) else None)

    frames = [replace(f, faces=tuple(map(scored, f.faces))) for f in medium.part.examined]
    try:
        part = Part(tuple(frames), medium.part.failed)
        return conclude(medium.timeline, medium.sampled, [part], criteria)
    except MediaError as error:
        return unable(error)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return cast("list[dict[str, Any]]", rows.to_dict("records"))
