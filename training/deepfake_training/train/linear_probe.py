"""Logistic regression on the features of a frozen network: ``backbone.tune = "head"``, and where
``fit.start = "probe"`` the first step of a run that goes on to fit more.

A large network that was trained on much else knows more of faces than a small data set can teach
(linear probes on CLIP: Ojha et al. 2023, arXiv:2302.10174). As nothing but the last layer is
fitted, the features of a pair of crops are the same in every run: they are computed once, stored
beside the crops, and a run takes those pairs of which it may see both halves and all that they were
made of. So folds, methods and sources can be left out in turn at almost no cost.
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

from deepfake_training.config import Config
from deepfake_training.data.batches import balanced, plain_crops
from deepfake_training.data.datasets import (
    CropStore,
    PairDataset,
    ValidationDataset,
    start_loader_worker,
)
from deepfake_training.data.prepare import check_cut
from deepfake_training.data.splits import trained_on
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.networks.backbone import ExportGraph, create_backbone
from deepfake_training.train.checkpoints import (
    BEST,
    CHECKPOINT,
    CHECKPOINT_FORMAT,
    LABELS,
    METRICS,
    StepReport,
    keep,
    own_checkpoint,
    save,
)
from deepfake_training.train.distributed import Workers
from deepfake_training.train.method_metrics import check_classes, mean_aucs

FEATURES = "features"
"""Folder beside the crops."""
_SHARD = 256
"""Pairs, or crops, of a file of features: what is lost at most when a run is stopped."""
_MAX_ITERATIONS = 2000

Progress = Callable[[StepReport], None]
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """Features (N, F) float16 of both halves of N pairs, and ``rows`` (N, 3): the positions in the
    index of the real half, of the fake half, and of a swap's donor."""

    real: Array
    fake: Array
    rows: Array


class _Described(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Pairs with the positions that they come from."""

    def __init__(self, pairs: PairDataset, numbers: Sequence[int]) -> None:
        self._pairs, self._numbers = pairs, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, item: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        origin, real, fake = self._pairs.pair(self._numbers[item])
        return torch.tensor([origin.real, origin.fake, origin.donor]), real, fake


class FeatureStore:
    """The features of a config's frozen network, computed when they are first asked for."""

    def __init__(self, store: CropStore, config: Config) -> None:
        self._store, self._config = store, config
        everything = {"validation_folds": (), "left_out_methods": (), "left_out_datasets": ()}
        self._whole = config.model_copy(update=everything)
        self._root = store.root / FEATURES / _key(store, config)
        self._network: tuple[nn.Module, ExportGraph] | None = None

    def pairs(self, count: int, progress: Callable[[int], None] | None = None) -> PairFeatures:
        """The first ``count`` pairs drawn from all crops, whatever the run holds out."""
        dataset = PairDataset(self._store, self._whole, count)
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
        """Features (N, F) float16 of the crops in positions ``rows``, as the service cuts them."""
        known: dict[int, Array] = {}
        for path in sorted(self._root.glob("crops-*.npz")):
            with np.load(path) as part:
                known.update(zip(part["rows"].tolist(), part["features"], strict=True))
        wanted = [row for row in rows if row not in known]
        for start in range(0, len(wanted), _SHARD):
            part = wanted[start : start + _SHARD]
            name = hashlib.sha256(np.array(part, np.int64).tobytes()).hexdigest()[:16]
            found = _cached(self._root / f"crops-{name}.npz", partial(self._of_crops, part))
            known.update(zip(part, found["features"], strict=True))
        return np.stack([known[row] for row in rows])

    def _of_pairs(self, dataset: PairDataset, numbers: Sequence[int]) -> dict[str, Array]:
        loader = DataLoader(
            _Described(dataset, numbers),
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
        size = 2 * self._config.fit.pairs
        features = [
            self._forward(
                torch.from_numpy(
                    np.stack([self._store.centred(row, self._config) for row in rows[i : i + size]])
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
            raise TrainingError(f"{self._config.backbone.name}: a feature leaves float16's range")
        return features


def _key(store: CropStore, config: Config) -> str:
    """What the features of a pair depend on, its number aside."""
    backbone = {"name", "weights", "blocks"}
    parts = {
        "index": hashlib.sha256("\n".join(store.index["crop"]).encode()).hexdigest(),
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
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = compute()
        unfinished = path.with_suffix(".partial")
        with unfinished.open("wb") as file:
            np.savez(file, **made)  # type: ignore[arg-type]
        unfinished.replace(path)
        return made
    with np.load(path) as stored:
        return dict(stored)


def fit_head(
    store: CropStore,
    out: Path,
    config: Config,
    workers: Workers,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Fit the last layer; leave in ``out`` what a fitted run leaves; return the figures.

    Raises:
        ConfigError: the network's last layer is not one linear layer with one output.
        TrainingError: nothing of a class is left to learn from, or to be measured on; ``out`` holds
            the run of another config; it was started in several processes.
    """
    check_cut(store.root, config)
    if (done := _done(out, config)) is not None:
        return done
    fit, features = config.fit, FeatureStore(store, config)
    weight, bias = _fitted(features, store, config, workers, progress)
    metrics: dict[str, float] = {"step": float(fit.steps)}
    scores = None
    held = ValidationDataset(store, config).rows
    if held:
        check_classes(store.index["label"].iloc[held])
        scores = store.index.iloc[held][LABELS].copy()
        scores["logit"] = features.crops(held).astype(np.float64) @ weight + bias
        metrics |= mean_aucs(scores)
    model = create_backbone(config.backbone, config.bundle.input)
    _set_head(model, weight, bias)
    keep(out, model, metrics, scores)
    state = {"format": CHECKPOINT_FORMAT, "config": config.model_dump_json(), "step": fit.steps}
    save(out / CHECKPOINT, state)
    if progress:
        figures = {k: v for k, v in metrics.items() if k != "step"}
        progress(StepReport(fit.steps, fit.steps, None, figures))
    return metrics


def start_head(
    model: nn.Module,
    store: CropStore,
    config: Config,
    workers: Workers,
    progress: Progress | None = None,
) -> None:
    """Set the last layer of ``model``, whose weights are the first ones, as ``fit_head`` fits it.

    Raises:
        ConfigError: the network's last layer is not one linear layer with one output.
        TrainingError: nothing of a class is left to learn from; there are several processes.
    """
    _set_head(model, *_fitted(FeatureStore(store, config), store, config, workers, progress))


def _fitted(
    features: FeatureStore,
    store: CropStore,
    config: Config,
    workers: Workers,
    progress: Progress | None,
) -> tuple[NDArray[np.float64], float]:
    if workers.world > 1:
        raise TrainingError("logistic regression is fitted by one process; leave out torchrun")
    steps = config.fit.steps
    count = config.probe.pairs or steps * config.fit.pairs

    def report(pairs: int) -> None:
        if progress:
            progress(StepReport(min(pairs * steps // count, steps - 1), steps, None, None))

    pairs = features.pairs(count, report)
    return _regression(_learnt_from(pairs, features, store, config), config)


def _done(out: Path, config: Config) -> dict[str, float] | None:
    """The figures of a run of this config that is complete."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / BEST).exists() or own_checkpoint(out, config) is None:
        return None
    figures: dict[str, float] = json.loads((out / METRICS).read_text(encoding="utf-8"))
    return figures


@dataclass(frozen=True, slots=True)
class _Examples:
    """Features (N, F), truth (N,) with 1 = manipulated, and weights (N,)."""

    features: Array
    truth: Array
    weights: Array


def _learnt_from(
    pairs: PairFeatures, features: FeatureStore, store: CropStore, config: Config
) -> _Examples:
    """What a run may learn from: halves of pairs, and plain crops with ``plain_share`` of the
    weight. A half counts where all that it was made of does: of a swap, the donor too."""
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


def _regression(examples: _Examples, config: Config) -> tuple[NDArray[np.float64], float]:
    """Weights (F,) and bias of a logistic regression on standardised features."""
    scaler = StandardScaler()
    values = scaler.fit_transform(examples.features.astype(np.float32))
    model = LogisticRegression(C=config.probe.inverse_regularisation, max_iter=_MAX_ITERATIONS)
    model.fit(values, examples.truth, sample_weight=examples.weights * len(values))
    weight = model.coef_[0].astype(np.float64) / scaler.scale_
    return weight, float(model.intercept_[0] - weight @ scaler.mean_)


def _set_head(model: nn.Module, weight: NDArray[np.float64], bias: float) -> None:
    head = model.get_classifier()  # type: ignore[operator]
    if not isinstance(head, nn.Linear) or head.weight.shape != (1, len(weight)):
        raise ConfigError("logistic regression: the network's head is not one linear layer")
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weight)[None])
        head.bias.fill_(bias)
