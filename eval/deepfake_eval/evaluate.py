"""``deepfake-eval run``: score labelled media with a bundle, and write what was measured.

Each scored medium leaves a line in ``records.jsonl``, so that a run goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_eval.analysis.plots import write_plots
from deepfake_eval.analysis.summary import summarise
from deepfake_eval.datasets import Row, Rows, load, parse
from deepfake_eval.errors import RunError
from deepfake_eval.inference.predictions import assemble
from deepfake_eval.inference.runner import RECORDS, Job, Progress, score_all, silent
from deepfake_eval.reporting.report import write_report
from deepfake_models.bundle import Bundle, load_bundle
from deepfake_models.files import atomic_write_text
from deepfake_models.session import Device

PREDICTIONS = "predictions.parquet"
METRICS = "metrics.json"
MISSING = "missing.txt"
REPORT = "report.html"
PLOTS = "plots"


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
    keys = {record_key(bundle, frames, row, root): (row, root) for row, root in labelled}
    records = score_all(
        bundle_dir,
        [Job(key, root / row.media) for key, (row, root) in keys.items()],
        out / RECORDS,
        frames=frames,
        workers=workers,
        device=device,
        progress=report,
    )
    predictions = assemble(((keys[k][0], records[k]) for k in keys), bundle.spec.prior)
    predictions.to_parquet(out / PREDICTIONS)
    missing = [m for s in sources for m in s.rows.missing]
    atomic_write_text(out / MISSING, "".join(f"{m}\n" for m in missing))
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
    atomic_write_text(out / METRICS, json.dumps(metrics, indent=2, ensure_ascii=False) + "\n")
    plots = write_plots(predictions, metrics, out / PLOTS)
    write_report(out / REPORT, metrics, plots)
    return metrics


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
    if len({row.dataset for row, _ in labelled}) == 1:
        return labelled
    # A "001" of one data set is nobody's in another; but both Celeb-DF name the same celebrities.
    return [
        (
            row
            if row.dataset.startswith("Celeb-DF")
            else dataclasses.replace(row, group=f"{row.dataset}/{row.group}"),
            root,
        )
        for row, root in labelled
    ]


def record_key(bundle: Bundle, frames: int | None, row: Row, root: Path, *how: float | str) -> str:
    """By what a medium's record is found again: the bundle, the bytes, ``how`` it was scored."""
    content = [bundle.sha256, frames, *how, row.dataset, row.media, stamp(root / row.media)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def stamp(path: Path) -> list[Any]:
    """What tells a medium from another of the same name: sizes and times of its files."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return [[f.name, (found := f.stat()).st_size, found.st_mtime_ns] for f in files]
    except OSError:
        return []


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
