"""Logistic regression on the features of a frozen network: ``backbone.tune = "head"``.

A large network trained on much other material knows more about faces than a small data set can
teach it (linear probes on CLIP: Ojha et al. 2023, arXiv:2302.10174). Because only the last layer is
fitted, features are computed once for all runs (see ``feature_store``), so folds, methods and
sources can be left out in turn at almost no cost.

Each square of a face has a regression of its own; the logit of a face is the mean over the squares,
each scaled to the same deviation. A second, multinomial regression tells the kinds of manipulation
apart; it learns from manipulated faces only and has no influence on the verdict.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from deepfake_training.config import Config, ProbeConfig
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.manifests import COLUMNS
from deepfake_training.data.prepare import check_cut
from deepfake_training.data.splits import measured_on, trained_on
from deepfake_training.errors import TrainingError
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
from deepfake_training.train.feature_store import FeatureStore, PairFeatures
from deepfake_training.train.head import Head
from deepfake_training.train.main_faces import MainFaces, main_faces
from deepfake_training.train.method_metrics import (
    check_classes,
    check_measurable,
    mean_aucs,
)

_MAX_ITERATIONS = 2000

StepReporter = Callable[[StepReport], None]
Array = NDArray[Any]


def fit_head(
    store: CropStore,
    out: Path,
    config: Config,
    workers: Workers,
    progress: StepReporter | None = None,
) -> dict[str, float]:
    """Fit the last layer, write the same files into ``out`` as any run, and return the figures.

    Raises:
        TrainingError: if no crop of a class is left to learn from or to be measured on, ``out``
            contains the run of another config or on other data, or there are several processes.
    """
    check_cut(store.root, config.prepare)
    data = store.digest()
    if (figures := _completed(out, config, data)) is not None:
        return figures
    if workers.world > 1:
        raise TrainingError(
            "logistic regression runs in one process; start the command without torchrun"
        )
    check_measurable(store.index, config)
    steps, features = config.fit.steps, FeatureStore(store, config)

    def report(doing: str, done: int, total: int) -> None:
        if progress:
            progress(StepReport(done, total, None, None, doing))

    pairs = features.pairs(steps * config.fit.pairs, partial(report, "computing pairs"))
    faces = main_faces(features, store, config, partial(report, "examining media"))
    report("regression", 0, 1)
    head = fitted_head(pairs, faces, store, config)
    metrics: dict[str, float] = {"step": float(steps)}
    scores = None
    held_out = faces.of(measured_on(faces.labels, config, store.index))
    if len(held_out.labels):
        check_classes(held_out.labels, config.cross_validation.apart)
        scores = held_out.labels[list(COLUMNS)].copy()
        scores["logit"] = head.logits(held_out.features)
        metrics |= mean_aucs(scores, config.cross_validation.apart)
    save_result(out, head.state(), metrics, scores)
    state = {
        "format": CHECKPOINT_FORMAT, "config": config.model_dump_json(), "data": data, "step": steps
    }  # fmt: skip
    save(out / CHECKPOINT, state)
    if progress:
        validation = {k: v for k, v in metrics.items() if k != "step"}
        progress(StepReport(steps, steps, None, validation))
    return metrics


def _completed(out: Path, config: Config, data: str) -> dict[str, float] | None:
    """Return the figures of a completed run of ``config`` on ``data`` in ``out``, or None."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / BEST).exists() or own_checkpoint(out, config, data) is None:
        return None
    figures: dict[str, float] = json.loads((out / METRICS).read_text(encoding="utf-8"))
    return figures


def fitted_head(pairs: PairFeatures, faces: MainFaces, store: CropStore, config: Config) -> Head:
    """Fit the head of a run of ``config`` on what it may see.

    Raises:
        TrainingError: if no crop of a class, or no fake of one of the kinds, is left to learn from.
    """
    # Without either use of them, fakes that are synthesised from real faces are enough.
    needed = config.probe.plain_share or config.probe.kinds
    plain = plain_faces(faces, config) if needed else None
    examples = _examples(pairs, plain, store, config)
    views = range(examples.features.shape[1])
    parts = [_regression(examples, view, config.probe) for view in views]
    logits = [examples.features[:, v].astype(np.float32) @ parts[v][0] for v in views]
    # A logit is the mean of the squares' logits, scaled to the same deviation.
    deviations = np.array([_deviation(z, examples.weights) for z in logits])
    shares = deviations.mean() / deviations / len(parts)
    weight = np.concatenate([w * s for (w, _), s in zip(parts, shares, strict=True)])
    bias = float(sum(b * s for (_, b), s in zip(parts, shares, strict=True)))
    kinds = _kind_regression(plain, config) if plain is not None else None
    return Head(weight, bias, *kinds) if kinds else Head(weight, bias)


def _deviation(values: Array, weights: Array) -> float:
    mean = np.average(values, weights=weights)
    return float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))


@dataclass(frozen=True, slots=True)
class LabelledFaces:
    """Faces to learn from: ``features`` (N, V, F), ``labels`` with ``COLUMNS``, ``truth`` (N,) with
    1 = manipulated, and ``weights`` (N,) that sum to one, half of it in either class."""

    features: Array
    labels: pd.DataFrame
    truth: NDArray[np.int64]
    weights: NDArray[np.float64]


def plain_faces(faces: MainFaces, config: Config) -> LabelledFaces:
    """Return the faces without augmentation that a run of ``config`` may learn from.

    Raises:
        TrainingError: if no face of a class is left to learn from.
    """
    chosen = faces.of(faces.labels[trained_on(faces.labels, config)])
    labels = chosen.labels
    truth = (labels["label"] == "fake").to_numpy().astype(np.int64)
    # As for pairs, a source of one clip does not weigh as much as one of hundreds, nor does a
    # person of one picture as much as one of dozens.
    sources = labels.groupby(["dataset", "method", "label"])["media"].transform("size")
    groups = labels.groupby(["group", "label"])["media"].transform("size")
    named = labels["method"].map(config.probe.method_weights).fillna(1.0).to_numpy(np.float64)
    weights = (sources * groups).to_numpy(np.float64) ** -0.5 * named
    return LabelledFaces(chosen.features, labels, truth, balanced(weights, truth))


def balanced(weights: NDArray[np.float64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scale ``weights`` (N,) to a sum of one half in either class of ``truth`` (N,).

    Raises:
        TrainingError: if a class has no crop.
    """
    scaled = weights.copy()
    for value, name in enumerate(("real", "fake")):
        in_class = truth == value
        if not in_class.any() or not scaled[in_class].sum():
            raise TrainingError(f"no {name} crop is left to train on")
        scaled[in_class] *= 0.5 / scaled[in_class].sum()
    return scaled


@dataclass(frozen=True, slots=True)
class _Examples:
    """Features (N, V, F), truth (N,) with 1 = manipulated, and weights (N,)."""

    features: Array
    truth: Array
    weights: Array


def _examples(
    pairs: PairFeatures, plain: LabelledFaces | None, store: CropStore, config: Config
) -> _Examples:
    """Return what a run may learn from: halves of pairs, and plain faces with ``plain_share`` of
    the weight.

    A half is used only if the run may see everything that it was made from, including the donor of
    a swap.
    """
    seen = trained_on(store.index, config).to_numpy()[pairs.rows]
    real, fake = pairs.real[seen[:, 0]], pairs.fake[seen[:, 1] & seen[:, 2]]
    truth = np.r_[np.zeros(len(real), np.int64), np.ones(len(fake), np.int64)]
    share = config.probe.plain_share
    weights = balanced(np.ones(len(truth)), truth)
    if not share or plain is None:
        return _Examples(np.concatenate([real, fake]), truth, weights)
    return _Examples(
        np.concatenate([real, fake, plain.features]),
        np.r_[truth, plain.truth],
        np.r_[weights * (1.0 - share), plain.weights * share],
    )


def _regression(
    examples: _Examples, view: int, probe: ProbeConfig
) -> tuple[NDArray[np.float64], float]:
    """Fit a logistic regression on the standardised features of one square; return weights (F,) and
    bias."""
    scaler = StandardScaler()
    values = scaler.fit_transform(examples.features[:, view].astype(np.float32))
    model = LogisticRegression(C=probe.inverse_regularisation, max_iter=_MAX_ITERATIONS)
    model.fit(values, examples.truth, sample_weight=examples.weights * len(values))
    weight = model.coef_[0].astype(np.float64) / scaler.scale_
    return weight, float(model.intercept_[0] - weight @ scaler.mean_)


def _kind_regression(
    plain: LabelledFaces, config: Config
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Fit a multinomial regression of the kind of manipulation on the features of all squares.

    Returns weights (K, V * F) and biases (K,), or None if the config names no kinds. Every kind has
    the same weight, and within it every source the root of its number of faces.

    Raises:
        TrainingError: if no fake of one of the kinds is left to learn from.
    """
    kinds = config.probe.kinds
    if not kinds:
        return None
    of_method = {m: i for i, k in enumerate(kinds) for m in config.cross_validation.families[k]}
    number = plain.labels["method"].map(of_method).to_numpy(np.float64)
    known = (plain.truth == 1) & ~np.isnan(number)
    kind = number[known].astype(np.int64)
    if missing := sorted(set(range(len(kinds))) - set(kind.tolist())):
        raise TrainingError(f"no fake of the kind {kinds[missing[0]]} is left to train on")
    weights = plain.weights[known]
    weights = weights / np.bincount(kind, weights)[kind] / len(kinds)
    scaler = StandardScaler()
    features = plain.features[known]
    values = scaler.fit_transform(features.reshape(len(features), -1).astype(np.float32))
    model = LogisticRegression(C=config.probe.kind_regularisation, max_iter=_MAX_ITERATIONS)
    model.fit(values, kind, sample_weight=weights * len(values))
    weight = model.coef_.astype(np.float64) / scaler.scale_
    if len(kinds) == 2:  # scikit-learn then has one row, for the second class
        weight = np.concatenate([np.zeros_like(weight), weight])
        bias = np.r_[0.0, model.intercept_]
    else:
        bias = cast("NDArray[np.float64]", model.intercept_)
    return weight, bias - weight @ scaler.mean_
