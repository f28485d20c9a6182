"""``deepfake-eval bench``: what is measured, and the files that say so."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepfake_eval.bench.media import Clip
from deepfake_eval.bench.pictures import PictureBench, PictureCase
from deepfake_eval.bench.report import tables
from deepfake_eval.bench.videos import VideoBench, VideoCase
from deepfake_eval.errors import EvalError
from deepfake_eval.inference.cluster import versions
from deepfake_models.bundle.bundle import load_bundle
from deepfake_models.machine import atomic_write_text, usable_cores

RESULTS, TABLES = "bench.json", "bench.md"
SECTIONS = ("videos", "pictures")


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    videos: tuple[VideoCase, ...]
    pictures: tuple[PictureCase, ...]
    """The first is the one that many clients send."""
    clients: tuple[int, ...]
    requests: int
    """Requests of each number of clients; more, if there are more clients."""


def _clip(height: int = 720, codec: str = "H.264", seconds: float = 30.0, faces: int = 1) -> Clip:
    return Clip(codec, height * 16 // 9, height, seconds, faces)


DEFAULT = Plan(
    rounds=3,
    videos=(
        VideoCase(_clip(), 32, naive=True),
        VideoCase(_clip(1080), 32, naive=True),
        VideoCase(_clip(360), 16),
        VideoCase(_clip(2160, seconds=10), 16),
        VideoCase(_clip(seconds=10), 16),
        VideoCase(_clip(seconds=120), 16),
        VideoCase(_clip(codec="HEVC"), 16),
        VideoCase(_clip(codec="VP9"), 16),
        VideoCase(_clip(faces=4), 4),
        VideoCase(_clip(faces=16), 4),
    ),
    pictures=(
        PictureCase(1280, 720, 1),
        PictureCase(4000, 3000, 1),
        PictureCase(2560, 1440, 40),
    ),
    clients=(1, 4, 8),
    requests=24,
)
QUICK = Plan(
    rounds=1,
    videos=(
        VideoCase(_clip(240, seconds=1), 2, naive=True),
        VideoCase(_clip(240, codec="VP9", seconds=1), 2),
    ),
    pictures=(PictureCase(320, 240, 1), PictureCase(480, 360, 4)),
    clients=(1, 2),
    requests=4,
)
"""Takes seconds with a small bundle and shows that everything runs; its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    quick: bool = False
    sections: tuple[str, ...] = SECTIONS
    baseline_python: Path = Path(sys.executable)
    """Interpreter of an environment in which the naive loop runs."""


def bench(
    bundle_dir: Path, out: Path, options: BenchOptions, report: Callable[[str], None]
) -> dict[str, Any]:
    """Measure, write ``bench.json`` and ``bench.md`` to ``out``, and return the results.

    ``report`` is called with what is measured next. The files are written after each section, so
    that an error in a later one loses nothing.

    Raises:
        EvalError: a section is unknown, or the service or a generated video cannot be used.
    """
    if unknown := [name for name in options.sections if name not in SECTIONS]:
        raise EvalError(f"No section is named {unknown[0]}. Choose from {', '.join(SECTIONS)}.")
    plan = QUICK if options.quick else DEFAULT
    bundle = load_bundle(bundle_dir)
    results: dict[str, Any] = {
        "format_version": 1,
        "machine": describe_machine(),
        "model": bundle.model_json(),
        "quick": options.quick,
        "rounds": plan.rounds,
        "load_before": _load(),
    }
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="deepfake-bench-") as name:
        folder = Path(name)
        videos = VideoBench(bundle, options.baseline_python, folder, plan.rounds, report)
        pictures = PictureBench(bundle, folder, plan.rounds, report)
        measures: dict[str, Callable[[], Any]] = {
            "videos": lambda: videos.run(plan.videos),
            "pictures": lambda: pictures.run(plan.pictures, plan.clients, plan.requests),
        }
        for section in options.sections:
            report(section)
            results[section] = measures[section]()
            results["load_after"] = _load()
            results["seconds"] = time.monotonic() - began
            text = json.dumps(results, indent=2, ensure_ascii=False)
            atomic_write_text(out / RESULTS, text)
            atomic_write_text(out / TABLES, tables(results))
    return results


def describe_machine() -> dict[str, Any]:
    """Return the processor, its usable cores, the memory, and the versions of what is measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": usable_cores(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": versions(),
    }


def _load() -> float:
    return round(os.getloadavg()[0], 2)


def _processor() -> str:
    try:
        match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        match = None
    return match[1] if match else platform.processor() or "unknown"
