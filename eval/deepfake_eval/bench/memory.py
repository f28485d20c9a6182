"""Measure the peak memory of scoring one file, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from deepfake_eval.bench import score_once
from deepfake_eval.bench.plan import Plan
from deepfake_eval.errors import EvalError


def peaks(plan: Plan, folder: Path, bundle: Path) -> list[dict[str, Any]]:
    """Return the peak memory of scoring each of the plan's clips for it.

    Raises:
        EvalError: a process failed.
    """
    rows = []
    for clip in plan.memory:
        path = folder / f"memory-{clip.seconds:g}.mp4"
        clip.write(path)
        words = [str(path), str(plan.memory_frames), str(bundle)]
        done = subprocess.run(  # noqa: S603 - own interpreter and module
            [sys.executable, "-m", score_once.__name__, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EvalError(f"scoring for memory failed: {done.stderr.strip()[-300:]}")
        rows.append(
            {
                "name": f"{clip.height}p {clip.codec}, {clip.seconds:g} s",
                "bytes": path.stat().st_size,
                "frames": plan.memory_frames,
                **json.loads(done.stdout),
            }
        )
        path.unlink()
    return rows
