"""Run a bench and write its results."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake_eval.bench import machine, memory, queueing, scaling
from deepfake_eval.bench.load import LoadBench
from deepfake_eval.bench.plan import DEFAULT, QUICK
from deepfake_eval.bench.report import draw, tables
from deepfake_eval.bench.videos import VideoBench
from deepfake_eval.errors import EvalError
from deepfake_models.bundle import load_bundle
from deepfake_models.files import atomic_write_text

RESULTS, TABLES, PLOT = "bench.json", "bench.md", "bench.svg"
SECTIONS = ("videos", "pictures", "mixed", "jobs", "scaling", "queueing", "memory", "start")


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """Options of a bench."""

    quick: bool = False
    sections: tuple[str, ...] = SECTIONS
    baseline_python: Path = Path(sys.executable)
    """Interpreter of an environment in which the naive loop runs."""


def bench(
    bundle_dir: Path, out: Path, options: BenchOptions, report: Callable[[str], None]
) -> dict[str, Any]:
    """Measure, write ``bench.json``, ``bench.md`` and ``bench.svg`` to ``out``, and return the
    results. ``report`` is called with what is measured next.

    The files are written after each section, so that an error in a later one loses nothing.

    Raises:
        EvalError: the service or a generated video cannot be used.
    """
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        raise EvalError(f"no section is named {unknown[0]}; there are {', '.join(SECTIONS)}")
    plan = QUICK if options.quick else DEFAULT
    bundle = load_bundle(bundle_dir)
    results: dict[str, Any] = {
        "format_version": 1,
        "machine": machine.describe(),
        "model": bundle.model_json(),
        "quick": options.quick,
        "rounds": plan.rounds,
        "load_before": machine.load(),
    }
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="deepfake-bench-") as name:
        folder = Path(name)
        videos = VideoBench(bundle, options.baseline_python, folder, plan.rounds, report)
        load = LoadBench(bundle, folder, plan, report)
        measures: dict[str, Callable[[], Any]] = {
            "videos": lambda: videos.run(plan.videos),
            "pictures": load.pictures,
            "mixed": load.mixed,
            "jobs": load.jobs,
            "scaling": lambda: scaling.compare(bundle, folder, plan, report),
            "queueing": lambda: queueing.check(bundle, folder, plan, report),
            "memory": lambda: memory.peaks(plan, folder, bundle.directory),
            "start": load.starts,
        }
        for section in options.sections:
            report(section)
            results[section] = measures[section]()
            results["load_after"] = machine.load()
            results["seconds"] = time.monotonic() - began
            _write(results, out)
    return results


def _write(results: dict[str, Any], out: Path) -> None:
    text = json.dumps(results, indent=2, ensure_ascii=False)
    for file, content in ((RESULTS, text), (TABLES, tables(results)), (PLOT, draw(results))):
        atomic_write_text(out / file, content)
