"""Logistic regression on the features of a frozen network: ``backbone.tune = "head"``.

A large network trained on much other material knows more about faces than a small data set can
teach it (linear probes on CLIP: Ojha et al. 2023, arXiv:2302.10174). Because only the last layer is
fitted, the features of a pair of crops are the same in every run: they are computed once and stored
beside the crops. A run uses the pairs whose halves, and everything that they were made from, it may
see, so folds, methods and sources can be left out in turn at almost no cost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset

from deepfake_models.files import atomic_write
from deepfake_training.config import Config, ProbeConfig
from deepfake_training.data.datasets import (
    CropStore,
    PairDataset,
    ValidationDataset,
    evenly,
    numbered,
    start_loader_worker,
)
from deepfake_training.data.manifests import COLUMNS
from deepfake_training.data.prepare import check_cut
from deepfake_training.data.splits import thinned, trained_on
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.train.checkpoints import (
    BEST,
    CHECKPOINT,
    CHECKPOINT_FORMAT,
    METRICS,
    StepReport,
    own_checkpoint,
    save,
    save_result,
)
from deepfake_training.train.distributed import Workers
from deepfake_training.train.method_metrics import check_classes, mean_aucs

FEATURES = "features"
"""Folder of the features, in the folder of the crops."""
_SHARD = 256
"""Pairs, or crops, in one file of features: the most that an interrupted run loses."""
_MAX_ITERATIONS = 2000
_VIEW = 2
"""Version of ``CropStore.centred`` and of the augmentation. Stored features of another version are
not used."""

Progress = Callable[[StepReport], None]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """Features (N, F) float16 of both halves of N pairs, and ``rows`` (N, 3): the positions in the
    index of the real half, of the manipulated half, and of the donor of a swap."""

    real: Array
    fake: Array
    rows: Array


class _WithOrigin(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Pairs together with the positions that they come from."""

    def __init__(self, pairs: PairDataset, numbers: Sequence[int]) -> None:
        self._pairs, self._numbers = pairs, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        origin, real, fake = self._pairs.pair(self._numbers[item])
        return torch.tensor([origin.real, origin.fake, origin.donor]), real, fake


class FeatureStore:
    """The features of a config's frozen network, computed on first use and stored on disk."""

    def __init__(self, store: CropStore, config: Config) -> None:
        self._store, self._config = store, config
        everything = {"validation_folds": (), "left_out_methods": (), "left_out_datasets": ()}
        self._nothing_held_out = config.model_copy(update=everything)
        self._root = store.root / FEATURES / _key(store, config)
        self._network: tuple[nn.Module, ExportGraph] | None = None

    def pairs(self, count: int, progress: Callable[[int], None] | None = None) -> PairFeatures:
        """Return the first ``count`` pairs drawn from all crops, including those a run holds out.

        ``progress`` receives the number of pairs that are available.
        """
        dataset = PairDataset(self._store, self._nothing_held_out, count)
        parts = []
        for start in range(0, count, _SHARD):
            numbers = range(start, min(start + _SHARD, count))
            path = self._root / f"pairs-{start:06d}-{len(numbers)}.npz"
            parts.append(_cached(path, partial(self._of_pairs, dataset, numbers)))
            if progress:
                progress(numbers[-1] + 1)
        real, fake, rows = (
            np.concatenate([p[name] for p in parts]) for name in ("real", "fake", "rows")
        )
        return PairFeatures(real, fake, rows)

    def crops(self, rows: Sequence[int]) -> Array:
        """Return features (N, F) float16 of the unaugmented crops at the positions ``rows``."""
        known: dict[int, Array] = {}
        for path in sorted(self._root.glob("crops-*.npz")):
            with np.load(path) as part:
                known.update(zip(part["rows"].tolist(), part["features"], strict=True))
        missing = [row for row in rows if row not in known]
        for start in range(0, len(missing), _SHARD):
            part = missing[start : start + _SHARD]
            name = hashlib.sha256(np.array(part, np.int64).tobytes()).hexdigest()[:16]
            computed = _cached(self._root / f"crops-{name}.npz", partial(self._of_crops, part))
            known.update(zip(part, computed["features"], strict=True))
        return np.stack([known[row] for row in rows])

    def _of_pairs(self, dataset: PairDataset, numbers: Sequence[int]) -> dict[str, Array]:
        loader = DataLoader(
            _WithOrigin(dataset, numbers),
            batch_size=self._config.fit.pairs,
            num_workers=self._config.fit.workers,
            worker_init_fn=start_loader_worker,
        )
        parts: dict[str, list[Array]] = {"real": [], "fake": [], "rows": []}
        for rows, real, fake in loader:
            features = self._forward(torch.cat([real, fake]))
            parts["real"].append(features[: len(real)])
            parts["fake"].append(features[len(real) :])
            parts["rows"].append(rows.numpy())
        return {name: np.concatenate(part) for name, part in parts.items()}

    def _of_crops(self, rows: Sequence[int]) -> dict[str, Array]:
        size, spec = 2 * self._config.fit.pairs, self._config.bundle.crop
        features = [
            self._forward(
                torch.from_numpy(
                    np.stack([self._store.centred(row, spec) for row in rows[i : i + size]])
                )
            )
            for i in range(0, len(rows), size)
        ]
        return {"features": np.concatenate(features), "rows": np.array(rows, np.int64)}

    def _forward(self, crops: torch.Tensor) -> Array:
        if self._network is None:
            device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
            model = create_backbone(self._config.backbone, self._config.bundle.input)
            graph = ExportGraph(model, self._config.bundle.input).to(device)
            self._network = model.to(device).eval(), graph
        model, graph = self._network
        device = next(model.parameters()).device
        with (
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=self._config.fit.bf16),
        ):
            tokens = model.forward_features(graph.normalise(crops.to(device)))  # type: ignore[operator]
            pooled = model.forward_head(tokens, pre_logits=True).flatten(1)  # type: ignore[operator]
        features: Array = pooled.float().cpu().numpy().astype(np.float16)
        if not np.isfinite(features).all():
            raise TrainingError(
                f"{self._config.backbone.name}: a feature exceeds the range of float16"
            )
        return features


def _key(store: CropStore, config: Config) -> str:
    """Return a digest of everything that the features of a pair depend on, except its number."""
    backbone = {"name", "weights", "blocks"}
    parts = {
        "index": hashlib.sha256("\n".join(store.index["crop"]).encode()).hexdigest(),
        "view": _VIEW,
        "augmentation": config.augmentation,
        "mix": config.mix.model_dump(mode="json"),
        "prepare": config.prepare.model_dump(mode="json"),
        "crop": config.bundle.crop.model_dump(mode="json"),
        "input": config.bundle.input.model_dump(mode="json"),
        "backbone": config.backbone.model_dump(mode="json", include=backbone),
        "seed": config.fit.seed,
        "bf16": config.fit.bf16,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _cached(path: Path, compute: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """Return the arrays stored at ``path``, after computing and storing them if need be."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = compute()
        with atomic_write(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return arrays
    with np.load(path) as stored:
        return dict(stored)


def fit_head(
    store: CropStore,
    out: Path,
    config: Config,
    workers: Workers,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Fit the last layer, write the same files into ``out`` as any run, and return the figures.

    Raises:
        ConfigError: if the network's last layer is not a single linear layer with one output.
        TrainingError: if no crop of a class is left to learn from or to be measured on, ``out``
            contains the run of another config, or there are several processes.
    """
    check_cut(store.root, config.prepare)
    if (figures := _completed(out, config)) is not None:
        return figures
    if workers.world > 1:
        raise TrainingError(
            "logistic regression runs in one process; start the command without torchrun"
        )
    steps, features = config.fit.steps, FeatureStore(store, config)

    def report(pairs: int) -> None:
        if progress:
            progress(StepReport(min(pairs // config.fit.pairs, steps - 1), steps, None, None))

    pairs = features.pairs(steps * config.fit.pairs, report)
    weight, bias = _regression(_examples(pairs, features, store, config), config.probe)
    metrics: dict[str, float] = {"step": float(steps)}
    scores = None
    held_out = ValidationDataset(store, config).rows
    if held_out:
        check_classes(store.index["label"].iloc[held_out])
        scores = store.index.iloc[held_out][list(COLUMNS)].copy()
        scores["logit"] = features.crops(held_out).astype(np.float64) @ weight + bias
        metrics |= mean_aucs(scores)
    model = create_backbone(config.backbone, config.bundle.input)
    _set_head(model, weight, bias)
    save_result(out, model, metrics, scores)
    state = {"format": CHECKPOINT_FORMAT, "config": config.model_dump_json(), "step": steps}
    save(out / CHECKPOINT, state)
    if progress:
        validation = {k: v for k, v in metrics.items() if k != "step"}
        progress(StepReport(steps, steps, None, validation))
    return metrics


def _completed(out: Path, config: Config) -> dict[str, float] | None:
    """Return the figures of a completed run of ``config`` in ``out``, or None."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / BEST).exists() or own_checkpoint(out, config) is None:
        return None
    figures: dict[str, float] = json.loads((out / METRICS).read_text(encoding="utf-8"))
    return figures


@dataclass(frozen=True, slots=True)
class LabelledCrops:
    """Crops to learn from: positions ``rows`` (N,) in the index, ``truth`` (N,) with 1 =
    manipulated, and ``weights`` (N,) that sum to one, half of it in either class."""

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    weights: NDArray[np.float64]


def plain_crops(store: CropStore, config: Config) -> LabelledCrops:
    """Return the unaugmented crops that a run of ``config`` may learn from.

    Raises:
        TrainingError: if no crop of a class is left to learn from.
    """
    index, crossing = numbered(store), config.cross_validation
    seen = thinned(index[trained_on(index, config)], crossing.media_per_group)
    rows = evenly(seen, crossing.crops_per_medium)
    labels = index.iloc[rows]
    truth = (labels["label"] == "fake").to_numpy().astype(np.int64)
    # As for pairs, a source of one clip does not weigh as much as one of hundreds.
    sources = labels.groupby(["dataset", "method", "label"])["row"].transform("size")
    weights = sources.to_numpy(np.float64) ** -0.5
    return LabelledCrops(np.array(rows, np.int64), truth, balanced(weights, truth))


def balanced(weights: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scale ``weights`` (N,) to a sum of one half in either class of ``truth`` (N,).

    Raises:
        TrainingError: if a class has no crop.
    """
    scaled = weights.copy()
    for value, name in enumerate(("real", "fake")):
        in_class = truth == value
        if not in_class.any():
            raise TrainingError(f"no {name} crop is left to train on")
        scaled[in_class] *= 0.5 / scaled[in_class].sum()
    return scaled


@dataclass(frozen=True, slots=True)
class _Examples:
    """Features (N, F), truth (N,) with 1 = manipulated, and weights (N,)."""

    features: Array
    truth: Array
    weights: Array


def _examples(
    pairs: PairFeatures, features: FeatureStore, store: CropStore, config: Config
) -> _Examples:
    """Return what a run may learn from: halves of pairs, and plain crops with ``plain_share`` of
    the weight.

    A half is used only if the run may see everything that it was made from, including the donor of
    a swap.
    """
    seen = trained_on(store.index, config).to_numpy()[pairs.rows]
    real, fake = pairs.real[seen[:, 0]], pairs.fake[seen[:, 1] & seen[:, 2]]
    truth = np.r_[np.zeros(len(real), np.int64), np.ones(len(fake), np.int64)]
    varied = _Examples(np.concatenate([real, fake]), truth, balanced(np.ones(len(truth)), truth))
    share = config.probe.plain_share
    if not share:
        return varied
    plain = plain_crops(store, config)
    return _Examples(
        np.concatenate([varied.features, features.crops(plain.rows.tolist())]),
        np.r_[varied.truth, plain.truth],
        np.r_[varied.weights * (1.0 - share), plain.weights * share],
    )


def _regression(examples: _Examples, probe: ProbeConfig) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression on standardised features; return weights (F,) and bias."""
    scaler = StandardScaler()
    values = scaler.fit_transform(examples.features.astype(np.float32))
    model = LogisticRegression(C=probe.inverse_regularisation, max_iter=_MAX_ITERATIONS)
    model.fit(values, examples.truth, sample_weight=examples.weights * len(values))
    weight = model.coef_[0].astype(np.float64) / scaler.scale_
    return weight, float(model.intercept_[0] - weight @ scaler.mean_)


def _set_head(model: nn.Module, weight: NDArray[np.float64], bias: float) -> None:
    head = model.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Linear) or head.weight.shape != (1, len(weight)):
        raise ConfigError(
            'backbone.tune: "head" needs a network whose last layer is one linear layer'
        )
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight)[None])
        head.bias.fill_(bias)
