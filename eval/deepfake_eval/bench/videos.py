"""Measure videos end to end, against the floor and the naive loop."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import av.error

from deepfake_eval.bench.baseline import SMALL_NETWORK, BaselineMissing, NaiveLoop, same_network
from deepfake_eval.bench.plan import VideoCase
from deepfake_eval.bench.rounds import Measure, Samples, alternate, ratio
from deepfake_eval.bench.scoring import (
    Replay,
    StageClock,
    decode_sampled,
    open_scorer,
    run_floor,
    score,
    seconds_of,
)
from deepfake_models.bundle import Bundle
from deepfake_models.decode.decoder import InProcessDecoder
from deepfake_models.decode.sandbox import ProcessDecoder

OURS, FLOOR, UNCONFINED = "this scorer", "floor", "without the sandbox"
NAIVE, NAIVE_SMALL = "naive loop, same network", "naive loop, EfficientNet-Lite0"

Report = Callable[[str], None]
"""Called with the name of each case before it is measured."""


@dataclass(frozen=True, slots=True)
class VideoBench:
    """What the measurements of videos need."""

    bundle: Bundle
    baseline_python: Path
    folder: Path
    """Where videos are generated."""
    rounds: int
    report: Report

    def run(self, cases: tuple[VideoCase, ...]) -> dict[str, Any]:
        """Return the figures of all cases, and the stages of the first."""
        with contextlib.ExitStack() as stack:
            decoder = ProcessDecoder(workers=1)
            stack.callback(decoder.close)
            ours = open_scorer(self.bundle, decoder)
            replay = Replay(self.bundle)
            loops, missing = self._naive_loops(stack)
            rows = [self._row(case, ours, replay, loops) for case in cases]
        first = next((c for c, row in zip(cases, rows, strict=True) if "seconds" in row), cases[0])
        return {
            "cases": rows,
            "not_measured": missing,
            "stages": self._stages(first),
            "baseline": next((loop.facts for loop in loops.values()), None),
        }

    def _naive_loops(
        self, stack: contextlib.ExitStack
    ) -> tuple[dict[str, NaiveLoop], dict[str, str]]:
        """Start the naive loops; return them, and why others do not run."""
        loops: dict[str, NaiveLoop] = {}
        missing: dict[str, str] = {}
        wanted: dict[str, Callable[[], list[str]]] = {
            NAIVE: lambda: same_network(self.bundle.spec),
            NAIVE_SMALL: lambda: ["--network", SMALL_NETWORK],
        }
        for name, arguments in wanted.items():
            try:
                loop = NaiveLoop(self.baseline_python, arguments())
            except BaselineMissing as error:
                missing[name] = error.message
            else:
                loops[name] = stack.enter_context(loop)
        return loops, missing

    def _path(self, case: VideoCase) -> Path:
        suffix = "webm" if case.clip.codec == "VP9" else "mp4"
        return self.folder / f"{case.name.replace(' ', '-').replace(',', '')}.{suffix}"

    def _row(
        self, case: VideoCase, ours: Any, replay: Replay, loops: dict[str, NaiveLoop]
    ) -> dict[str, Any]:
        self.report(case.name)
        path = self._path(case)
        try:
            case.clip.write(path)
        except (av.error.FFmpegError, ValueError) as error:
            return {"name": case.name, "not_measured": f"cannot be encoded: {error}"}
        runs = replay.record(path, case.frames)
        decode = partial(decode_sampled, path, case.frames)
        contenders: dict[str, Measure] = {
            OURS: lambda: seconds_of(lambda: score(ours, path, case.frames)),
            FLOOR: lambda: seconds_of(lambda: run_floor(decode, runs)),
        }
        if case.naive:
            inside = open_scorer(self.bundle, InProcessDecoder())
            contenders[UNCONFINED] = lambda: seconds_of(lambda: score(inside, path, case.frames))
            for name, loop in loops.items():
                contenders[name] = partial(_naive_seconds, loop, path, case.frames)
        for name, measure in contenders.items():
            if name in loops:
                loops[name].score(path, 2)
            elif name != FLOOR:
                measure()
        taken = alternate(contenders, self.rounds)
        return {
            "name": case.name,
            "bytes": path.stat().st_size,
            "seconds": {name: samples.to_json() for name, samples in taken.items()},
            "ratios": _ratios(taken),
        }

    def _stages(self, case: VideoCase) -> dict[str, Any]:
        clock = StageClock(self.bundle)
        path = self._path(case)
        clock.stages(path, case.frames)
        passes = [clock.stages(path, case.frames) for _ in range(self.rounds)]
        return {
            "name": case.name,
            "cpu_seconds": {
                stage: Samples(tuple(p[stage] for p in passes)).to_json() for stage in passes[0]
            },
        }


def _naive_seconds(loop: NaiveLoop, path: Path, frames: int) -> float:
    return float(loop.score(path, frames)["seconds"])


def _ratios(taken: dict[str, Samples]) -> dict[str, Any]:
    ours = taken[OURS]
    ratios = {f"{OURS} / {FLOOR}": ratio(ours, taken[FLOOR])}
    if UNCONFINED in taken:
        ratios[f"{OURS} / {UNCONFINED}"] = ratio(ours, taken[UNCONFINED])
    for name in (NAIVE, NAIVE_SMALL):
        if name in taken:
            ratios[f"{name} / {OURS}"] = ratio(taken[name], ours)
    return {name: samples.to_json() for name, samples in ratios.items()}
