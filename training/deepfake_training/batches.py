"""What a step learns from: pairs that went through the chain of degradations, and plain crops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from deepfake_training.config import Config
from deepfake_training.data import CropStore, PairDataset, evenly, numbered
from deepfake_training.errors import TrainingError
from deepfake_training.splits import thinned, trained_on


@dataclass(frozen=True, slots=True)
class PlainCrops:
    """Crops that a run may learn from as the service cuts them: positions ``rows`` (N,) in the
    index, ``truth`` (N,) with 1 = manipulated, ``weights`` (N,) that sum to one, as much in either
    class."""

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    weights: NDArray[np.float64]


def plain_crops(store: CropStore, config: Config) -> PlainCrops:
    """The plain crops of a run of ``config``.

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
    return PlainCrops(np.array(rows, np.int64), truth, balanced(weights, truth))


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
    """What a step learns from: item ``i`` is pair ``i``, and ``plain_per_pair`` (P) plain crops
    (P, S, S, 3) uint8, half of them mirrored, with their truth (P,) float32."""

    def __init__(self, store: CropStore, config: Config, length: int) -> None:
        self._pairs = PairDataset(store, config, length)
        self._store, self._config = store, config
        self._plain = plain_crops(store, config) if config.fit.plain_per_pair else None

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(
        self, item: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        real, fake = self._pairs[item]
        plain = self._plain
        if plain is None:
            return real, fake, real.new_empty((0, *real.shape)), torch.empty(0)
        rng = np.random.default_rng((self._config.fit.seed, item, 1))
        picks = rng.choice(len(plain.rows), self._config.fit.plain_per_pair, p=plain.weights)
        crops = np.stack([self._store.centred(row, self._config) for row in plain.rows[picks]])
        mirrored = rng.random(len(picks)) < 0.5
        crops[mirrored] = crops[mirrored, :, ::-1]
        return real, fake, torch.from_numpy(crops), torch.from_numpy(plain.truth[picks]).float()
