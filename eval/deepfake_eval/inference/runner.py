"""Scoring many media: processes that share them, and records from which a later run goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_eval.errors import RunError
from deepfake_eval.inference.corruptions import AS_IS, DegradingDecoder, Variant
from deepfake_eval.inference.frame_folders import FrameFolderDecoder
from deepfake_eval.inference.predictions import examine, face_records, item_record
from deepfake_models.decode.decoder import ProcessDecoder
from deepfake_models.results import ReasonCode
from deepfake_models.scorer import Scorer
from deepfake_models.session import Device

RECORDS = "records.jsonl"

RETRIED = frozenset({ReasonCode.UNREADABLE, ReasonCode.DECODER_FAILED})
"""Failures of the machine rather than of the medium: a later run tries these media again."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""


def silent(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True)
class Job:
    """One medium to score, what is done to its frames before, and the key of its record."""

    key: str
    path: Path
    variant: Variant = AS_IS


def score_all(
    bundle_dir: Path,
    jobs: Sequence[Job],
    path: Path,
    *,
    frames: int | None,
    workers: int = 1,
    device: Device = "auto",
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, dict[str, Any]]:
    """The records of all ``jobs`` by key: those in the file ``path``, and new ones added to it.

    ``frames`` evenly spread frames of each video are examined; ``None`` leaves the sampling to the
    bundle. ``workers`` processes share the media. ``seed`` is that of noise.

    Raises:
        RunError: ``path`` holds a line that is not a record, or a worker process ended.
    """
    records = read_records(path)
    todo = [j for j in jobs if _is_open(records.get(j.key))]
    done = len(jobs) - len(todo)
    progress("scoring", done, len(jobs))
    with path.open("a", encoding="utf-8") as file:
        for record in _score(bundle_dir, todo, workers, _Settings(frames, device, seed)):
            records[record["key"]] = record
            file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
            file.flush()
            done += 1
            progress("scoring", done, len(jobs))
    return records


def _is_open(record: dict[str, Any] | None) -> bool:
    return record is None or record["item"]["reason"] in RETRIED


@dataclass(frozen=True, slots=True)
class _Settings:
    frames: int | None
    device: Device
    seed: int


def _score(
    bundle_dir: Path, jobs: Sequence[Job], workers: int, settings: _Settings
) -> Iterator[dict[str, Any]]:
    """Score ``jobs`` and yield a record each, in the order in which they are done."""
    if not jobs:
        return
    if workers == 1:
        worker = _Worker(bundle_dir, settings, threads=0)
        try:
            yield from map(worker, jobs)
        finally:
            worker.close()
        return
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    # Forking a process that holds onnxruntime's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, context, initializer=_start, initargs=(bundle_dir, settings, threads)
    ) as pool:
        queue = iter(jobs)
        running: set[Future[dict[str, Any]]] = set()
        try:
            while True:
                for job in queue:
                    running.add(pool.submit(_work, job))
                    if len(running) >= 2 * workers:
                        break
                if not running:
                    return
                finished, running = wait(running, return_when="FIRST_COMPLETED")
                for future in finished:
                    yield future.result()
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process ended unexpectedly (memory?); what was scored is kept, and the "
                "same command goes on from there"
            ) from error
        finally:
            for future in running:
                future.cancel()


class _Worker:
    """One scorer, for one process."""

    def __init__(self, bundle_dir: Path, settings: _Settings, *, threads: int) -> None:
        # Behind a process boundary: a file that crashes FFmpeg costs itself, not the run.
        inner = FrameFolderDecoder(ProcessDecoder(workers=1))
        self._decoder = DegradingDecoder(inner, seed=settings.seed)
        self._scorer = Scorer.open(
            bundle_dir, decoder=self._decoder, device=settings.device, threads=threads
        )
        self._frames = settings.frames

    def __call__(self, job: Job) -> dict[str, Any]:
        self._decoder.variant = job.variant
        verdict = examine(self._scorer, job.path, self._frames)
        spec = self._scorer.bundle.spec
        return {
            "key": job.key,
            "item": item_record(verdict, spec),
            "faces": face_records(verdict, spec),
        }

    def close(self) -> None:
        self._decoder.close()


_worker: _Worker | None = None


def _start(bundle_dir: Path, settings: _Settings, threads: int) -> None:
    global _worker  # one scorer a worker process
    _worker = _Worker(bundle_dir, settings, threads=threads)


def _work(job: Job) -> dict[str, Any]:
    assert _worker is not None
    return _worker(job)


def read_records(path: Path) -> dict[str, dict[str, Any]]:
    """The records of earlier runs by key. A torn last line, from a run that was killed while
    writing it, is cut off the file.

    Raises:
        RunError: for any other line that is not a record.
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
            records[record["key"]] = {
                "key": record["key"], "item": dict(record["item"]), "faces": list(record["faces"])
            }  # fmt: skip
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{path.name}, line {number}: not a record; remove the file to score anew"
            ) from error
    return records
