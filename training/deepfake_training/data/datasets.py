"""Prepared crops, and the pairs of one real and one manipulated crop that a network learns from.

Pairs are drawn so that neither source, method nor size reveals the label. Item ``i`` depends only
on the seed and on ``i``, so a resumed run and a run in several processes see the same pairs. Both
halves of a pair go through the same random augmentation. Items are arrays, of which a loader makes
tensors: processes that draw pairs for a network in ONNX need torch only for regenerated faces.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_models.bundle.spec import CropSpec
from deepfake_models.faces.crops import cut_views
from deepfake_training.config import Config, MixConfig
from deepfake_training.data.augment import Chain, apply_chain, check_encoder, draw_chain
from deepfake_training.data.blend import P_REDRAWN, Redraw, regenerated, self_blended_pair, swapped
from deepfake_training.data.landmarks import shape_distance
from deepfake_training.data.manifests import COLUMNS, is_still
from deepfake_training.data.prepare import INDEX, stored_prepare
from deepfake_training.data.splits import measured_on, trained_on
from deepfake_training.errors import TrainingError

REAL_FAKE, SELF_BLENDED, SWAPPED, REGENERATED = range(4)
_DONORS = 6
"""Candidates from which the donor of a swap is chosen."""
_MAX_ORIGINALS = 4
"""Real media of a group that are searched for the original of a fake."""
_MIN_SHARED = 0.4
"""Smallest share of the side that two crops must have in common to be framed alike."""


@dataclass(frozen=True, slots=True)
class Crop:
    """A stored crop: ``pixels`` (S, S, 3) uint8 RGB, the detector's ``points`` (5, 2) in its
    pixels, and the rectangle ``inside`` (x0, y0, x1, y1) that comes from the picture. Pixels
    outside that rectangle are reflections."""

    pixels: NDArray[np.uint8]
    points: NDArray[np.float32]
    inside: NDArray[np.int64]


class CropStore:
    """The prepared crops in the folder ``root``; ``TrainingError`` if the folder contains no
    prepared crops, or their index is empty."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            self.index: pd.DataFrame = pd.read_parquet(root / INDEX)
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{root}: There are no prepared crops. Run deepfake-train prepare."
            ) from error
        if self.index.empty:
            raise TrainingError(
                f"{root}: No face was found in the media of the manifests. Run deepfake-train "
                "prepare with others, or with a smaller prepare.min_face_px in another folder."
            )
        self._store_scale = stored_prepare(root).store_scale

    def digest(self) -> str:
        """Return the SHA-256 of what the index says of each crop, in any order. It changes when
        ``prepare`` has written an index from corrected or other manifests."""
        described = self.index[["crop", *COLUMNS]].sort_values("crop")
        return hashlib.sha256(described.to_csv(index=False).encode()).hexdigest()

    def read(self, row: int) -> Crop:
        """Read the crop at position ``row`` of the index; ``TrainingError`` if its file is missing
        or damaged."""
        entry = self.index.iloc[row]
        path = self.root / "crops" / entry["crop"]
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if pixels is None:
            problem = "damaged. Delete it and run" if path.exists() else "missing. Run"
            raise TrainingError(f"{path}: The crop is {problem} deepfake-train prepare again.")
        return Crop(
            cast(NDArray[np.uint8], np.ascontiguousarray(pixels[..., ::-1])),
            np.asarray(entry["points"], np.float32).reshape(-1, 2),
            np.asarray(entry["inside"], np.int64),
        )

    def landmarks(self, row: int) -> NDArray[np.float32]:
        """Return the dense landmarks (468, 2) of a crop that has some."""
        return np.asarray(self.index["dense"].iat[row], np.float32).reshape(-1, 2)

    def centred(self, row: int, spec: CropSpec) -> NDArray[np.uint8]:
        """Cut the network's view (S, S, 3) uint8 RGB from a stored crop, with the service's cutter.

        The service cuts the view from the picture itself; here it is resampled twice, first to the
        stored size. On the shipped model that changes the logit of public-domain portraits by 0.3
        on average and by at most 1.2, without a shift.
        """
        pixels = self.read(row).pixels
        side = len(pixels)
        face = side / self._store_scale
        edge = (side - face) / 2.0
        return cut_views(pixels, (edge, edge, edge + face, edge + face), spec)


class _Tree:
    """Rows by source, then group, then medium. Each level is drawn from evenly."""

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

    def weights(self) -> NDArray[np.float64]:
        """Return weights that grow with the root of a source's size, so that a source of one clip
        is not drawn as often as one of hundreds."""
        sizes = np.array([sum(len(g) for g in groups) for groups in self.groups], np.float64)
        tempered: NDArray[np.float64] = sizes**0.5
        shares: NDArray[np.float64] = tempered / (tempered.sum() or 1.0)
        return shares

    def draw(self, source: int, rng: np.random.Generator) -> int:
        group = self.groups[source][rng.integers(len(self.groups[source]))]
        medium = group[rng.integers(len(group))]
        return int(medium[rng.integers(len(medium))])


def _originals(
    real: pd.DataFrame,
) -> dict[tuple[str, str], list[tuple[NDArray[np.int64], NDArray[np.float64]]]]:
    """Return rows and times of the first real media of each data set and group."""
    by_group: dict[tuple[str, str], list[tuple[NDArray[np.int64], NDArray[np.float64]]]] = {}
    for (dataset, group, _), part in real.groupby(["dataset", "group", "media"], sort=True):
        media = by_group.setdefault((str(dataset), str(group)), [])
        if len(media) < _MAX_ORIGINALS:
            media.append((part["row"].to_numpy(), part["time_s"].to_numpy(np.float64)))
    return by_group


def _thumbnail_distance(a: Crop, b: Crop) -> float:
    """Return the mean difference of two crops at 16 px. The original of a fake has the smallest."""
    first, second = (
        cv2.resize(c.pixels, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        for c in (a, b)
    )
    return float(np.abs(first - second).mean())


def framed_alike(a: Crop, b: Crop) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return both crops' pixels, reflected outside the rectangle that both have from a picture.

    Press photographs are cropped tightly, so reflections surround their faces; most manipulated
    pictures are not. Left alone, a mirrored hairline would mean "real". Crops that share too little
    of their area are returned unchanged.
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


class Origin(NamedTuple):
    """The origin of a pair, as positions in the index: ``real`` and ``fake`` for the two halves,
    where ``fake`` of a synthesised half is the face that it was made from, and ``donor`` for the
    second face of a swap (otherwise equal to ``fake``)."""

    real: int
    fake: int
    donor: int


class PairDataset:
    """``length`` pairs. Item ``i`` is ``(real, fake)``, each (S, S, 3) uint8 RGB, or (V, S, S, 3)
    where the classifier sees further squares of a face. ``TrainingError`` if no crop of a class
    that ``config.mix`` needs is left to train on; ``WeightsMissing`` if it has regenerated faces,
    and the autoencoder's weights have not been fetched."""

    def __init__(self, store: CropStore, config: Config, length: int) -> None:
        self._store = store
        self._mix = config.mix
        self._seed = config.fit.seed
        self._length = length
        index = numbered(store)
        train = index[trained_on(index, config)]
        real, fake = train[train["label"] == "real"], train[train["label"] == "fake"]
        if real.empty:
            raise TrainingError("No real crop is left to train on. Add some, or hold out less.")
        if fake.empty and self._mix.real_fakes:
            raise TrainingError(
                "mix.real_fakes is set, but there are no fake crops to train on. Add some, hold "
                "out less, or set it to 0."
            )
        self._real = _Tree(real, "dataset")
        self._fake = _Tree(fake, "method")
        blendable = real[real["dense"].notna()]
        if blendable.empty and self._mix.synthesised:
            raise TrainingError(
                "No real crop has the landmarks that blending needs. Set the weights in mix to "
                "real fakes only."
            )
        self._blendable = _Tree(blendable, "dataset")
        self._blendable_weights = self._blendable.weights()
        self._real_weights = self._weights_by_kind(real)
        named = np.array([self._mix.method_weights.get(m, 1.0) for m in self._fake.sources])
        self._fake_weights = self._fake.weights() * named
        self._fake_weights /= self._fake_weights.sum() or 1.0
        self._groups = dict(zip(train["row"], train["group"], strict=True))
        self._real_source = {name: i for i, name in enumerate(self._real.sources)}
        self._originals = _originals(real)
        self._redraw: Redraw | None = None
        if self._mix.regenerated:
            from deepfake_training.data.autoencoder import Autoencoder

            self._redraw = Autoencoder()
        check_encoder()
        self._out_size = config.bundle.input.height
        scales = (config.bundle.crop.scale, *config.bundle.crop.further_scales)
        self._shares = [scale / config.prepare.store_scale for scale in scales]

    def _weights_by_kind(self, real: pd.DataFrame) -> dict[bool, NDArray[np.float64]]:
        """Return the weights of the real sources that a still (True) and a video (False) may be
        paired with: sources of the same kind, or all if there are none."""
        still = real.groupby("dataset")["media"].agg(lambda media: is_still(str(media.iloc[0])))
        is_still_source = np.array([still[name] for name in self._real.sources])
        every = self._real.weights()
        weights = {}
        for kind in (True, False):
            same_kind = every * (is_still_source == kind)
            weights[kind] = same_kind / same_kind.sum() if same_kind.any() else every
        return weights

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return self.pair(item)[1:]

    def pair(self, item: int) -> tuple[Origin, NDArray[np.uint8], NDArray[np.uint8]]:
        """Return the origin of a pair, its real half and its manipulated half."""
        rng = pair_rng(self._seed, item)
        kind = drawn_kind(self._mix, rng)
        if kind == REAL_FAKE:
            row = self._fake.draw(_pick(rng, self._fake_weights), rng)
            fake = self._store.read(row)
            real_row, real = self._real_half(row, fake, rng)
            origin = Origin(real_row, row, row)
            first, second = framed_alike(real, fake)
            halves = ((first, real.points), (second, fake.points))
        else:
            origin, face, untouched, manipulated = self._synthesise(kind, rng)
            halves = ((untouched, face.points), (manipulated, face.points))
        chain = draw_chain(np.random.default_rng(int(rng.integers(2**63))))
        return origin, self._augmented(*halves[0], chain), self._augmented(*halves[1], chain)

    def _real_half(self, row: int, fake: Crop, rng: np.random.Generator) -> tuple[int, Crop]:
        """Choose a real crop to pair with the fake at ``row``; return its position and itself.

        With the probability ``mix.untouched`` it is the fake's own original at the same moment,
        where the data contain it: the two then differ by the manipulation only. Otherwise it is
        from the same data set if that has real media, or of the same kind (still or video), so that
        camera, size and compression reveal little.
        """
        entry = self._store.index.iloc[row]
        originals = self._originals.get((entry["dataset"], entry["group"]))
        if originals and rng.random() < self._mix.untouched:
            moments = (
                int(rows[np.abs(times - entry["time_s"]).argmin()]) for rows, times in originals
            )
            nearest = [(moment, self._store.read(moment)) for moment in moments]
            return min(nearest, key=lambda original: _thumbnail_distance(original[1], fake))
        source = self._real_source.get(entry["dataset"])
        if source is None:
            source = _pick(rng, self._real_weights[is_still(entry["media"])])
        drawn = self._real.draw(source, rng)
        return drawn, self._store.read(drawn)

    def _synthesise(
        self, kind: int, rng: np.random.Generator
    ) -> tuple[Origin, Crop, NDArray[np.uint8], NDArray[np.uint8]]:
        """Draw a real face with dense landmarks and make a manipulated one from it; return the
        origin, the face, the pixels of the real half and those of the manipulated half."""
        row = self._blendable.draw(_pick(rng, self._blendable_weights), rng)
        face, dense = self._store.read(row), self._store.landmarks(row)
        origin = Origin(row, row, row)
        if kind == SELF_BLENDED:
            real, fake, _ = self_blended_pair(face.pixels, dense, rng)
            return origin, face, real, fake
        if kind == REGENERATED:
            assert self._redraw
            return origin, face, face.pixels, regenerated(face.pixels, dense, rng, self._redraw)[0]
        drawn = (
            self._blendable.draw(_pick(rng, self._blendable_weights), rng) for _ in range(_DONORS)
        )
        group = self._groups
        # A group is one person or source, so a donor from the same group would make no swap. If all
        # candidates are, the face is pasted onto itself, which leaves the same traces.
        donors = [d for d in drawn if group[d] != group[row]] or [row]
        # A donor in the same pose makes a swap that its shape does not give away.
        shapes = np.stack([self._store.landmarks(d) for d in donors])
        donor = donors[int(shape_distance(dense, shapes).argmin())]
        pixels = self._store.read(donor).pixels
        if self._redraw and rng.random() < P_REDRAWN:
            pixels = self._redraw(pixels, rng)
        swap = swapped(face.pixels, dense, pixels, self._store.landmarks(donor), rng)[0]
        return Origin(row, row, donor), face, face.pixels, swap

    def _augmented(
        self, pixels: NDArray[np.uint8], points: NDArray[np.float32], chain: Chain
    ) -> NDArray[np.uint8]:
        squares = [
            apply_chain(chain, pixels, points, self._out_size, share) for share in self._shares
        ]
        return np.stack(squares) if len(squares) > 1 else np.ascontiguousarray(squares[0])


def pair_rng(seed: int, item: int) -> np.random.Generator:
    """Return the generator that a pair is drawn with."""
    return np.random.default_rng((seed, item))


def drawn_kind(mix: MixConfig, rng: np.random.Generator) -> int:
    """Draw how the manipulated half of a pair is made, which is the first draw of ``pair_rng``."""
    kinds = np.array([mix.real_fakes, mix.self_blended, mix.swapped, mix.regenerated])
    return _pick(rng, kinds / kinds.sum())


def _pick(rng: np.random.Generator, weights: NDArray[np.float64]) -> int:
    return int(rng.choice(len(weights), p=weights))


def numbered(store: CropStore) -> pd.DataFrame:
    """Return the index with the positions of its crops in the column ``row``."""
    return store.index.reset_index(drop=True).assign(row=range(len(store.index)))


def evenly(index: pd.DataFrame, per_medium: int) -> list[int]:
    """Return the ``row`` of at most ``per_medium`` evenly spaced crops of every medium."""
    rows: list[int] = []
    for _, part in index.groupby("media", sort=True):
        picks = np.linspace(0, len(part) - 1, min(per_medium, len(part))).round().astype(int)
        rows += part["row"].to_numpy()[np.unique(picks)].tolist()
    return rows


class ValidationDataset:
    """Held-out crops by ``CropStore.centred``, without augmentation. An item is ``(crop, row)``."""

    def __init__(self, store: CropStore, config: Config) -> None:
        per_medium = config.cross_validation.crops_per_medium
        self.rows = evenly(measured_on(numbered(store), config), per_medium)
        self._store = store
        self._spec = config.bundle.crop

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> tuple[NDArray[np.uint8], int]:
        row = self.rows[item]
        # A copy, because arrays from Pillow are not writable.
        return self._store.centred(row, self._spec).copy(), row
