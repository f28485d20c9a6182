"""Time contenders in alternating rounds, and the least that any implementation has to do.

The least, the floor, is to decode what the sampled frames need, and to run the networks on tensors
that are ready, with all cores busy.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from deepfake_eval.bench.media import RATE, SEGMENT
from deepfake_eval.errors import EvalError
from deepfake_models.bundle.bundle import Bundle
from deepfake_models.bundle.session import OnnxSession, Session
from deepfake_models.machine import usable_cores
from deepfake_models.media.decoder import InProcessDecoder
from deepfake_models.pipeline import open_networks
from deepfake_models.scorer import Scorer

Report = Callable[[str], None]
"""Called with the name of each case before it is measured."""
Run = tuple[Session, Sequence[str] | None, dict[str, NDArray[Any]]]
"""A session, the outputs asked for, and the inputs."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Repeated measurements of one figure, at least one."""

    values: tuple[float, ...]
    unit: str = "s"

    def to_json(self) -> dict[str, Any]:
        """Return the figure with its spread."""
        return {
            "unit": self.unit,
            "median": statistics.median(self.values),
            "min": min(self.values),
            "max": max(self.values),
            "values": list(self.values),
        }


def alternate(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Samples]:
    """Measure each of ``contenders`` once in each round, so that a busy moment hits all of them.

    Every other round has the reverse order. Who needs a warm-up does it beforehand.
    """
    values: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in list(contenders)[:: 1 if number % 2 == 0 else -1]:
            values[name].append(contenders[name]())
    return {name: Samples(tuple(v)) for name, v in values.items()}


def ratio(of: Samples, to: Samples) -> Samples:
    """Return ``of`` / ``to`` round by round, both of which were measured in the same rounds."""
    pairs = zip(of.values, to.values, strict=True)
    return Samples(tuple(a / b for a, b in pairs), unit="×")


def seconds_of(work: Callable[[], object]) -> float:
    """Return how many seconds ``work`` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def score(scorer: Scorer, path: Path, frames: int) -> None:
    """Score a file.

    Raises:
        EvalError: no face was found, so that nothing would be measured.
    """
    with path.open("rb") as file:
        verdict = scorer.score(file, frames=frames)
    if not (verdict.frames.with_face or verdict.faces):
        raise EvalError(
            f"No face was found in the generated file {path.name}, so it measures nothing. Use "
            "another bundle."
        )


class Replay:
    """The runs of all networks for one medium, recorded once and repeated on ready tensors."""

    def __init__(self, bundle: Bundle) -> None:
        self._runs: list[Run] = []
        networks = open_networks(bundle, threads=1, wrap=lambda s: _Recorded(s, self._runs))
        self._scorer = Scorer(replace(bundle, graphs={}), networks, InProcessDecoder())

    def record(self, path: Path, frames: int) -> list[Run]:
        """Return the runs that scoring the file takes."""
        self._runs.clear()
        score(self._scorer, path, frames)
        return list(self._runs)


class _Recorded:
    def __init__(self, session: OnnxSession, runs: list[Run]) -> None:
        self._session = session
        self._runs = runs

    def run(
        self, outputs: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        self._runs.append((self._session, outputs, dict(feed)))
        return self._session.run(outputs, feed)


def run_floor(decode: Callable[[], object], runs: Sequence[Run]) -> None:
    """Decode, and run the networks on ready tensors, each on one of as many threads as cores."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        tasks = [pool.submit(decode)]
        tasks += [pool.submit(session.run, outputs, feed) for session, outputs, feed in runs]
        for task in tasks:
            task.result()


def decode_sampled(path: Path, frames: int) -> None:
    """Decode what ``frames`` evenly spread frames of a video need, and nothing else."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        assert base is not None
        assert container.duration is not None
        last = int((container.duration / av.time_base - 1 / RATE) / base)
        position = -1
        for target in np.linspace(0, last, frames).astype(int).tolist():
            # A seek pays only beyond the next keyframe.
            if position < 0 or (target - position) * base > SEGMENT / RATE:
                container.seek(target, stream=stream)
            for frame in container.decode(stream):
                position = frame.pts or 0
                if position >= target:
                    break
