"""Export a checkpoint as a bundle: ONNX, parity check, calibration, reliability, model card."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray

from deepfake_eval.analysis import reliability
from deepfake_eval.analysis.summary import Subject, summarise
from deepfake_eval.datasets import Row, Rows
from deepfake_eval.evaluate.run import LoadedDataset
from deepfake_eval.inference.fitted_media import write_fitted
from deepfake_eval.inference.pool import no_progress
from deepfake_eval.inference.predictions import (
    LABELS,
    assemble,
    face_records,
    face_table,
    item_record,
)
from deepfake_eval.reporting.report import write_results
from deepfake_models.bundle import spec
from deepfake_models.bundle.bundle import (
    CLASSIFIER,
    GRAPHS,
    Bundle,
    default_bundle_dir,
    load_bundle,
    seal,
)
from deepfake_models.decision.decide import judge_again
from deepfake_models.decision.fitness import marked_card, unfit
from deepfake_models.decision.level import Criteria
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_training.config import Config
from deepfake_training.data import splits
from deepfake_training.data.datasets import CropStore
from deepfake_training.data.manifests import TERMS, Manifest, read_manifests
from deepfake_training.data.prepare import MANIFESTS, recorded
from deepfake_training.errors import ConfigError, TrainingError
from deepfake_training.evaluate.calibrate import fit_levels
from deepfake_training.export import graphs
from deepfake_training.export.given import GivenGraph
from deepfake_training.export.held_out import (
    HeldOut,
    HeldOutRun,
    Judged,
    crops_of,
    held_out_rows,
    listed_once,
    rows_of_given,
    score_heads,
    score_networks,
    score_served,
)
from deepfake_training.export.model_card import Outcomes, long_tables, model_card
from deepfake_training.heads import heads_of
from deepfake_training.networks.backbone import MapMethod
from deepfake_training.train.checkpoints import METRICS as CHECKPOINT_METRICS
from deepfake_training.train.checkpoints import chosen_weights
from deepfake_training.train.feature_store import FeatureStore

PARITY_CROPS = 64
BOOTSTRAP_DRAWS = 300
"""Draws for the intervals of the held-out figures, of which there are hundreds."""
HELD_OUT_REPORT = "held_out"
"""Folder beside the checkpoint with the evaluation from which the card takes its figures."""


@dataclass(frozen=True, slots=True)
class _Scored:
    """Held-out media with their verdicts, of which a bundle's figures are made."""

    judged: Sequence[Judged]
    even_if_useless: bool
    samples: NDArray[np.uint8] | None = None
    """Crops on which the noise of logits is measured, if it is."""
    by_known: Sequence[Judged] = ()
    """The same by runs that knew their sources, if those of ``judged`` did not."""
    crossed: tuple[int, int] | None = None
    """See ``model_card``."""


@dataclass(frozen=True, slots=True)
class ExportInputs:
    """The material for a bundle."""

    manifests: Sequence[Manifest]
    crops: Path
    run: Path
    """Folder of the run whose weights are exported."""
    cross_validation: Path | None = None
    """Folder of the fold runs from which calibration and figures come. None: the exported run is
    measured on its own held-out folds."""
    even_if_useless: bool = False
    """Whether to write a bundle that is marked as not for use where held-out values say nothing."""


def export(
    inputs: ExportInputs,
    out: Path,
    config: Config,
    *,
    progress: Callable[[int, int], None] = no_progress,
) -> Bundle:
    """Export the best weights of a run as the bundle in the folder ``out``.

    1. The network is written as ONNX beside the shipped face detector, and its logits are compared
       with torch's.
    2. Held-out media are scored through the serving path with a neutral calibration: each by the
       run in ``inputs.cross_validation`` that did not see its person, and by the one that did not
       see its source either, or else the run's own held-out folds.
    3. Calibrations and thresholds are fitted and error rates measured on sources that were not seen
       where there are such runs, the model card written, and the
       media that the weights were fitted on listed by keyed digests.
    4. The bundle is sealed beside ``out`` and moved there as a whole. The evaluation remains in the
       run's folder.

    ``progress`` receives the number of scored media and of all media. ``TrainingError`` if ``out``
    exists, no media are held out, a file is not a checkpoint, the runs do not match the config, the
    crops or the manifests, or logits differ from torch's.
    """
    out = check_destination(out)
    check_exportable(config)
    store = CropStore(inputs.crops)
    digest = store.digest()
    weights = chosen_weights(inputs.run, config, digest)
    measured: Sequence[HeldOutRun] = ((config, weights),)
    by_source: Sequence[HeldOutRun] = ()
    if crossed := inputs.cross_validation:
        measured, by_source = (
            [(s.config, chosen_weights(crossed / s.name, s.config, digest)) for s in held_out]
            for held_out in (
                splits.fold_splits(store.index, config),
                splits.source_splits(store.index, config),
            )
        )
    with _made_at(out) as directory:
        difference, method = _export_classifier(directory, weights, config, store)
        _list_fitted(directory, store, config)
        rows = listed_once(inputs.manifests, inputs.crops, config)
        _check_prepared(rows, store)
        by_people = held_out_rows(measured, rows)
        sources = splits.source_names(rows["dataset"], config)
        by_sources = held_out_rows(by_source, rows.assign(source=sources)) if by_source else ()
        training = {
            **_provenance(config, store),
            "metrics": json.loads((inputs.run / CHECKPOINT_METRICS).read_text(encoding="utf-8")),
            "parity_max_abs_difference": round(difference, 8),
            "map_method": str(method),
        }
        neutral = _seal_neutral(directory, config, training)

        def score(held_out_media: HeldOut) -> list[Judged]:
            if config.frozen:
                return score_heads(held_out_media, store, neutral.spec, progress)
            return score_networks(held_out_media, directory, progress)

        judged, by_known = score(by_people), []
        if by_sources:
            # What varies from one source to the next is what a new one may do.
            by_known = judged
            judged = [({**row, "group": row["source"]}, v) for row, v in score(by_sources)]
        samples = _samples(store, config) if config.frozen else None
        runs = (len(measured), len(by_source)) if inputs.cross_validation else None
        scored = _Scored(judged, inputs.even_if_useless, samples, by_known, runs)
        _conclude(neutral, scored, config, inputs.run / HELD_OUT_REPORT)
    return load_bundle(out)


def export_given(
    path: Path,
    manifests: Sequence[Manifest],
    out: Path,
    config: Config,
    *,
    even_if_useless: bool = False,
    progress: Callable[[int, int], None] = no_progress,
) -> Bundle:
    """Make the bundle ``out`` of the ONNX file ``path`` of a network that was trained elsewhere,
    as ``config.graph`` describes it.

    All media of the manifests are scored by it through the serving path; calibrations, thresholds,
    rates and card come of them as in ``export``. Beside ``out``, a folder with ``-held-out`` at the
    end of its name has the evaluation. ``TrainingError`` if either exists, the file cannot be a
    classifier or gives other values in the bundle, or the media do not allow a calibration.
    """
    out = check_destination(out)
    report = check_destination(out.with_name(f"{out.name}-held-out"))
    assert config.graph  # see load_config
    given = GivenGraph.read(path, config.graph, config.bundle.input)
    listing = read_manifests(manifests, excluded=config.excluded_datasets)
    rows = rows_of_given(listing, config)
    used = {"excluded_datasets", "cross_validation", "graph", "bundle", "card"}
    training: dict[str, Any] = {
        "config": config.model_dump(mode="json", include=used),
        "manifests": listing.sources,
        "train": {},
        "held_out": _counts(rows),
        "versions": _versions("onnx", "onnxruntime"),
        "origin": config.graph.origin,
        "onnx_sha256": given.sha256,
        "map_method": None,
    }
    with _made_at(out) as directory:
        given.write(directory)
        crops = crops_of(rows, config, PARITY_CROPS)
        training["parity_max_abs_difference"] = round(given.parity(directory, crops), 8)
        neutral = _seal_neutral(directory, config, training)
        judged: list[Judged] = []
        for one in score_served(directory, rows, config.bundle.sampling.min_frames):
            judged.append(one)
            progress(len(judged), len(rows))
        evaluation = directory.parent / HELD_OUT_REPORT
        _conclude(neutral, _Scored(judged, even_if_useless, crops), config, evaluation)
        evaluation.rename(report)
    return load_bundle(out)


@contextmanager
def _made_at(out: Path) -> Iterator[Path]:
    """Yield a folder with the face detector's graphs, and at the end move it to ``out``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".bundle-") as scratch:
        directory = Path(scratch) / "bundle"
        directory.mkdir()
        for name in GRAPHS:
            if name != CLASSIFIER:  # the face detector that cut the crops
                shutil.copy(default_bundle_dir() / name, directory / name)
        yield directory
        check_destination(out)
        directory.rename(out)


def _conclude(neutral: Bundle, scored: _Scored, config: Config, report: Path) -> None:
    """Fit calibrations and thresholds on the media that a ``neutral`` bundle has scored, measure it
    with them, and seal it with rates, card and tables. The folder ``report`` gets the evaluation.
    """
    directory, training = neutral.directory, neutral.spec.training
    judged, apart = _without(scored.judged, config.cross_validation.apart)
    faces = face_table(judged, neutral.spec)
    calibration, thresholds = fit_levels(
        faces, neutral.spec, config.bundle, even_if_useless=scored.even_if_useless
    )
    fitted = {"calibration": calibration, "thresholds": thresholds}
    table = reliability.reliability_table(
        faces[faces["main"] | (faces["label"] == "real")],
        neutral.spec.model_copy(update=fitted),
    )
    _write_json(directory / "reliability.json", table)
    fields = _fields(config, calibration, thresholds, training)
    fields["conditions"] = reliability.conditions(table["by_condition"]).model_dump()
    fields["unseen"] = "sources" if scored.by_known else "people"
    if config.graph:
        fields["unseen"] = "unknown"
    if scored.samples is not None:
        fields["logit_noise"] = graphs.logit_noise(directory, scored.samples)
    bundle = seal(directory, fields)
    measures, items = _measure(judged, bundle, report, config)
    min_groups = bundle.spec.conditions.min_groups
    table |= reliability.media_tables(items, min_groups)
    if scored.by_known:
        known = _items(_without(scored.by_known, config.cross_validation.apart)[0], bundle)
        table["known_sources"] = reliability.media_tables(known, min_groups)
        table["by_group"] = reliability.group_table(items)
    _write_json(directory / "reliability.json", table)
    spread = reliability.histograms(items, calibration, min_groups)
    if spread is not None:
        fields["histograms"] = spread.model_dump()
    outcomes = Outcomes.of(judged, apart, bundle.spec, config)
    card = model_card(config, fields, table, crossed=scored.crossed, outcomes=outcomes)
    card = marked_card(card, unfit(bundle.spec))
    (directory / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    for name, rows in long_tables(training, measures).items():
        rows.to_csv(directory / name, index=False, float_format="%.4g")
    seal(directory, fields)


def check_destination(out: Path) -> Path:
    """Return the absolute path of ``out``, where a bundle is to be written; ``TrainingError`` if
    there is something already."""
    if out.exists():
        raise TrainingError(f"{out}: This already exists. Name another folder, or delete it.")
    return out.resolve()


def check_exportable(config: Config) -> None:
    """Check that runs of ``config`` have a graph; ``ConfigError`` if heads must be fitted first."""
    if config.backbone.blocks and not config.frozen:
        raise ConfigError(
            "backbone.blocks: A network that learns with a head for each block is not exported. "
            "Fit heads on it, with its folder as backbone.learnt."
        )


def _check_prepared(rows: pd.DataFrame, store: CropStore) -> None:
    """Check that the manifests describe media as they did when ``store`` was prepared: another fold
    or group would have a run measured on people that it saw."""
    columns = ["label", "method", "dataset", "group", "fold"]
    then = store.index.drop_duplicates("media").set_index("media")[columns]
    now = rows.set_index("media")[columns]
    both = then.index.intersection(now.index)
    differ = (then.loc[both] != now.loc[both]).any(axis=1)
    if differ.any():
        raise TrainingError(
            f"{differ.idxmax()}: The manifests have changed since the crops were prepared. Run "
            "deepfake-train prepare again, then fit in other folders."
        )


def _export_classifier(
    directory: Path, weights: dict[str, Any], config: Config, store: CropStore
) -> tuple[float, MapMethod]:
    """Write the classifier's graphs into ``directory``; return the largest difference of logits,
    and the meaning of the map."""
    samples = _samples(store, config)
    if config.frozen:
        heads = heads_of(weights)
        graph = FeatureStore(store, config).graph()
        graphs.write_heads(directory, onnx.load(str(graph)), heads, config)
        return graphs.heads_parity(directory, graph, heads, samples), MapMethod.DIRECT_EFFECT
    network = graphs.write_network(directory, weights, config.backbone, config.bundle.input)
    return graphs.network_parity(network, directory, samples), network.map_method


def _list_fitted(directory: Path, store: CropStore, config: Config) -> None:
    """Write ``fitted.json``: digests of the media that the weights may have been fitted on, of the
    network and of its heads."""
    fitted = splits.trained_on(store.index, config) | splits.taught(store.index, config)
    index = store.index[fitted].drop_duplicates("media")
    media = (
        (recorded(store.root, media)["sha256"], Path(path))
        for media, path in zip(index["media"], index["path"], strict=True)
    )
    with closing(ProcessDecoder(workers=1)) as decoder:
        write_fitted(directory, media, decoder)


def _without(judged: Sequence[Judged], methods: Sequence[str]) -> tuple[list[Judged], list[Judged]]:
    """Return the media of all other methods, and those of ``methods``."""
    rest = [(row, verdict) for row, verdict in judged if row["method"] not in methods]
    return rest, [(row, verdict) for row, verdict in judged if row["method"] in methods]


def _samples(store: CropStore, config: Config) -> NDArray[np.uint8]:
    """Return some crops of the store, as the classifier sees them."""
    rows = np.linspace(0, len(store.index) - 1, min(PARITY_CROPS, len(store.index))).astype(int)
    return np.stack([store.centred(int(r), config.bundle.crop) for r in np.unique(rows)])


def _predictions(judged: Sequence[Judged], bundle: Bundle) -> tuple[pd.DataFrame, list[Row]]:
    """Judge the held-out media under the fitted calibration; return the table of an evaluation, and
    its rows of the manifest."""
    criteria = Criteria.of(bundle.spec)
    labelled = []
    for row, verdict in judged:
        again = judge_again(verdict, criteria)
        record = {
            "faces": face_records(again, bundle.spec),
            "item": item_record(again, bundle.spec),
        }
        labels = {c: row[c] for c in LABELS}
        labelled.append((Row(**labels, split="held out"), record))
    return assemble(labelled, bundle.spec.prior), [row for row, _ in labelled]


def _items(judged: Sequence[Judged], bundle: Bundle) -> pd.DataFrame:
    predictions, _ = _predictions(judged, bundle)
    return predictions[predictions["level"] == "item"]


def _measure(
    judged: Sequence[Judged], bundle: Bundle, out: Path, config: Config
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Judge the held-out media under the fitted calibration and report them as an evaluation;
    return its figures, and a table with one row per item.

    Writes ``predictions.parquet``, ``metrics.json`` and ``report.html`` into ``out``.
    """
    out.mkdir(parents=True, exist_ok=True)
    predictions, rows = _predictions(judged, bundle)
    source = LoadedDataset("manifest", {}, Rows(Path(), tuple(rows)))
    frames = config.prepare.frames if config.frozen else config.bundle.sampling.min_frames
    settings = {
        "frames": frames,
        "split": "held out",
        "draws": BOOTSTRAP_DRAWS,
        "datasets": [source.facts()],
    }
    metrics = summarise(predictions, Subject.of_bundle(bundle), settings=settings)
    write_results(out, predictions, metrics)
    return metrics, predictions[predictions["level"] == "item"]


def _seal_neutral(directory: Path, config: Config, training: dict[str, Any]) -> Bundle:
    """Seal a bundle that scores but does not decide, for the held-out predictions."""
    one = spec.Calibration(slope=1.0, intercept=0.0, limit=6.0, samples=0, groups=0)
    never = spec.LevelThresholds(
        likely_manipulated=6.0,
        no_manipulation_found=-6.0,
        false_positive_rate=0.0,
        false_positive_rate_upper=1.0,
        true_positive_rate=0.0,
        miss_rate=0.0,
    )
    _write_json(directory / "reliability.json", {})
    (directory / "MODEL_CARD.md").write_text("Not calibrated.\n", encoding="utf-8")
    calibration = spec.LevelCalibrations(face=one, track=one, item=one)
    thresholds = spec.Thresholds(face=never, track=never, item=never)
    return seal(directory, _fields(config, calibration, thresholds, training))


def _fields(
    config: Config,
    calibration: spec.LevelCalibrations,
    thresholds: spec.Thresholds,
    training: dict[str, Any],
) -> dict[str, Any]:
    """Return the fields of ``bundle.json``."""
    named = {"name", "version", "terms"}
    specified = {"sampling", "detector", "crop", "input", "tracks", "aggregation"}
    return {
        **config.bundle.model_dump(include=named | specified),
        "created": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "prior": 0.5,
        "kinds": config.probe.kinds,
        "calibration": calibration.model_dump(),
        "thresholds": thresholds.model_dump(),
        "training": training,
    }


def _provenance(config: Config, store: CropStore) -> dict[str, Any]:
    """Return the config, the data and the library versions that a bundle was made with."""
    index = store.index
    train, held = index[splits.trained_on(index, config)], index[splits.held_out(index, config)]
    taught = index[splits.taught(index, config)]
    return {
        "config": config.model_dump(mode="json"),
        "manifests": json.loads((store.root / MANIFESTS).read_text(encoding="utf-8")),
        "train": _counts(train),
        "held_out": _counts(held),
        **({"taught": _counts(taught)} if len(taught) else {}),
        "versions": _versions("torch", "timm", "onnx", "onnxruntime"),
    }


def _versions(*packages: str) -> dict[str, str]:
    versions = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version(), **versions}


def _counts(index: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return the numbers of crops, media and groups of each data set and label. ``terms`` holds the
    number of media under each of the terms that the manifests give."""
    counts: dict[str, dict[str, Any]] = {}
    for (dataset, label), part in index.groupby(["dataset", "label"], sort=True):
        media = part.drop_duplicates("media")
        counts[f"{dataset} ({label})"] = {
            **({"crops": len(part)} if "crop" in part else {}),
            "media": len(media),
            "groups": int(part["group"].nunique()),
        }
        terms = media[TERMS][media[TERMS] != ""].value_counts()
        if len(terms):
            counts[f"{dataset} ({label})"][TERMS] = {
                str(k): int(v) for k, v in sorted(terms.items(), key=lambda t: (-t[1], t[0]))
            }
    return counts


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
