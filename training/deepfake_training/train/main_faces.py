"""The faces of examined media that a label describes, for learning and for figures by crop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.inference.predictions import main_track
from deepfake_models.bundle.results import Face
from deepfake_models.bundle.spec import TrackSpec
from deepfake_models.faces.tracks import FrameFaces, link
from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.manifests import COLUMNS
from deepfake_training.data.splits import thinned
from deepfake_training.errors import TrainingError
from deepfake_training.train.feature_store import ExaminedMedium, FeatureStore


@dataclass(frozen=True, slots=True)
class MainFaces:
    """Features (N, V, F) float16 of faces of main persons, and their ``labels`` with ``COLUMNS``,
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
    report: Callable[[int, int], None] | None = None,
) -> MainFaces:
    """Examine all media with crops and return at most ``crops_per_medium`` faces of each, evenly
    spread over the time of its main person.

    Raises:
        TrainingError: if no face may be scored.
    """
    index = store.index.drop_duplicates("media")
    index.index = pd.Index(index["media"].to_list())
    media = thin_media(index, config)
    features.examine(index.loc[media, ["media", "path"]], report)
    per_medium = config.cross_validation.crops_per_medium
    values, names = _read(features, tuple(media), config.bundle.tracks, per_medium)
    if not len(names):
        raise TrainingError(f"{store.root}: no face of the prepared media may be scored")
    labels = index.loc[list(names), list(COLUMNS)].reset_index(drop=True)
    return MainFaces(values, labels)


@lru_cache(maxsize=1)
def _read(
    features: FeatureStore, media: tuple[str, ...], tracks: TrackSpec, per_medium: int
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the features of the faces, and the medium of each. All runs of a cross-validation read
    the same."""
    parts: list[NDArray[Any]] = []
    names: list[str] = []
    for medium in features.examined(media):
        rows = main_rows(medium, tracks)
        count = min(len(rows), per_medium)
        if count:
            picks = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))
            parts.append(medium.features[[rows[i] for i in picks]])
            names += [medium.media] * len(picks)
    return np.concatenate(parts) if parts else np.zeros((0, 1, 0), np.float16), tuple(names)


def thin_media(index: pd.DataFrame, config: Config) -> list[str]:
    """Return the media that any run of ``config`` learns from or is measured on."""
    rows = thinned(index, config.cross_validation.media_per_group)
    return sorted(rows["media"].unique())


def main_rows(medium: ExaminedMedium, tracks: TrackSpec) -> list[int]:
    """Return the rows of ``medium.features`` that show its main person; see ``main_track``."""
    frames = medium.part.examined
    labels = link(
        [FrameFaces(f.time_s, tuple(face.box for face in f.faces), f.signature) for f in frames],
        tracks,
    )
    faces = [
        replace(face, track=number)
        for frame, numbers in zip(frames, labels, strict=True)
        for face, number in zip(frame.faces, numbers, strict=True)
    ]
    main = main_track(faces)
    return [row for row, face in enumerate(filter(has_features, faces)) if face.track == main]


def has_features(face: Face) -> bool:
    """Return True if a face of an examined medium has features, as all that may be scored do."""
    return not face.reasons
