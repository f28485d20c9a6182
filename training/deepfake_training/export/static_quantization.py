"""A bundle whose classifier computes in 8-bit integers: smaller, faster on a CPU, and measured.

Post-training static quantisation (Jacob et al. 2018, arXiv:1712.05877): weights a channel at a
time, activations by their ranges on real crops. Scores change, so it is a bundle of its own, with
the calibration and thresholds of the one that it was made from; it is refused where ranks differ.
"""

from __future__ import annotations

import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from deepfake_models.bundle import Bundle, load_bundle, seal
from deepfake_models.classifier import DEFAULT_BATCH, LOGIT, Classifier
from deepfake_models.decision.calibration import log_likelihood_ratio
from deepfake_models.session import OnnxSession
from deepfake_training.config import Config
from deepfake_training.data.datasets import CropStore, ValidationDataset
from deepfake_training.data.splits import trained_on
from deepfake_training.errors import TrainingError
from deepfake_training.evaluate.crossvalidate import fold_weights
from deepfake_training.export.onnx_export import CLASSIFIER, write_classifier
from deepfake_training.train.checkpoints import LABELS
from deepfake_training.train.method_metrics import mean_aucs

MAX_AUC_LOSS = 0.003
"""Of the mean over methods and of everything; more would need its own calibration and card."""
MAX_FPR_RISE = 0.005
"""Of crops called manipulated at the bundle's face threshold: a shift of all logits leaves ranks
alone, but not this."""
CALIBRATION_CROPS = 512
"""Crops whose activations give the ranges; more change nothing measurable."""
_TIMED_RUNS = 15
_QUANTISED = ("Conv", "Clip", "Pad", "Add")
"""Convolutions and what lies between them, so that values need not be converted there. The
normalisation before and the linear head after them cost nothing and stay in floating point."""

Progress = Callable[[str], None]


def quantise(
    bundle_dir: Path,
    crops: Path,
    out: Path,
    *,
    cross_validation: Path | None = None,
    progress: Progress | None = None,
) -> Bundle:
    """Write the bundle ``out``: that of ``bundle_dir`` with an int8 classifier.

    1. Every run of ``cross_validation`` is quantised like the bundle, on crops that it learnt
       from, and scores the crops that it never saw, in floating point and in int8. Without that
       folder, the bundle's own held-out folds are scored.
    2. Where the AUC falls by more than ``MAX_AUC_LOSS``, nothing is written.
    3. The bundle is quantised and sealed with what was measured, and timed against its original.

    Raises:
        BundleError: the bundle is incomplete or altered.
        TrainingError: the crops or runs are not those of the bundle, or the loss is too large.
    """
    say = progress or _silent
    bundle = load_bundle(bundle_dir)
    config = Config.model_validate(bundle.spec.training["config"])
    if config.backbone.blocks:
        raise TrainingError(
            f"{bundle.spec.name}: what is quantised here are convolutions, and a "
            'transformer has one; its matrices can be stored in 8 bits by [bundle] stored = "int8"'
        )
    store = CropStore(crops)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".int8-") as scratch:
        directory = Path(scratch) / "bundle"
        shutil.copytree(bundle_dir, directory)
        pairs = []
        for number, (mine, graph) in enumerate(
            _graphs(bundle, config, cross_validation, Path(scratch))
        ):
            say(f"scoring held-out crops in fp32 and int8, run {number + 1}")
            small = graph.with_suffix(".int8.onnx")
            quantise_graph(graph, small, _samples(store, mine))
            pairs.append(_scored(store, mine, graph, small))
        measured = _compared(pairs, bundle)
        say("quantising the bundle")
        quantise_graph(bundle_dir / CLASSIFIER, directory / CLASSIFIER, _samples(store, config))
        measured["speed_ratio"] = _speed_ratio(bundle, directory / CLASSIFIER)
        card = directory / "MODEL_CARD.md"
        card.write_text(card.read_text(encoding="utf-8") + _section(measured), encoding="utf-8")
        fields = bundle.spec.model_dump(exclude={"files", "format_version"})
        fields["name"] = f"{bundle.spec.name}-int8"
        fields["training"]["quantised"] = {"from": bundle.sha256, **measured}
        seal(directory, fields)
        if out.exists():
            shutil.rmtree(out)
        directory.replace(out)
    return load_bundle(out)


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    """Crops (N, S, S, 3) uint8, a batch at a time."""

    def __init__(self, crops: NDArray[np.uint8]) -> None:
        self._batches = iter(np.array_split(crops, max(1, len(crops) // 16)))

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"crops": batch}


def quantise_graph(graph: Path, out: Path, crops: NDArray[np.uint8]) -> None:
    """Write ``graph`` with its convolutions in int8 (QDQ); ranges come from ``crops``."""
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        shaped = Path(scratch) / "shaped.onnx"
        # onnxruntime advises on the root logger to do what is done in the next line.
        logging.getLogger().setLevel(logging.ERROR)
        quant_pre_process(graph, shaped, skip_symbolic_shape=True)
        quantize_static(
            shaped,
            out,
            _Samples(crops),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


def _graphs(
    bundle: Bundle, config: Config, cross_validation: Path | None, scratch: Path
) -> Iterator[tuple[Config, Path]]:
    """The graphs to compare on what they never saw, each with the config of its run."""
    if cross_validation is None:
        yield config, bundle.directory / CLASSIFIER
        return
    for number, (mine, weights) in enumerate(fold_weights(cross_validation, config)):
        folder = scratch / f"run-{number}"
        folder.mkdir()
        write_classifier(folder, [weights], mine)
        yield mine, folder / CLASSIFIER


def _samples(store: CropStore, config: Config) -> NDArray[np.uint8]:
    """Crops that the run learnt from, evenly from every source and method."""
    index = store.index.reset_index(drop=True).assign(row=range(len(store.index)))
    train = index[trained_on(index, config)]
    parts = [p["row"].to_numpy() for _, p in train.groupby(["dataset", "method"], sort=True)]
    each = max(1, CALIBRATION_CROPS // max(1, len(parts)))
    rows = [int(p[i]) for p in parts for i in _spread(len(p), each)]
    return np.stack([store.centred(row, config) for row in rows])


def _spread(length: int, count: int) -> NDArray[np.int64]:
    picks: NDArray[np.int64] = np.unique(
        np.linspace(0, length - 1, min(count, length)).round().astype(np.int64)
    )
    return picks


def _scored(store: CropStore, config: Config, graph: Path, small: Path) -> pd.DataFrame:
    """The held-out crops with ``logit`` in floating point and ``int8``."""
    rows = ValidationDataset(store, config).rows
    if not rows:
        raise TrainingError("nothing is held out by the bundle's run; give --cross-validation")
    table = store.index.iloc[rows][LABELS].copy()
    classifiers = [
        Classifier(OnnxSession(p.read_bytes(), name=p.name, device="cpu"), config.bundle.input)
        for p in (graph, small)
    ]
    values: list[list[float]] = [[], []]
    for part in np.array_split(np.asarray(rows), max(1, len(rows) // 64)):
        crops = np.stack([store.centred(int(row), config) for row in part])
        for column, classifier in zip(values, classifiers, strict=True):
            column += classifier.logits(crops).tolist()
    table["logit"], table["int8"] = values
    return table


def _compared(pairs: Sequence[pd.DataFrame], bundle: Bundle) -> dict[str, Any]:
    """What int8 costs, over all runs: ranks, and crops called manipulated at the bundle's face
    threshold, which stays as it is.

    Raises:
        TrainingError: when it is too much.
    """
    scores = pd.concat(pairs, ignore_index=True)
    before = mean_aucs(scores)
    after = mean_aucs(scores.assign(logit=scores["int8"]))
    difference = (scores["int8"] - scores["logit"]).to_numpy()
    measured: dict[str, Any] = {
        "crops": len(scores),
        "groups": int(scores["group"].nunique()),
        "auc_all": {"fp32": round(before["auc_all"], 4), "int8": round(after["auc_all"], 4)},
        "auc_mean": {"fp32": round(before["auc_mean"], 4), "int8": round(after["auc_mean"], 4)},
        "logit_difference": {
            "mean": round(float(difference.mean()), 4),
            "p95": round(float(np.quantile(np.abs(difference), 0.95)), 4),
        },
    }
    flagged = {
        column: [
            log_likelihood_ratio(float(z), bundle.spec.calibration.face)
            >= bundle.spec.thresholds.face.likely_manipulated
            for z in scores[source]
        ]
        for column, source in (("fp32", "logit"), ("int8", "int8"))
    }
    for name, label in (("false_positive_rate", "real"), ("true_positive_rate", "fake")):
        mine = (scores["label"] == label).to_numpy()
        measured[name] = {
            c: round(float(np.mean(np.array(f)[mine])), 4) for c, f in flagged.items()
        }
    before_fpr, after_fpr = measured["false_positive_rate"].values()
    if after_fpr - before_fpr > MAX_FPR_RISE:
        raise TrainingError(
            f"int8 raises false positives at the face threshold from {before_fpr:.2%} to "
            f"{after_fpr:.2%}; the bundle stays in floating point"
        )
    for name in ("auc_all", "auc_mean"):
        loss = before[name] - after[name]
        if loss > MAX_AUC_LOSS:
            raise TrainingError(
                f"int8 lowers {name} from {before[name]:.4f} to {after[name]:.4f}, by more than "
                f"{MAX_AUC_LOSS}; the bundle stays in floating point"
            )
    return measured


def _speed_ratio(bundle: Bundle, small: Path) -> float:
    """Median time of a batch in floating point over that in int8, measured alternately."""
    side = bundle.spec.input.height
    crops = np.random.default_rng(0).integers(0, 256, (DEFAULT_BATCH, side, side, 3), np.uint8)
    sessions = [
        OnnxSession(graph, name="classifier", device="cpu")
        for graph in (bundle.graphs[CLASSIFIER], small.read_bytes())
    ]
    times: list[list[float]] = [[], []]
    for _ in range(_TIMED_RUNS):
        for taken, session in zip(times, sessions, strict=True):
            start = time.perf_counter()
            session.run([LOGIT], {"crops": crops})
            taken.append(time.perf_counter() - start)
    first, second = (statistics.median(t[2:]) for t in times)
    return round(first / second, 2)


def _section(measured: dict[str, Any]) -> str:
    everything, mean = measured["auc_all"], measured["auc_mean"]
    shift = measured["logit_difference"]
    false, found = measured["false_positive_rate"], measured["true_positive_rate"]
    return (
        "\n## In 8-bit integers\n\n"
        "The classifier of this bundle is quantised; calibration, thresholds and every figure "
        "above are those of the floating-point bundle that it was made from. On "
        f"{measured['crops']} held-out crops of {measured['groups']} groups, scored by runs that "
        f"never saw them, the AUC over all goes from {everything['fp32']:.4f} to "
        f"{everything['int8']:.4f} and its mean over methods from {mean['fp32']:.4f} to "
        f"{mean['int8']:.4f}. Logits move by {shift['mean']:+.3f} on average and by at most "
        f"{shift['p95']:.3f} for 95% of the crops. At the face threshold false positives go from "
        f"{false['fp32']:.2%} to {false['int8']:.2%}, found fakes from {found['fp32']:.2%} to "
        f"{found['int8']:.2%}. Here a batch took "
        f"1/{measured['speed_ratio']:.2f} of the floating-point time.\n"
    )


def _silent(_what: str) -> None:
    """Progress that nobody watches."""
