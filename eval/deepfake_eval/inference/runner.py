"""Score many media in one or several processes or on a cluster, and record the results so that a
run can resume."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepfake_eval.errors import RunError
from deepfake_eval.inference import cluster
from deepfake_eval.inference.corruptions import ORIGINAL, Variant
from deepfake_eval.inference.pool import Processes, run_tasks
from deepfake_eval.inference.predictions import examine, face_records, item_record
from deepfake_eval.inference.records import append_record, read_records
from deepfake_models.bundle.bundle import load_bundle
from deepfake_models.bundle.results import ReasonCode
from deepfake_models.bundle.session import Device
from deepfake_models.machine import usable_cores
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Scorer

RECORDS = "records.jsonl"
_log = logging.getLogger(__name__)

RETRIED = frozenset({ReasonCode.UNREADABLE, ReasonCode.DECODER_FAILED})
"""Reasons that may be a failure of the machine: a later run tries these media again."""

StageReporter = Callable[[str, int, int], None]
"""Called with the name of the current stage, the number of finished parts, and their total."""


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """Ignore a progress report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringOptions:
    """How media are scored.

    ``frames`` evenly spread frames of each video are examined, 32 by default as in most papers;
    ``None`` lets the bundle choose the frames, as the service does. ``workers`` processes share the
    media; with ``scheduler``, the address of a Dask scheduler, its workers do. ``seed`` is the seed
    of added noise.
    """

    frames: int | None = 32
    workers: int = 1
    device: Device = "auto"
    seed: int = 0
    scheduler: str | None = None


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
    options: ScoringOptions,
    progress: StageReporter = no_progress,
) -> dict[str, dict[str, Any]]:
    """Score the ``jobs`` that have no record in ``records_path`` yet; return all records by key.

    Each new record is appended to the file as soon as its medium is scored. A warning is logged if
    the others were made by other versions of this program or of packages that may change values.

    Raises:
        RunError: a line of the file is not a record, or a worker process ended unexpectedly.
        ClusterError: the cluster cannot be used; see ``cluster``.
    """
    records = read_records(records_path)
    pending = [j for j in jobs if _is_pending(records.get(j.key))]
    made_by = cluster.versions()
    again = {j.key for j in pending}
    _compare_versions([records[j.key] for j in jobs if j.key not in again], made_by, records_path)
    done = len(jobs) - len(pending)
    progress("scoring", done, len(jobs))
    with records_path.open("a", encoding="utf-8") as file:
        for scored in _score(bundle_dir, pending, options):
            record = {**scored, "versions": made_by}
            records[record["key"]] = record
            append_record(file, record)
            done += 1
            progress("scoring", done, len(jobs))
    return records


def _compare_versions(
    records: Sequence[dict[str, Any]], made_by: dict[str, str], path: Path
) -> None:
    others = [r.get("versions") for r in records if r.get("versions") != made_by]
    if not others:
        return
    found = next((o for o in others if o), None)
    if found is None:
        differ = "versions that are not recorded"
    else:
        names = sorted(n for n in found.keys() | made_by.keys() if found.get(n) != made_by.get(n))
        differ = ", ".join(
            f"{name} {found.get(name, '(not installed)')} instead of "
            f"{made_by.get(name, '(not installed)')}"
            for name in names
        )
    _log.warning(
        "%d of the media were scored by an earlier run with %s; values may differ. Delete %s to "
        "score all media again.",
        len(others),
        differ,
        path,
    )


def _is_pending(record: dict[str, Any] | None) -> bool:
    return record is None or record["item"]["reason"] in RETRIED


def _score(
    bundle_dir: Path, jobs: Sequence[Job], options: ScoringOptions
) -> Iterator[dict[str, Any]]:
    """Score ``jobs`` and yield a record for each, in the order in which they finish."""
    if not jobs:
        return
    if options.scheduler is not None:
        yield from _score_on_cluster(bundle_dir, jobs, options, options.scheduler)
        return
    if options.workers == 1:
        worker = _Worker(bundle_dir, options, threads=0)
        try:
            yield from map(worker, jobs)
        finally:
            worker.close()
        return
    threads = max(1, usable_cores() // options.workers)
    processes = Processes(options.workers, _start, (bundle_dir, options, threads))
    yield from run_tasks(_work, jobs, processes, name=lambda job: str(job.path), error=RunError)


def _score_on_cluster(
    bundle_dir: Path, jobs: Sequence[Job], options: ScoringOptions, scheduler: str
) -> Iterator[dict[str, Any]]:
    setting = _Setting(
        bundle_dir.resolve(),
        load_bundle(bundle_dir).sha256,
        ScoringOptions(frames=options.frames, device=options.device, seed=options.seed),
        tuple(cluster.versions().items()),
    )
    tasks = ((setting, replace(job, path=job.path.resolve())) for job in jobs)
    with cluster.connected(scheduler) as workers:
        yield from workers.map(_work_on_cluster, tasks)


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a worker of a cluster must have in common with the machine that collects the records."""

    bundle_dir: Path
    bundle_sha256: str
    options: ScoringOptions
    versions: tuple[tuple[str, str], ...]


class _Worker:
    """The scorer and decoder of one process."""

    def __init__(self, bundle_dir: Path, options: ScoringOptions, *, threads: int) -> None:
        # The sandboxed decoder: a file that crashes FFmpeg fails alone and does not end the run.
        self._decoder = ProcessDecoder(workers=1)
        self._scorer = Scorer.open(
            bundle_dir, decoder=self._decoder, device=options.device, threads=threads
        )
        self._options = options

    def __call__(self, job: Job) -> dict[str, Any]:
        verdict = examine(
            self._scorer,
            job.path,
            self._decoder,
            frames=self._options.frames,
            variant=job.variant,
            seed=self._options.seed,
        )
        spec = self._scorer.bundle.spec
        return {
            "key": job.key,
            "item": item_record(verdict, spec),
            "faces": face_records(verdict, spec),
        }

    def close(self) -> None:
        self._decoder.close()


_worker: _Worker | None = None


def _start(bundle_dir: Path, options: ScoringOptions, threads: int) -> None:
    global _worker  # one scorer for each worker process
    _worker = _Worker(bundle_dir, options, threads=threads)


def _work(job: Job) -> dict[str, Any]:
    assert _worker is not None
    return _worker(job)


@dataclass(slots=True)
class _Lent:
    """A worker of this process, and how many threads are using it."""

    worker: _Worker
    users: int = 0


_lent: dict[_Setting, _Lent] = {}
"""Workers in the order in which they were opened. Only the last one stays open without a user."""
_lending = threading.Lock()


def _work_on_cluster(task: tuple[_Setting, Job]) -> dict[str, Any]:
    """Score a medium in a process that outlives this run, and may have worked for another."""
    setting, job = task
    with borrowed(setting) as worker:
        cluster.require_shared(job.path)
        return worker(job)


@contextmanager
def borrowed(setting: _Setting) -> Iterator[_Worker]:
    """Return the worker of a ``setting``, which is opened if this process has none.

    A process of a cluster may have several threads: one may be examining a medium with the worker
    of another setting, which is closed when the last of them is done.
    """
    with _lending:
        lent = _lent.get(setting)
        if lent is None:
            _check(setting)
            _close_unused(list(_lent))
            lent = _lent[setting] = _Lent(_Worker(setting.bundle_dir, setting.options, threads=0))
        lent.users += 1
    try:
        yield lent.worker
    finally:
        with _lending:
            lent.users -= 1
            _close_unused(list(_lent)[:-1])


def _close_unused(settings: Iterable[_Setting]) -> None:
    for setting in settings:
        if not _lent[setting].users:
            _lent.pop(setting).worker.close()


def _check(setting: _Setting) -> None:
    """Check that this machine has what the one that collects the records has.

    Raises:
        ClusterError: it has other versions, does not see the bundle, or sees another one.
    """
    cluster.check_versions(dict(setting.versions))
    cluster.require_shared(setting.bundle_dir)
    if load_bundle(setting.bundle_dir).sha256 != setting.bundle_sha256:
        raise cluster.ClusterError(
            f"A worker has another bundle in {setting.bundle_dir} than this machine."
        )
