"""``deepfake-eval run``: score labelled media with a bundle and write the measured figures.

Each scored medium adds a line to ``records.jsonl``, so that an interrupted run can resume.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.analysis.stated import three_lines
from deepfake_eval.analysis.summary import Subject, summarise
from deepfake_eval.datasets import Row, Rows, load, parse
from deepfake_eval.datasets.base import namespace
from deepfake_eval.errors import RunError
from deepfake_eval.inference import runner
from deepfake_eval.inference.corruptions import ORIGINAL, Variant
from deepfake_eval.inference.packages import versions
from deepfake_eval.inference.pool import no_progress
from deepfake_eval.inference.predictions import assemble
from deepfake_eval.options import RunOptions
from deepfake_eval.reporting.report import MISSING, write_results
from deepfake_eval.reporting.tables import SCORES, scores_csv
from deepfake_models.bundle.bundle import Bundle, load_bundle
from deepfake_models.bundle.results import ReasonCode
from deepfake_models.machine import atomic_write_text

Labelled = Sequence[tuple[Row, Path]]
"""Rows, each with the root of its data set."""


@dataclass(frozen=True, slots=True)
class LoadedDataset:
    """The data set and options of one ``--dataset`` argument, and the rows that it found."""

    adapter: str
    options: dict[str, str]
    rows: Rows

    def facts(self) -> dict[str, Any]:
        """Return what results files record: no paths, because reports are passed on."""
        rows = self.rows.rows
        return {
            "adapter": self.adapter,
            "options": self.options,
            "names": sorted({r.dataset for r in rows}),
            "real": sum(r.label == "real" for r in rows),
            "fake": sum(r.label == "fake" for r in rows),
            "groups": len({r.group for r in rows}),
            "missing": len(self.rows.missing),
            "notes": list(self.rows.notes),
        }


def run(
    bundle_dir: Path,
    datasets: Sequence[str],
    out: Path,
    options: RunOptions | None = None,
    *,
    progress: runner.StageReporter = no_progress,
) -> dict[str, Any]:
    """Score ``datasets`` (``NAME[,OPTION=VALUE]:ROOT``) and write the results to ``out``.

    Return the content of ``metrics.json``. Media with a record in ``out`` are not scored again; all
    other files there are replaced.

    Raises:
        BundleError: the bundle is incomplete or altered.
        DatasetError: a root does not have the published layout of its data set.
        RunError: there is nothing to score, or two data sets share the name of a medium.
    """
    options = options or RunOptions()
    bundle = load_bundle(bundle_dir)
    labelled, facts = load_media(datasets, options.split, out)
    predictions = score_variants(bundle, labelled, [ORIGINAL], out, options, progress)[ORIGINAL]
    metrics = summarise(
        predictions,
        Subject.of_bundle(bundle),
        settings={
            "frames": options.frames or None,
            "split": options.split,
            "draws": options.draws,
            "datasets": facts,
            "stated": three_lines(bundle.reliability(), bundle.spec.unseen),
            "notes": list(_few_frames(predictions, bundle, options.frames)),
        },
        progress=lambda done, total: progress("measuring", done, total),
    )
    write_results(out, predictions, metrics)
    atomic_write_text(out / SCORES, scores_csv(predictions))
    return metrics


def _few_frames(predictions: pd.DataFrame, bundle: Bundle, frames: int) -> Iterator[str]:
    """Yield a note if videos were not judged because few of their frames were examined."""
    spec = bundle.spec
    lost = int((predictions["reason"] == ReasonCode.TOO_FEW_FACES).sum())
    if lost and frames and frames < spec.sampling.min_frames:
        yield (
            f"Videos not judged: {lost}. A person must be seen in at least "
            f"{spec.aggregation.min_track_faces} frames, and {frames} of each video were examined. "
            f"Examine more; the service examines at least {spec.sampling.min_frames}."
        )


def score_variants(
    bundle: Bundle,
    labelled: Labelled,
    variants: Sequence[Variant],
    out: Path,
    options: RunOptions,
    progress: runner.StageReporter,
) -> dict[Variant, pd.DataFrame]:
    """Score every medium in every variant; return the predictions of each variant.

    Records in ``out`` are used again if they are of the same bundle, options and file, and were
    made by the same versions of the packages that may change values.
    """
    made_by = (bundle.sha256, options.frames, *sorted(versions().items()))
    keys = {
        variant: [record_key(row, root, *made_by, *astuple(variant)) for row, root in labelled]
        for variant in variants
    }
    jobs = [
        runner.Job(keys[variant][number], root / row.media, variant)
        for number, (row, root) in enumerate(labelled)
        for variant in variants
    ]
    records = runner.score_all(bundle.directory, jobs, out / runner.RECORDS, options, progress)
    return {
        variant: assemble(
            ((row, records[key]) for (row, _), key in zip(labelled, keys[variant], strict=True)),
            bundle.spec.prior,
        )
        for variant in variants
    }


def load_media(
    datasets: Sequence[str], split: str, out: Path
) -> tuple[list[tuple[Row, Path]], list[dict[str, Any]]]:
    """Return the media of ``--dataset`` arguments and the facts of each, and write what is missing
    to the folder ``out``; errors are those of ``load_dataset`` and ``labelled_rows``."""
    loaded = [load_dataset(text, split) for text in datasets]
    labelled = labelled_rows(loaded)
    out.mkdir(parents=True, exist_ok=True)
    missing = [f"{media}\n" for dataset in loaded for media in dataset.rows.missing]
    atomic_write_text(out / MISSING, "".join(missing))
    return labelled, [dataset.facts() for dataset in loaded]


def load_dataset(text: str, split: str) -> LoadedDataset:
    """Load the rows of ``split`` for a ``--dataset`` argument.

    Raises:
        DatasetError: the argument is malformed, or the root does not have the expected layout.
    """
    name, options, root = parse(text)
    rows = load(name, root, split, **options)
    named = {key: value for key, value in options.items() if key != "root"}  # of csv: a path
    return LoadedDataset(Path(name).name, named, rows)


def labelled_rows(datasets: Sequence[LoadedDataset]) -> list[tuple[Row, Path]]:
    """Return the rows of all ``datasets``, each with its root.

    With several data sets, groups are kept apart by the name of their data set, except where
    people are the same (see ``namespace``).

    Raises:
        RunError: there are no rows, a data set lists a medium twice, or two data sets share the
            name of a medium.
    """
    labelled = [(row, dataset.rows.root) for dataset in datasets for row in dataset.rows.rows]
    if not labelled:
        raise RunError(_nothing_to_score(datasets))
    listed_by: dict[tuple[str, str], LoadedDataset] = {}
    for dataset in datasets:
        for row in dataset.rows.rows:
            first = listed_by.get((row.dataset, row.media))
            if first is dataset:
                raise RunError(f"{row.dataset} lists {row.media} twice. List each medium once.")
            if first is not None:
                raise RunError(
                    f"Two data sets named {row.dataset} have a medium of the same name. Give one "
                    "of them another title (folders,title=NAME:ROOT)."
                )
            listed_by[row.dataset, row.media] = dataset
    if len({row.dataset for row, _ in labelled}) == 1:
        return labelled
    return [
        (replace(row, group=namespace(row.dataset) + row.group), root) for row, root in labelled
    ]


def _nothing_to_score(datasets: Sequence[LoadedDataset]) -> str:
    missing = [d.rows.root / media for d in datasets for media in d.rows.missing]
    text = "There is nothing to score in this split."
    if missing:
        text += f" {len(missing)} listed media are absent, for example {missing[0]}."
    text += "".join(f" {note}" for dataset in datasets for note in dataset.rows.notes)
    return text + " `deepfake-eval datasets NAME:ROOT` counts the media of every split."


def record_key(row: Row, root: Path, *made_by: object) -> str:
    """Return the key of a medium's record.

    It depends on the row's data set and file, and on ``made_by``: whatever else changes the result,
    such as the SHA-256 of the bundle, the number of frames, or a degradation.
    """
    content = [*made_by, row.dataset, row.media, file_stamps(root / row.media)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def file_stamps(path: Path) -> list[Any]:
    """Return name, size in bytes and modification time in ns of a file, or of a folder's files.

    They tell a replaced medium from the one that was scored. The list is empty for a path that
    cannot be read.
    """
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [[f.name, (stat := f.stat()).st_size, stat.st_mtime_ns] for f in files]
    except OSError:
        return []
