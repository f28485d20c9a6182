"""Pairs of one real and one fake crop, drawn so that no source, method or size gives labels away.

A map-style dataset whose item ``i`` depends on the seed and on ``i`` alone: a resumed run, or one
spread over processes, sees the same pairs. Both halves of a pair go through the same random chain.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from deepfake_training.config import Config
from deepfake_training.data.augment import AugmentConfig, Augmenter, Preset, centred
from deepfake_training.data.blend import self_blended_pair, smoothed_regeneration, swapped
from deepfake_training.data.landmarks import shape_distance
from deepfake_training.data.prepare import INDEX
from deepfake_training.data.splits import is_still, measured_on, trained_on
from deepfake_training.errors import TrainingError

REAL_FAKE, SELF_BLENDED, SWAPPED, REGENERATED = range(4)
_DONORS = 6
"""Candidates among whom the donor of a swap is chosen."""
_MAX_ORIGINALS = 4
"""Real media of a group among which a fake's original is looked for."""
_MIN_SHARED = 0.4
"""Two faces cut off on opposite sides share too little picture to be framed alike."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A stored crop (S, S, 3) uint8 RGB; in its pixels the detector's ``points`` (5, 2), and the
    rectangle ``inside`` (x0, y0, x1, y1) that is picture: the rest is reflection."""

    pixels: NDArray[np.uint8]
    points: NDArray[np.float32]
    inside: NDArray[np.int64]


def start_loader_worker(_: int) -> None:
    """Of a ``DataLoader``: its processes are the parallelism."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


class CropStore:
    """The prepared crops of one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.index: pd.DataFrame = pd.read_parquet(root / INDEX)
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{root}: no prepared crops here; run deepfake-train prepare"
            ) from error

    def read(self, row: int) -> Crop:
        """Read the crop in position ``row`` of the index."""
        entry = self.index.iloc[row]
        pixels = cv2.imread(str(self.root / "crops" / entry["crop"]), cv2.IMREAD_COLOR)
        if pixels is None:
            raise TrainingError(f"{entry['crop']}: missing or damaged; prepare again")
        return Crop(
            cast(NDArray[np.uint8], np.ascontiguousarray(pixels[..., ::-1])),
            np.asarray(entry["points"], np.float32).reshape(-1, 2),
            np.asarray(entry["inside"], np.int64),
        )

    def landmarks(self, row: int) -> NDArray[np.float32]:
        """The dense landmarks (468, 2) of the crop in position ``row``, which has some."""
        return np.asarray(self.index["dense"].iat[row], np.float32).reshape(-1, 2)

    def centred(self, row: int, config: Config) -> NDArray[np.uint8]:
        """The crop in position ``row`` as the service would cut it: (S, S, 3) uint8 RGB."""
        return centred(
            self.read(row).pixels,
            config.bundle.input.height,
            config.bundle.crop.scale,
            config.prepare.store_scale,
        )


class _Tree:
    """Rows by source, then group, then medium: each level is drawn evenly."""

    def __init__(self, rows: pd.DataFrame, source: str) -> None:
        self.sources: list[str] = []
        self.groups: list[list[list[NDArray[np.int64]]]] = []
        for name, part in rows.groupby(source, sort=True):
            self.sources.append(str(name))
            self.groups.append(
                [
                    [m["row"].to_numpy() for _, m in g.groupby("media", sort=True)]
                    for _, g in part.groupby("group", sort=True)
                ]
            )

    def weights(self, power: float = 0.5) -> NDArray[np.float64]:
        """Tempered by size: a source of one clip is not seen as often as one of hundreds."""
        sizes = np.array([sum(len(g) for g in groups) for groups in self.groups], np.float64)
        tempered: NDArray[np.float64] = sizes**power
        shares: NDArray[np.float64] = tempered / (tempered.sum() or 1.0)
        return shares

    def draw(self, source: int, rng: np.random.Generator) -> int:
        group = self.groups[source][rng.integers(len(self.groups[source]))]
        medium = group[rng.integers(len(group))]
        return int(medium[rng.integers(len(medium))])


def _originals(
    real: pd.DataFrame,
) -> dict[tuple[str, str], list[tuple[NDArray[np.int64], NDArray[np.float64]]]]:
    """By data set and group: rows and times of each real medium, of a few where there are many."""
    found: dict[tuple[str, str], list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}
    for (dataset, group, _), part in real.groupby(["dataset", "group", "media"], sort=True):
        media = found.setdefault((str(dataset), str(group)), [])
        if len(media) < _MAX_ORIGINALS:
            media.append((part["row"].to_numpy(), part["time_s"].to_numpy(np.float64)))
    return found


def _thumbnail_distance(a: Crop, b: Crop) -> float:
    """Mean difference of two crops at 16 px: which of a group's originals was manipulated."""
    first, second = (
        cv2.resize(c.pixels, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        for c in (a, b)
    )
    return float(np.abs(first - second).mean())


def framed_alike(a: Crop, b: Crop) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both crops' pixels, reflected outside the rectangle that is picture in both.

    Press photographs are cut tight, so their crops are ringed by reflections; most manipulated ones
    are not. Left alone, a mirrored hairline would mean "real".
    """
    x0, y0 = np.maximum(a.inside[:2], b.inside[:2])
    x1, y1 = np.minimum(a.inside[2:], b.inside[2:])
    size = len(a.pixels)
    if min(x1 - x0, y1 - y0) < _MIN_SHARED * size:
        return a.pixels, b.pixels
    first, second = (
        cv2.copyMakeBorder(
            crop.pixels[y0:y1, x0:x1], y0, size - y1, x0, size - x1, cv2.BORDER_REFLECT_101
        )
        for crop in (a, b)
    )
    return first.astype(np.uint8, copy=False), second.astype(np.uint8, copy=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a pair comes from: positions in the index of the real half, of the fake half or the
    face it was made of, and of a swap's donor (else that face)."""

    real: int
    fake: int
    donor: int


def augmenter(preset: Preset, config: Config) -> Augmenter:
    """The chain ``preset`` on crops that are stored as ``config`` says."""
    strength = AugmentConfig.preset(preset)
    return Augmenter(strength.model_copy(update={"store_scale": config.prepare.store_scale}))


class PairDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """``length`` pairs; item ``i`` is ``(real, fake)``, each (S, S, 3) uint8."""

    def __init__(self, store: CropStore, config: Config, length: int) -> None:
        self._store = store
        self._config = config
        self._length = length
        index = numbered(store)
        train = index[trained_on(index, config)]
        real, fake = train[train["label"] == "real"], train[train["label"] == "fake"]
        if real.empty:
            raise TrainingError("no real crop is left to train on")
        if fake.empty and config.mix.real_fakes:
            raise TrainingError("no fake crop is left to train on; mix.real_fakes asks for some")
        self._real = _Tree(real, "dataset")
        self._fake = _Tree(fake, "method")
        blendable = real[real["dense"].notna()]
        if blendable.empty and config.mix.synthesised:
            raise TrainingError(
                "no real crop has landmarks to blend by; set mix to real fakes alone"
            )
        self._blendable = _Tree(blendable, "dataset")
        self._blendable_weights = self._blendable.weights()
        self._still = dict(zip(train["row"], map(is_still, train["media"]), strict=True))
        self._real_weights = self._weights_by_kind(real)
        named = np.array([config.mix.method_weights.get(m, 1.0) for m in self._fake.sources])
        self._fake_weights = self._fake.weights() * named
        self._fake_weights /= self._fake_weights.sum() or 1.0
        self._groups = dict(zip(train["row"], train["group"], strict=True))
        self._dataset_of_row = dict(zip(train["row"], train["dataset"], strict=True))
        self._real_source = {name: i for i, name in enumerate(self._real.sources)}
        self._times = train.set_index("row")["time_s"].to_dict()
        self._originals = _originals(real)
        mix = config.mix
        kinds = np.array([mix.real_fakes, mix.self_blended, mix.swapped, mix.regenerated])
        self._kinds = kinds / kinds.sum()
        self._augment = augmenter(config.augmentation, config)
        self._out_size = config.bundle.input.height
        self._scale = config.bundle.crop.scale

    def _weights_by_kind(self, real: pd.DataFrame) -> dict[bool, NDArray[np.float64]]:
        """Weights of the real sources beside a still and beside a video: only those of its kind."""
        still = real.groupby("dataset")["media"].agg(lambda media: is_still(str(media.iloc[0])))
        alike = np.array([still[name] for name in self._real.sources])
        every = self._real.weights()
        weights = {}
        for kind in (True, False):
            mine = every * (alike == kind)
            weights[kind] = mine / mine.sum() if mine.any() else every
        return weights

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pair(item)[1:]

    def pair(self, item: int) -> tuple[Origin, torch.Tensor, torch.Tensor]:
        """Item ``item`` with where it comes from."""
        rng = np.random.default_rng((self._config.fit.seed, item))
        kind = self._pick(rng, self._kinds)
        if kind == REAL_FAKE:
            row = self._fake.draw(self._pick(rng, self._fake_weights), rng)
            fake = self._store.read(row)
            beside, real = self._real_half(row, fake, rng)
            origin = Origin(beside, row, row)
            first, second = framed_alike(real, fake)
            halves = ((first, real.points), (second, fake.points))
        else:
            origin, face, untouched, made = self._synthesise(kind, rng)
            halves = ((untouched, face.points), (made, face.points))
        chain = int(rng.integers(2**63))
        return origin, self._augmented(*halves[0], chain), self._augmented(*halves[1], chain)

    def _real_half(self, row: int, fake: Crop, rng: np.random.Generator) -> tuple[int, Crop]:
        """A real crop beside the manipulated one in position ``row``, after its own position.

        Often its untouched original, at the same moment, where the group has it: the two then
        differ by the manipulation alone. Else one of the same data set where that has any, or of
        the same kind, still or video, so that camera, size and compression tell little.
        """
        dataset = self._dataset_of_row[row]
        originals = self._originals.get((dataset, self._groups[row]))
        if originals and rng.random() < self._config.mix.untouched:
            moments = (
                int(rows[np.abs(times - self._times[row]).argmin()]) for rows, times in originals
            )
            nearest = [(moment, self._store.read(moment)) for moment in moments]
            return min(nearest, key=lambda found: _thumbnail_distance(found[1], fake))
        source = self._real_source.get(dataset)
        if source is None:
            source = self._pick(rng, self._real_weights[self._still[row]])
        drawn = self._real.draw(source, rng)
        return drawn, self._store.read(drawn)

    def _synthesise(
        self, kind: int, rng: np.random.Generator
    ) -> tuple[Origin, Crop, NDArray[np.uint8], NDArray[np.uint8]]:
        """A real face with dense landmarks, its real half, and the fake made from it."""
        row = self._blendable.draw(self._pick(rng, self._blendable_weights), rng)
        face, dense = self._store.read(row), self._store.landmarks(row)
        origin = Origin(row, row, row)
        if kind == SELF_BLENDED:
            real, fake, _ = self_blended_pair(face.pixels, dense, rng)
            return origin, face, real, fake
        if kind == REGENERATED:
            made = smoothed_regeneration(face.pixels, dense, rng)[0]
            return origin, face, face.pixels, made
        drawn = (
            self._blendable.draw(self._pick(rng, self._blendable_weights), rng)
            for _ in range(_DONORS)
        )
        group = self._groups
        # A group is a person or a source: within one, a swap would be no swap. Should all be of
        # this one, the face is put back onto itself, which leaves the same traces.
        donors = [d for d in drawn if group[d] != group[row]] or [row]
        # A donor who looks the same way makes a swap that is not given away by its shape.
        shapes = np.stack([self._store.landmarks(d) for d in donors])
        donor = donors[int(shape_distance(dense, shapes).argmin())]
        pixels = self._store.read(donor).pixels
        made = swapped(face.pixels, dense, pixels, self._store.landmarks(donor), rng)[0]
        return Origin(row, row, donor), face, face.pixels, made

    @staticmethod
    def _pick(rng: np.random.Generator, weights: NDArray[np.float64]) -> int:
        return int(rng.choice(len(weights), p=weights))

    def _augmented(
        self, pixels: NDArray[np.uint8], points: NDArray[np.float32], chain: int
    ) -> torch.Tensor:
        rng = np.random.default_rng(chain)
        crop = self._augment(pixels, points, rng, self._out_size, self._scale)
        return torch.from_numpy(np.ascontiguousarray(crop))


def numbered(store: CropStore) -> pd.DataFrame:
    """The index with the positions of its crops as ``row``."""
    return store.index.reset_index(drop=True).assign(row=range(len(store.index)))


def evenly(index: pd.DataFrame, config: Config) -> list[int]:
    """``row`` of at most ``crops_per_medium`` crops of every medium of ``index``, spread evenly."""
    per_medium = config.cross_validation.crops_per_medium
    rows: list[int] = []
    for _, part in index.groupby("media", sort=True):
        picks = np.linspace(0, len(part) - 1, min(per_medium, len(part))).round().astype(int)
        rows += part["row"].to_numpy()[np.unique(picks)].tolist()
    return rows


class ValidationDataset(Dataset[tuple[torch.Tensor, int]]):
    """Held-out crops as the service would cut them; item = (crop, row)."""

    def __init__(self, store: CropStore, config: Config) -> None:
        self.rows = evenly(measured_on(numbered(store), config), config)
        self._store = store
        self._config = config

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int]:
        row = self.rows[item]
        crop = self._store.centred(row, self._config)
        return torch.from_numpy(np.ascontiguousarray(crop)), row
