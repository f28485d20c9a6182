"""What the heads of a frozen network learn from: pairs, and faces that a label describes.

A run uses a half of a pair, or a face, only if it may see everything that it was made from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.analysis.intervals import limited_weights
from deepfake_eval.inference.pool import no_progress
from deepfake_eval.inference.predictions import main_track
from deepfake_models.bundle.results import Face
from deepfake_models.bundle.spec import TrackSpec
from deepfake_models.decision.decide import tracked_faces
from deepfake_training.config import Config
from deepfake_training.data.datasets import REAL_FAKE, SELF_BLENDED, SWAPPED, CropStore
from deepfake_training.data.manifests import COLUMNS, is_still
from deepfake_training.data.splits import source_names, taught, thinned, trained_on
from deepfake_training.errors import TrainingError
from deepfake_training.heads.head import Examples, Material
from deepfake_training.train.feature_store import FeatureStore, PairFeatures, examined_in


@dataclass(frozen=True, slots=True)
class MainFaces:
    """Features (N, R, F) float16 of faces of main persons, and their ``labels`` with ``COLUMNS``,
    in the same order."""

    features: NDArray[Any]
    labels: pd.DataFrame

    def of(self, rows: pd.DataFrame) -> MainFaces:
        """Return the faces in ``rows``, which are some of ``labels``."""
        return MainFaces(self.features[rows.index.to_numpy()], rows.reset_index(drop=True))


def main_faces(
    features: FeatureStore,
    store: CropStore,
    config: Config,
    report: Callable[[int, int], None] = no_progress,
) -> MainFaces:
    """Examine all media with crops and return at most ``crops_per_medium`` faces of each, evenly
    spread over the time of its main person; ``TrainingError`` if no face may be scored."""
    index = store.index.drop_duplicates("media")
    index.index = pd.Index(index["media"].to_list())
    rows = thinned(index[~taught(index, config)], config.cross_validation.media_per_group)
    media = sorted(rows["media"].unique())
    features.examine(index.loc[media, ["media", "path"]], report)
    per_medium = config.cross_validation.crops_per_medium
    values, names = _read(features.examined_folder, tuple(media), config.bundle.tracks, per_medium)
    if not len(names):
        raise TrainingError(
            f"{store.root}: No face of the prepared media may be scored. Prepare other media."
        )
    labels = index.loc[list(names), list(COLUMNS)].reset_index(drop=True)
    return MainFaces(values, labels)


@lru_cache(maxsize=1)
def _read(
    folder: Path, media: tuple[str, ...], tracks: TrackSpec, per_medium: int
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the features of the faces, and the medium of each. All runs of a cross-validation read
    the same."""
    parts: list[NDArray[Any]] = []
    names: list[str] = []
    for medium in examined_in(folder, media):
        found = tracked_faces(medium.part.examined, tracks)
        main = main_track(found)
        rows = [row for row, face in enumerate(filter(has_features, found)) if face.track == main]
        count = min(len(rows), per_medium)
        if count:
            picks = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))
            parts.append(medium.features[[rows[i] for i in picks]])
            names += [medium.media] * len(picks)
    return np.concatenate(parts) if parts else np.zeros((0, 1, 0), np.float16), tuple(names)


def has_features(face: Face) -> bool:
    """Return True if a face of an examined medium has features, as all that may be scored do."""
    return not face.reasons


def material_of(
    pairs: PairFeatures, faces: MainFaces, store: CropStore, config: Config
) -> Material:
    """Return what a run of ``config`` may learn from: halves of pairs, and plain faces.

    A half is used only if the run may see everything that it was made from, including the donor of
    a swap. ``TrainingError`` if no crop of a class is left to learn from.
    """
    seen = trained_on(store.index, config).to_numpy()[pairs.rows]
    real, fake = pairs.real[seen[:, 0]], pairs.fake[seen[:, 1] & seen[:, 2]]
    truth = np.r_[np.zeros(len(real), np.int64), np.ones(len(fake), np.int64)]
    halves = Examples(np.concatenate([real, fake]), truth, balanced(np.ones(len(truth)), truth))
    blended = np.isin(pairs.kinds, (SELF_BLENDED, SWAPPED))
    still = store.index["media"].map(is_still).to_numpy()[pairs.rows[:, 1]]
    pictures = still & (pairs.kinds == REAL_FAKE)
    blended, pictures = (
        np.r_[of[seen[:, 0]], of[seen[:, 1] & seen[:, 2]]] for of in (blended, pictures)
    )
    plain, labels = plain_faces(faces, config)
    sources = source_names(labels["dataset"], config).to_numpy()
    return Material(halves, blended, pictures, plain, labels, sources)


def plain_faces(faces: MainFaces, config: Config) -> tuple[Examples, pd.DataFrame]:
    """Return the faces without augmentation that a run of ``config`` may learn from, and their
    labels; ``TrainingError`` if no face of a class is left to learn from."""
    chosen = faces.of(faces.labels[trained_on(faces.labels, config)])
    labels = chosen.labels
    truth = (labels["label"] == "fake").to_numpy().astype(np.int64)
    # Every medium weighs the same, and a source as much as ten at most, as in error rates.
    media = labels.drop_duplicates("media")
    sources = source_names(media["dataset"], config) + " " + media["label"]
    weight = pd.Series(limited_weights(sources), index=media["media"])
    faces_of = labels.groupby("media")["media"].transform("size").to_numpy(np.float64)
    weights = labels["media"].map(weight).to_numpy(np.float64) / faces_of
    return Examples(chosen.features, truth, balanced(weights, truth)), labels


def balanced(weights: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scale ``weights`` (N,) to a sum of one half in either class of ``truth`` (N,);
    ``TrainingError`` if a class has no crop."""
    scaled = weights.copy()
    for value, name in enumerate(("real", "fake")):
        in_class = truth == value
        if not in_class.any() or not scaled[in_class].sum():
            raise TrainingError(
                f"No {name} crop is left to train on. Add some, or leave less of them out."
            )
        scaled[in_class] *= 0.5 / scaled[in_class].sum()
    return scaled
