"""Logistic regression on the features of a frozen network: ``backbone.tune = "head"``.

A large network trained on much other material knows more about faces than a small data set can
teach it (linear probes on CLIP: Ojha et al. 2023, arXiv:2302.10174). Because only the last layer is
fitted, features are computed once for all runs (see ``feature_store``), so folds, methods and
sources can be left out in turn at almost no cost.

Each square of a face has a regression of its own: of untouched faces against all others, and if the
config names kinds of manipulation, a second, multinomial one of untouched faces and each kind. The
logit of a face is the mean of these over its squares, each scaled to the same deviation (see
``head``).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from deepfake_training.config import Config, ProbeConfig
from deepfake_training.data.datasets import REAL_FAKE, SYNTHESISED, CropStore
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
    read_checkpoint,
    save,
    save_result,
)
from deepfake_training.train.distributed import Workers
from deepfake_training.train.feature_store import FeatureStore, PairFeatures
from deepfake_training.train.head import Head
from deepfake_training.train.main_faces import MainFaces, main_faces
from deepfake_training.train.method_metrics import check_classes, mean_aucs

_MAX_ITERATIONS = 2000
_TOLERANCE = 3e-4
"""Largest derivative at which a regression ends. A third of it takes half as long again, and moves
logits by hundredths."""

Progress = Callable[[StepReport], None]
Array = NDArray[Any]


def fit_head(
    store: CropStore,
    out: Path,
    config: Config,
    workers: Workers,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Fit the last layer, write the same files into ``out`` as any run, and return the figures.

    Raises:
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

    def report(doing: str, done: int, total: int) -> None:
        if progress:
            progress(StepReport(done, total, None, None, doing))

    pairs = features.pairs(steps * config.fit.pairs, partial(report, "computing pairs"))
    faces = main_faces(features, store, config, partial(report, "examining media"))
    report("regression", 0, 1)
    head = fitted_head(pairs, faces, store, config)
    metrics: dict[str, float] = {"step": float(steps)}
    scores = None
    held_out = faces.of(measured_on(faces.labels, config))
    if len(held_out.labels):
        check_classes(held_out.labels["label"])
        scores = held_out.labels[list(COLUMNS)].copy()
        scores["logit"] = head.logits(held_out.features)
        metrics |= mean_aucs(scores)
    save_result(out, head.state(), metrics, scores)
    state = {"format": CHECKPOINT_FORMAT, "config": config.model_dump_json(), "step": steps}
    save(out / CHECKPOINT, state)
    if progress:
        validation = {k: v for k, v in metrics.items() if k != "step"}
        progress(StepReport(steps, steps, None, validation))
    return metrics


def _completed(out: Path, config: Config) -> dict[str, float] | None:
    """Return the figures of a completed run of ``config`` in ``out``, or None.

    Raises:
        TrainingError: if ``out`` contains a run of another config or of another version.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not (out / BEST).exists() or own_checkpoint(out, config) is None:
        return None
    Head.of(read_checkpoint(out / BEST)["ema"])
    figures: dict[str, float] = json.loads((out / METRICS).read_text(encoding="utf-8"))
    return figures


def fitted_head(pairs: PairFeatures, faces: MainFaces, store: CropStore, config: Config) -> Head:
    """Fit the head of a run of ``config`` on what it may see.

    Raises:
        TrainingError: if no crop of a class, or no fake of one of the kinds, is left to learn from.
    """
    examples = _examples(pairs, plain_faces(faces, config), store, config)
    kinds = config.probe.kinds
    for number, name in enumerate(kinds, start=1):
        if number not in examples.kind:
            raise TrainingError(f"no fake of the kind {name} is left to train on")
    squares = [_square(examples, view, config.probe) for view in range(examples.features.shape[1])]
    weight, bias = (np.stack(values) for values in zip(*squares, strict=True))
    head = Head(weight, bias, np.ones((len(squares), 2 if kinds else 1)), len(kinds))
    parts = head.parts(examples.features).reshape(len(examples.kind), -1)
    deviations = np.array([_deviation(z, examples.weights) for z in parts.T])
    factor = deviations.mean() / deviations / len(deviations)
    return replace(head, factor=factor.reshape(head.factor.shape))


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


def balanced(weights: NDArray[np.float64], truth: NDArray[Any]) -> NDArray[np.float64]:
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
    """Features (N, V, F), ``kind`` (N,) with 0 = untouched, and weights (N,).

    Kinds are numbered as in the config, from 1; manipulated faces of none of these have the next
    number.
    """

    features: Array
    kind: NDArray[np.int64]
    weights: Array


def _examples(
    pairs: PairFeatures, plain: LabelledFaces, store: CropStore, config: Config
) -> _Examples:
    """Return what a run may learn from: halves of pairs, and plain faces with ``plain_share`` of
    the weight.

    A half is used only if the run may see everything that it was made from, including the donor of
    a swap.
    """
    seen = trained_on(store.index, config).to_numpy()[pairs.rows]
    of_real, of_fake = seen[:, 0], seen[:, 1] & seen[:, 2]
    real, fake = pairs.real[of_real], pairs.fake[of_fake]
    kind = np.r_[np.zeros(len(real), np.int64), _kinds_of_pairs(pairs, store, config)[of_fake]]
    share = config.probe.plain_share
    weights = balanced(np.ones(len(kind)), kind > 0)
    if not share:
        return _Examples(np.concatenate([real, fake]), kind, weights)
    of_plain = np.where(plain.truth, _kinds_of(plain.labels["method"], config), 0)
    return _Examples(
        np.concatenate([real, fake, plain.features]),
        np.r_[kind, of_plain],
        np.r_[weights * (1.0 - share), plain.weights * share],
    )


def _kinds_of(methods: pd.Series, config: Config) -> NDArray[np.int64]:
    """Return the number of the kind of each manipulation method."""
    kinds = config.probe.kinds
    families = config.cross_validation.families
    numbers = {m: n for n, kind in enumerate(kinds, start=1) for m in families[kind]}
    return np.array([numbers.get(method, len(kinds) + 1) for method in methods], np.int64)


def _kinds_of_pairs(pairs: PairFeatures, store: CropStore, config: Config) -> NDArray[np.int64]:
    """Return the number of the kind of each manipulated half."""
    numbers = _kinds_of(store.index["method"].iloc[pairs.rows[:, 1]], config)
    kinds = config.probe.kinds
    for way, name in enumerate(SYNTHESISED, start=REAL_FAKE + 1):
        kind = config.probe.synthesised.get(name)
        numbers[pairs.way == way] = kinds.index(kind) + 1 if kind else len(kinds) + 1
    return numbers


def _square(
    examples: _Examples, view: int, probe: ProbeConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit regressions on the standardised features of one square; return the weights (R, F) and
    biases (R,) of the rows of ``Head``."""
    scaler = StandardScaler()
    values = scaler.fit_transform(examples.features[:, view].astype(np.float32))
    targets = [examples.kind > 0, examples.kind] if probe.kinds else [examples.kind > 0]
    fitted = [_log_odds(values, target, examples.weights, probe) for target in targets]
    weight, bias = (np.concatenate(rows) for rows in zip(*fitted, strict=True))
    weight = weight / scaler.scale_
    return weight, bias - weight @ scaler.mean_


def _log_odds(
    values: Array, target: Array, weights: NDArray[np.float64], probe: ProbeConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit ``target`` (N,) on ``values`` (N, F); return the weights (K, F) and biases (K,) of the
    log-odds of each other class against the first."""
    model = LogisticRegression(
        C=probe.inverse_regularisation, max_iter=_MAX_ITERATIONS, tol=_TOLERANCE
    )
    model.fit(values, target, sample_weight=weights * len(values))
    weight, bias = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if len(weight) > 1:  # of two classes, scikit-learn returns the log-odds
        weight, bias = weight[1:] - weight[0], bias[1:] - bias[0]
    return weight, bias
