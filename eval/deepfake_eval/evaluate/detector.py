"""``deepfake-eval detector``: measure detectors that are not bundles."""

from __future__ import annotations

import hashlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from deepfake_eval.analysis.in_sample import is_fitted
from deepfake_eval.analysis.summary import summarise
from deepfake_eval.datasets import Row, Rows
from deepfake_eval.errors import RunError
from deepfake_eval.evaluate import score_table
from deepfake_eval.evaluate.run import Labelled, LoadedDataset, load_media, record_key
from deepfake_eval.inference import runner
from deepfake_eval.inference.pool import no_progress
from deepfake_eval.installed import Registry
from deepfake_eval.options import DetectorOptions
from deepfake_eval.reporting.report import write_results
from deepfake_eval.reporting.tables import SCORE_COLUMNS, SCORES
from deepfake_models.machine import atomic_write_text

Scores = float | list[float] | None
Detector = Callable[[Path], Scores]
"""Returns a score that is higher for more suspect media, or a list of those of its frames, or
``None`` to abstain. Its argument is a picture, a video, or a folder with the frames of a video."""

DETECTORS: Registry[Detector] = Registry("deepfake.detectors", {}, RunError, callable)
"""The detectors of installed packages, by name."""


def measure_table(
    path: Path,
    out: Path,
    options: DetectorOptions,
    *,
    settings: dict[str, Any] | None = None,
    grouped: bool = False,
    progress: runner.StageReporter = no_progress,
) -> dict[str, Any]:
    """Measure the scores in the CSV table ``path``, write the results to ``out``, and return the
    content of ``metrics.json``. ``settings`` are further facts of the run; ``grouped`` is as in
    ``score_table.read``.

    Raises:
        RunError: the table is malformed.
    """
    predictions = score_table.read(path, options, grouped=grouped)
    score_table.require_classes(predictions["label"], options)
    items = predictions[predictions["level"] == "item"]
    notes = []
    if not grouped and items["group"].nunique() == len(items):
        notes.append(
            "Each medium is a group of its own. If people recur, intervals are too narrow: name "
            "the people in the column group."
        )
    if options.fitted and not is_fitted(items["fitted"]).any():
        notes.append(
            f"None of these media is in {options.fitted.name}. If some were fitted on, name them "
            f"there as {path.name} does, for example {items['media'].iloc[0]}."
        )
    datasets = [
        LoadedDataset(
            "score-table", {}, Rows(Path(), cast("tuple[Row, ...]", tuple(part.itertuples())))
        ).facts()
        for _, part in items.groupby("dataset")
    ]
    metrics = summarise(
        predictions,
        score_table.subject(path, options),
        settings={
            "frames": None,
            "split": "all",
            "draws": options.draws,
            "datasets": datasets,
            "notes": notes,
            **(settings or {}),
        },
        progress=lambda done, total: progress("measuring", done, total),
    )
    write_results(out, predictions, metrics)
    return metrics


def run_detector(
    detector: str,
    datasets: Sequence[str],
    out: Path,
    options: DetectorOptions,
    *,
    split: str = "test",
    progress: runner.StageReporter = no_progress,
) -> dict[str, Any]:
    """Measure ``detector``, as named for ``load_detector``, on ``datasets``.

    The scores are written to ``scores.csv`` in ``out``. Media that were scored by the same function
    are not scored again, unless the file of its module has changed. The next run retries those on
    which the function raised an exception. A note in the report says how many these are.

    Raises:
        DatasetError: a root does not have the published layout of its data set.
        RunError: there is no such function, it returned something other than a number or ``None``,
            or it failed on every medium.
    """
    score = load_detector(detector)
    made_by = (detector, _source_digest(detector, score))
    score_table.fitted_media(options)  # fail before the long steps
    labelled, facts = load_media(datasets, split, out)
    score_table.require_classes((row.label for row, _ in labelled), options)
    scores, failures = _score_all(score, made_by, labelled, out / runner.RECORDS, progress)
    rows = [
        {
            **asdict(row),
            "kind": "video" * (root / row.media).is_dir(),
            "score": score,
            "frame": frame,
        }
        for (row, root), found in zip(labelled, scores, strict=True)
        for frame, score in (enumerate(found) if isinstance(found, list) else [(None, found)])
    ]
    table = pd.DataFrame(rows).reindex(columns=[*SCORE_COLUMNS, "frame"]).astype({"frame": "Int64"})
    atomic_write_text(out / SCORES, table.to_csv(index=False, lineterminator="\n"))
    for entry in facts:
        failed = [text for name, text in failures if name in entry["names"]]
        if failed:
            entry["notes"].append(
                f"The detector failed on {len(failed)} media, which were not scored; first "
                f"{failed[0]}."
            )
    settings = {"split": split, "datasets": facts}
    options = replace(options, name=options.name or detector)
    return measure_table(
        out / SCORES, out, options, settings=settings, grouped=True, progress=progress
    )


def load_detector(name: str) -> Detector:
    """Import the function ``name``: that of an installed package, or ``MODULE:FUNCTION``, also from
    the working directory.

    Raises:
        RunError: the name is malformed, or there is no such module or function.
    """
    if name in DETECTORS:
        return DETECTORS[name]
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    try:
        function = pkgutil.resolve_name(name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunError(
            f"There is no function {name!r}: {error}. Name it MODULE:FUNCTION, and run in the "
            f"folder of the module, or name one of a package ({', '.join(DETECTORS) or 'none'} "
            "installed)."
        ) from error
    if not callable(function):
        raise RunError(f"{name} is not a function. Name one as MODULE:FUNCTION.")
    detector: Detector = function
    return detector


def _source_digest(name: str, detector: Detector) -> str:
    """Return the SHA-256 of the file of a loaded detector's module; empty for one without a file.

    Whatever else the detector reads, such as weights or further modules, is not seen.
    """
    module = sys.modules.get(name.partition(":")[0]) or inspect.getmodule(detector)
    source = getattr(module, "__file__", None)
    try:
        return hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    except OSError:
        return ""


def _score_all(
    score: Detector,
    made_by: tuple[str, str],
    labelled: Labelled,
    path: Path,
    progress: runner.StageReporter,
) -> tuple[list[Scores], list[tuple[str, str]]]:
    """Return the score of each medium, and the failures: each with its data set and a description.

    New scores are appended to the records in ``path``. Descriptions have no message of an error,
    which may contain paths.
    """
    records, name = runner.read_records(path), made_by[0]
    keys = [record_key(row, root, *made_by) for row, root in labelled]
    failures: list[tuple[str, str]] = []
    first = ""
    with path.open("a", encoding="utf-8") as file:
        for done, (key, (row, root)) in enumerate(zip(keys, labelled, strict=True)):
            progress("scoring", done, len(keys))
            if key in records:
                continue
            try:
                value = score(root / row.media)
            except Exception as error:  # a researcher's function may raise anything
                failures.append((row.dataset, f"{row.media} ({type(error).__name__})"))
                first = first or f"{row.media}: {type(error).__name__}: {error}"
                if len(failures) == len(keys):
                    raise RunError(
                        f"{name} failed on every medium. Correct it; the first failure is {first}."
                    ) from error
                continue
            record = {"key": key, "item": {"score": _scores(value, name, row.media)}, "faces": []}
            records[key] = record
            runner.append_record(file, record)
    progress("scoring", len(keys), len(keys))
    scores = [records[key]["item"]["score"] if key in records else None for key in keys]
    return scores, failures


def _scores(value: object, name: str, media: str) -> Scores:
    try:
        numbers = np.asarray([] if value is None else value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.asarray(np.nan)
    if numbers.ndim > 1 or not np.isfinite(numbers).all():
        raise RunError(
            f"{name} returned {value!r} for {media}. Return a finite number, a list of them (one "
            "for each frame) or None."
        )
    scores: Scores = numbers.tolist() if numbers.size else None
    return scores
