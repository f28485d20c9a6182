"""Score many media in one or several processes, and record the results so that a run can resume."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from deepfake_eval.errors import RunError
from deepfake_eval.inference.corruptions import ORIGINAL, Variant
from deepfake_eval.inference.fitted_media import FittedMedia
from deepfake_eval.inference.pool import no_progress, run_tasks
from deepfake_eval.inference.predictions import examine, face_records, item_record
from deepfake_eval.options import RunOptions
from deepfake_models.bundle.results import ReasonCode
from deepfake_models.machine import usable_cores
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer

RECORDS = "records.jsonl"
"""A line of JSON for each scored medium, from which an interrupted run resumes."""

SCORED: Mapping[str, type] = {"item": dict, "faces": list}
"""The fields of the record of a scored medium."""

RETRIED = frozenset({ReasonCode.UNREADABLE, ReasonCode.DECODER_FAILED})
"""Reasons that may be a failure of the machine: a later run tries these media again."""

StageReporter = Callable[[str, int, int], None]
"""Called with the name of the current stage, the number of finished parts, and their total."""


@dataclass(frozen=True, slots=True)
class Job:
    """One medium to score, the degradation to apply first, and the key of its record."""

    key: str
    path: Path
    variant: Variant = ORIGINAL


def score_all(
    bundle_dir: Path,
    jobs: Sequence[Job],
    records_path: Path,
    options: RunOptions,
    progress: StageReporter = no_progress,
) -> dict[str, dict[str, Any]]:
    """Score the ``jobs`` that have no record in ``records_path`` yet; return all records by key.

    Each new record is appended to the file as soon as its medium is scored.

    ``RunError`` if a line of the file is not a record, or a worker process ended unexpectedly.
    """
    records = read_records(records_path)
    known = {key for key, record in records.items() if record["item"]["reason"] not in RETRIED}
    pending = [job for job in jobs if job.key not in known]
    done = len(jobs) - len(pending)
    progress("scoring", done, len(jobs))
    workers = options.workers if options.workers > 1 else 0
    start = partial(_Worker, bundle_dir, options, threads=max(1, usable_cores() // options.workers))
    with records_path.open("a", encoding="utf-8") as file:
        for record in run_tasks(_Worker.score, pending, workers, start):
            records[record["key"]] = record
            append_record(file, record)
            done += 1
            progress("scoring", done, len(jobs))
    return records


class _Worker:
    def __init__(self, bundle_dir: Path, options: RunOptions, *, threads: int) -> None:
        # The sandboxed decoder: a file that crashes FFmpeg fails alone and does not end the run.
        self._decoder = ProcessDecoder(workers=1)
        self._scorer = Scorer.open(bundle_dir, decoder=self._decoder, threads=threads)
        self._options = options
        self._fitted = FittedMedia.of(self._scorer.bundle)

    def score(self, job: Job) -> dict[str, Any]:
        verdict = examine(
            self._scorer,
            job.path,
            self._decoder,
            frames=self._options.frames or None,
            variant=job.variant,
        )
        spec = self._scorer.bundle.spec
        fitted = None
        if self._fitted and job.variant == ORIGINAL:
            fitted = self._fitted.find(job.path, self._decoder)
        return {
            "key": job.key,
            "item": {**item_record(verdict, spec), "fitted": fitted},
            "faces": face_records(verdict, spec),
        }


def append_record(file: TextIO, record: Mapping[str, Any]) -> None:
    """Write a record, which has the field ``key``, as soon as it is known."""
    file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
    file.flush()


def read_records(path: Path) -> dict[str, dict[str, Any]]:
    """Return the records of earlier runs by key; none if there is no file.

    A run that was killed may leave an incomplete last line; it is removed from the file.

    Raises:
        RunError: any other line is not a record with the fields of ``SCORED``.
    """
    if not path.exists():
        return {}
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    records = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            record = json.loads(line)
            if not all(isinstance(record[name], kind) for name, kind in SCORED.items()):
                raise TypeError
            records[record["key"]] = record
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{path.name}, line {number} is not a record. Delete the file to score all media "
                "again."
            ) from error
    return records
