"""What a run learns from beside pairs: crops that went through little or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore, PairDataset, augmenter, evenly, numbered
from deepfake_training.data.splits import thinned, trained_on
from deepfake_training.errors import TrainingError


@dataclass(frozen=True, slots=True)
class LabelledCrops:
    """Crops that a run may learn from: positions ``rows`` (N,) in the index, ``truth`` (N,) with
    1 = manipulated, ``weights`` (N,) that sum to one, as much in either class."""

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    weights: NDArray[np.float64]


def plain_crops(store: CropStore, config: Config) -> LabelledCrops:
    """Crops of a run of ``config`` to be taken as the service cuts them.

    Raises:
        TrainingError: no crop of a class is left to learn from.
    """
    index = numbered(store)
    rows = evenly(thinned(index[trained_on(index, config)], config), config)
    labels = index.iloc[rows]
    truth = (labels["label"] == "fake").to_numpy().astype(np.int64)
    # As pairs are drawn: a source of one clip does not weigh as much as one of hundreds.
    sources = labels.groupby(["dataset", "method", "label"])["row"].transform("size")
    weights = sources.to_numpy(np.float64) ** -0.5
    return LabelledCrops(np.array(rows, np.int64), truth, balanced(weights, truth))


def balanced(weights: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """``weights`` (N,) scaled to half in either class of ``truth``.

    Raises:
        TrainingError: a class has no crop.
    """
    scaled = weights.copy()
    for value, name in enumerate(("real", "fake")):
        mine = truth == value
        if not mine.any():
            raise TrainingError(f"no {name} crop is left to train on")
        scaled[mine] *= 0.5 / scaled[mine].sum()
    return scaled


class BatchDataset(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]]):
    """What a step learns from: item ``i`` is pair ``i``, and ``light_per_pair`` (P) crops
    (P, S, S, 3) uint8 that went through the light chain alone, with their truth (P,) float32."""

    def __init__(self, store: CropStore, config: Config, length: int) -> None:
        self._pairs = PairDataset(store, config, length)
        self._store, self._config = store, config
        self._light = _every_crop(store, config) if config.fit.light_per_pair else None
        self._augment = augmenter("light", config)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(
        self, item: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        real, fake = self._pairs[item]
        light, bundle = self._light, self._config.bundle
        if light is None:
            return real, fake, real.new_empty((0, *real.shape)), torch.empty(0)
        rng = np.random.default_rng((self._config.fit.seed, item, 1))
        picks = rng.choice(len(light.rows), self._config.fit.light_per_pair, p=light.weights)
        stored = [self._store.read(int(row)) for row in light.rows[picks]]
        crops = [
            self._augment(c.pixels, c.points, rng, bundle.input.height, bundle.crop.scale)
            for c in stored
        ]
        truth = torch.from_numpy(light.truth[picks]).float()
        return real, fake, torch.from_numpy(np.stack(crops)), truth


def _every_crop(store: CropStore, config: Config) -> LabelledCrops:
    """All crops of a run's media: a source weighs as the root of its media, each of them alike."""
    index = numbered(store)
    rows = thinned(index[trained_on(index, config)], config)
    truth = (rows["label"] == "fake").to_numpy().astype(np.int64)
    media = rows.groupby(["dataset", "method", "label"])["media"].transform("nunique")
    crops = rows.groupby("media")["row"].transform("size")
    weights = media.to_numpy(np.float64) ** -0.5 / crops.to_numpy(np.float64)
    return LabelledCrops(rows["row"].to_numpy(np.int64), truth, balanced(weights, truth))
