"""Features of a frozen network, computed once by the graph that is exported, and stored.

Two kinds of material have features:

- **pairs**: augmented crops, drawn as for any other training;
- **examined media**: every face of every sampled frame, decoded, cropped and measured as the
  service does it. A head turns them into the verdicts that the service would give, so calibration,
  thresholds and figures need no other pass over the media.

They do not depend on what a run holds out: a run uses those that it may see. Work is done by
processes with one thread each, in shards; an interrupted run loses at most one shard per process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.inference.pool import no_progress, run_tasks
from deepfake_models.decision.decide import Part
from deepfake_models.decision.serialization import load_part, load_timeline
from deepfake_models.machine import atomic_write
from deepfake_models.media.interface import SavedTimeline
from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore, drawn_kind, evenly, numbered, pair_rng
from deepfake_training.errors import TrainingError
from deepfake_training.networks.graphs import feature_graph
from deepfake_training.networks.weights import tensors_digest
from deepfake_training.train.checkpoints import BEST, read_checkpoint
from deepfake_training.train.feature_workers import Shard, Worker, write_shard

FOLDER = "features"
"""Folder of the features, in the folder of the crops."""
_GRAPH = "features.onnx"
_PAIRS_PER_SHARD = 64
_MEDIA_PER_SHARD = 32
_SAMPLES = 96
"""Squares on which the ranges of 8-bit arithmetic are measured."""
_VERSION = 5
"""Version of cropping, augmentation, the making of pairs, and the graph's form and arithmetic.
Stored features of another version are not used."""

Array = NDArray[Any]
Report = Callable[[int, int], None]
"""Called with the number of finished parts and of all parts."""


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """Features (N, R, F) float16 of both halves of N pairs with R readings each; ``rows`` (N, 3):
    the positions in the index of the real half, of the manipulated half, and of the donor of a
    swap; and ``kinds`` (N,): how the manipulated half was made, as ``datasets.drawn_kind`` does."""

    real: Array
    fake: Array
    rows: Array
    kinds: Array


@dataclass(frozen=True, slots=True)
class ExaminedMedium:
    """One medium after the service's examination, without scores. ``features`` is (faces, R, F)
    float16, a row for each face that may be scored, in the order of ``part``."""

    media: str
    timeline: SavedTimeline
    sampled: tuple[int, ...]
    part: Part
    features: Array


class FeatureStore:
    """The features of a config's frozen network for the crops in a ``CropStore``."""

    def __init__(self, store: CropStore, config: Config) -> None:
        self._store, self._config = store, config
        everything = {"validation_folds": (), "left_out_methods": (), "left_out_datasets": ()}
        self._neutral = config.model_copy(update=everything)
        self._root = store.root / FOLDER
        self._network = self._root / _digest(_network_parts(store, config))
        self.examined_folder = self._network / f"examined-{_digest(_examination_parts(config))}"

    def graph(self) -> Path:
        """Return the file of the features' graph, which is written on first use."""
        path = self._network / _GRAPH
        if not path.exists():
            self._network.mkdir(parents=True, exist_ok=True)
            model = feature_graph(self._config, _samples(self._store, self._config))
            with atomic_write(path) as file:
                file.write(model.SerializeToString())
        return path

    def pairs(self, count: int, report: Report = no_progress) -> PairFeatures:
        """Return the first ``count`` pairs drawn from all crops, including those a run holds out.
        ``report`` receives numbers of pairs."""
        folder = self._network / f"pairs-{_digest(_pair_parts(self._store, self._config))}"
        shards = [
            range(start, min(start + _PAIRS_PER_SHARD, count))
            for start in range(0, count, _PAIRS_PER_SHARD)
        ]
        paths = [folder / f"{shard.start:06d}-{len(shard)}.npz" for shard in shards]
        jobs: list[tuple[Path, Shard]] = [
            (path, shard) for path, shard in zip(paths, shards, strict=True) if not path.exists()
        ]
        self._work(jobs, report, count, _PAIRS_PER_SHARD)
        parts = [_load(path) for path in paths]
        real, fake, rows = (
            np.concatenate([part[name] for part in parts]) for name in ("real", "fake", "rows")
        )
        mix, seed = self._config.mix, self._config.fit.seed
        kinds = [drawn_kind(mix, pair_rng(seed, number)) for number in range(count)]
        return PairFeatures(real, fake, rows, np.array(kinds))

    def examine(self, listing: pd.DataFrame, report: Report = no_progress) -> None:
        """Examine the media of ``listing``, which has the columns media and path, that are not
        stored yet. ``report`` receives numbers of media."""
        folder = self.examined_folder
        done = set(self._stored_media(folder))
        rows = cast("list[dict[str, str]]", listing[["media", "path"]].to_dict("records"))
        todo = [row for row in rows if row["media"] not in done]
        shards = [todo[i : i + _MEDIA_PER_SHARD] for i in range(0, len(todo), _MEDIA_PER_SHARD)]
        jobs: list[tuple[Path, Shard]] = [
            (folder / f"{_digest([r['media'] for r in shard])}.npz", shard) for shard in shards
        ]
        self._work(jobs, report, len(rows), _MEDIA_PER_SHARD)

    def examined(self, media: Sequence[str]) -> Iterator[ExaminedMedium]:
        """Yield the stored examination of each of ``media`` that could be decoded;
        ``TrainingError`` if one of them has not been examined."""
        return examined_in(self.examined_folder, media)

    @staticmethod
    def _stored_media(folder: Path) -> Iterator[str]:
        for path in folder.glob("*.npz"):
            with np.load(path) as part:
                for text in part["media"]:
                    yield json.loads(str(text))["media"]

    def _work(
        self, jobs: Sequence[tuple[Path, Shard]], report: Report, total: int, in_shard: int
    ) -> None:
        """Do what is left of a ``total``, of which each job has at most ``in_shard``."""
        if not jobs:
            return
        jobs[0][0].parent.mkdir(parents=True, exist_ok=True)
        report(max(total - len(jobs) * in_shard, 0), total)  # the first job may take minutes
        graph = self.graph()
        start = partial(Worker, self._store.root, self._neutral, graph)
        workers = self._config.fit.workers
        finished = run_tasks(write_shard, jobs, workers, start)
        for done, _ in enumerate(finished, start=1):
            report(max(total - (len(jobs) - done) * in_shard, 0), total)


def examined_in(folder: Path, media: Sequence[str]) -> Iterator[ExaminedMedium]:
    """Yield what ``FeatureStore.examined`` does, from the files in its folder."""
    wanted = set(media)
    seen: set[str] = set()
    for path in sorted(folder.glob("*.npz")):
        part = _load(path)
        start = 0
        for text in part["media"]:
            record = json.loads(str(text))
            end = start + record["faces"]
            if record["media"] in wanted and record["media"] not in seen:
                seen.add(record["media"])
                if "error" not in record:
                    yield ExaminedMedium(
                        record["media"],
                        load_timeline(bytes.fromhex(record["timeline"])),
                        tuple(record["sampled"]),
                        load_part(record["part"].encode()),
                        part["features"][start:end],
                    )
            start = end
    if missing := wanted - seen:
        raise TrainingError(
            f"{min(missing)}: It is not examined yet. Run deepfake-train fit first."
        )


def _samples(store: CropStore, config: Config) -> NDArray[np.uint8]:
    """Return crops of all squares, one each of media that are evenly spread over the index."""
    one_each, spec = evenly(numbered(store), 1), config.bundle.crop
    picks = np.linspace(0, len(one_each) - 1, min(len(one_each), _SAMPLES // spec.views))
    return np.stack(
        [store.centred(one_each[int(pick)], spec) for pick in np.unique(picks.astype(int))]
    )


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _network_parts(store: CropStore, config: Config) -> dict[str, Any]:
    """Return everything that the graph depends on."""
    own = {"sha256", "rename"} if config.backbone.weights == "file" else set()
    backbone = {"name", "weights", "blocks", *own}
    parts: dict[str, Any] = {
        "version": _VERSION,
        "input": config.bundle.input.model_dump(mode="json"),
        "backbone": config.backbone.model_dump(mode="json", include=backbone),
        "arithmetic": config.bundle.arithmetic,
        "views": config.bundle.crop.views,
    }
    if config.backbone.learnt:
        weights = read_checkpoint(Path(config.backbone.learnt) / BEST)["weights"]
        parts["learnt"] = tensors_digest(weights)
    if config.beside:
        parts["beside"] = config.beside.model_dump(mode="json")
    if config.bundle.arithmetic == "int8":
        parts["samples"] = _index_digest(store)
        cut = {"scale", "size", "resample", "border", "further_scales"}
        parts["crop"] = config.bundle.crop.model_dump(mode="json", include=cut)
    return parts


def _index_digest(store: CropStore) -> str:
    return hashlib.sha256("\n".join(store.index["crop"]).encode()).hexdigest()


def _pair_parts(store: CropStore, config: Config) -> dict[str, Any]:
    """Return everything that the crops of a pair depend on, except its number."""
    return {
        "index": _index_digest(store),
        # Pairs are drawn by data set, method and group, and a half's class is that of its crop.
        "labels": store.digest(),
        "mix": config.mix.model_dump(mode="json"),
        "prepare": config.prepare.model_dump(mode="json"),
        "crop": config.bundle.crop.model_dump(mode="json"),
        "seed": config.fit.seed,
        **({"taught": config.taught_datasets} if config.taught_datasets else {}),
    }


def _examination_parts(config: Config) -> dict[str, Any]:
    """Return everything that the examination of a medium depends on."""
    return {
        "every": config.cross_validation.examine_every,
        "prepare": config.prepare.model_dump(mode="json"),
        "crop": config.bundle.crop.model_dump(mode="json"),
        "detector": config.bundle.detector.model_dump(mode="json"),
    }


def _load(path: Path) -> dict[str, Array]:
    with np.load(path) as stored:
        return dict(stored)
