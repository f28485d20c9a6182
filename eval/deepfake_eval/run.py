"""``deepfake-eval run``: score labelled media with a bundle, and write what was measured.

Each scored medium leaves a line in ``records.jsonl``, so that a run goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from deepfake_eval.datasets import Row, Rows, load, parse
from deepfake_eval.errors import RunError
from deepfake_eval.files import write_text
from deepfake_eval.plots import write_plots
from deepfake_eval.predictions import examine, face_records, frame_records, item_record
from deepfake_eval.report import write_report
from deepfake_eval.sequences import FrameFolderDecoder
from deepfake_eval.summary import summarise
from deepfake_models.bundle import Bundle, load_bundle
from deepfake_models.decoding import ProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_models.session import Device
from deepfake_models.verdict import ReasonCode

RECORDS = "records.jsonl"
PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
MISSING = "missing.txt"
REPORT = "report.html"
PLOTS = "plots"

RETRIED = frozenset({ReasonCode.UNREADABLE, ReasonCode.DECODER_FAILED})
"""Failures of the machine rather than of the medium: a later run tries these media again."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""


@dataclass(frozen=True, slots=True)
class Job:
    """One medium to score, and the key of its record."""

    key: str
    path: Path


@dataclass(frozen=True, slots=True)
class Source:
    """One ``--dataset`` argument and what its adapter found."""

    adapter: str
    options: dict[str, str]
    rows: Rows


def run(
    bundle_dir: Path,
    datasets: Sequence[str],
    out: Path,
    *,
    split: str = "test",
    frames: int | None = 32,
    workers: int = 1,
    draws: int = 1000,
    device: Device = "auto",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score the rows of ``datasets`` (``NAME[,OPTION=VALUE]:ROOT``) and write the results to
    ``out``; return the content of ``metrics.json``.

    ``frames`` evenly spread frames of each video are examined, by default 32 as in most papers;
    ``None`` leaves the sampling to the bundle, as the service does. ``workers`` processes share
    the media. Everything in ``out`` but ``records.jsonl`` is written anew.

    Raises:
        BundleError: the bundle is incomplete or altered.
        DatasetError: a root is laid out otherwise than its data set is published.
        RunError: there is nothing to score, or two data sets share a medium's name.
    """
    report = progress or silent
    bundle = load_bundle(bundle_dir)
    sources = [source_of(text, split) for text in datasets]
    labelled = unique(sources)
    out.mkdir(parents=True, exist_ok=True)
    keys = {_key(bundle, frames, row): (row, root) for row, root in labelled}
    records = read_records(out / RECORDS)
    todo = [
        Job(key, root / row.media)
        for key, (row, root) in keys.items()
        if key not in records or records[key]["item"]["reason"] in RETRIED
    ]
    done = len(keys) - len(todo)
    report("scoring", done, len(keys))
    with (out / RECORDS).open("a", encoding="utf-8") as file:
        for record in score(bundle_dir, todo, frames=frames, workers=workers, device=device):
            records[record["key"]] = record
            file.write(json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n")
            file.flush()
            done += 1
            report("scoring", done, len(keys))
    predictions = assemble(((keys[k][0], records[k]) for k in keys), bundle.spec.prior)
    predictions.to_parquet(out / PREDICTIONS)
    missing = [m for s in sources for m in s.rows.missing]
    write_text(out / MISSING, "".join(f"{m}\n" for m in missing))
    metrics = summarise(
        predictions,
        bundle,
        settings={
            "frames": frames,
            "split": split,
            "draws": draws,
            "datasets": [stated(s) for s in sources],
        },
        progress=lambda done, total: report("measuring", done, total),
    )
    write_text(out / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    plots = write_plots(predictions, metrics, out / PLOTS)
    write_report(out / REPORT, metrics, plots)
    return metrics


def score(
    bundle_dir: Path,
    jobs: Sequence[Job],
    *,
    frames: int | None,
    workers: int,
    device: Device = "auto",
) -> Iterator[dict[str, Any]]:
    """Score ``jobs`` and yield a record each, in the order in which they are done."""
    if not jobs:
        return
    if workers == 1:
        worker = _Worker(bundle_dir, frames, device, threads=0)
        try:
            yield from map(worker, jobs)
        finally:
            worker.close()
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    # Forking a process that holds onnxruntime's threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        workers, context, initializer=_start, initargs=(bundle_dir, frames, device, threads)
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

    def __init__(
        self, bundle_dir: Path, frames: int | None, device: Device, *, threads: int
    ) -> None:
        # Behind a process boundary: a file that crashes FFmpeg costs itself, not the run.
        self._decoder = FrameFolderDecoder(ProcessDecoder(workers=1))
        self._scorer = Scorer.open(
            bundle_dir, decoder=self._decoder, device=device, threads=threads
        )
        self._frames = frames

    def __call__(self, job: Job) -> dict[str, Any]:
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


def _start(bundle_dir: Path, frames: int | None, device: Device, threads: int) -> None:
    global _worker  # one scorer a worker process
    _worker = _Worker(bundle_dir, frames, device, threads=threads)


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


def assemble(labelled: Iterable[tuple[Row, dict[str, Any]]], prior: float) -> pd.DataFrame:
    """One table of all levels; ``level`` is ``face``, ``frame`` or ``item``.

    Values of what was not judged are NaN; an attribute of the subject is ``attribute_<name>``.
    """
    lines: list[dict[str, Any]] = []
    for row, record in labelled:
        labels = {k: v for k, v in dataclasses.asdict(row).items() if k != "attributes"}
        labels |= {f"attribute_{k}": v for k, v in row.attributes}
        labels["kind"] = record["item"]["kind"]
        lines += [{"level": "face", **labels, **f} for f in record["faces"]]
        found = frame_records(record["faces"], prior)
        lines += [{"level": "frame", **labels, **f} for f in found]
        lines.append({"level": "item", **labels, **record["item"]})
    table = pd.DataFrame(lines)
    for column in ("rank", "score", "log_likelihood_ratio", "logit", "time_s"):
        table[column] = table.get(column, pd.Series(index=table.index)).astype("float64")
    return table


def silent(_what: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


def source_of(text: str, split: str) -> Source:
    """What the adapter named in a ``--dataset`` argument finds."""
    name, options, root = parse(text)
    return Source(name, options, load(name, root, split, **options))


def unique(sources: Sequence[Source]) -> list[tuple[Row, Path]]:
    """All rows with their roots; raises ``RunError`` where two share a medium's name."""
    labelled = [(row, s.rows.root) for s in sources for row in s.rows.rows]
    if not labelled:
        absent = sum(len(s.rows.missing) for s in sources)
        listed = f"; {absent} media are listed but absent" if absent else ""
        raise RunError(f"there is nothing to score in this split{listed}")
    seen: set[tuple[str, str]] = set()
    for row, _ in labelled:
        if (row.dataset, row.media) in seen:
            raise RunError(
                f"two data sets called {row.dataset} hold a medium of the same name; give one of "
                "them another title (folders,title=NAME:ROOT)"
            )
        seen.add((row.dataset, row.media))
    return labelled


def _key(bundle: Bundle, frames: int | None, row: Row) -> str:
    content = json.dumps([bundle.sha256, frames, row.dataset, row.media])
    return hashlib.sha256(content.encode()).hexdigest()


def stated(source: Source) -> dict[str, Any]:
    """What the results say of a source; no path, since reports are passed on."""
    rows = source.rows.rows
    return {
        "adapter": source.adapter,
        "options": source.options,
        "names": sorted({r.dataset for r in rows}),
        "real": sum(r.label == "real" for r in rows),
        "fake": sum(r.label == "fake" for r in rows),
        "groups": len({r.group for r in rows}),
        "missing": len(source.rows.missing),
        "notes": list(source.rows.notes),
    }
