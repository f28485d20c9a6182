"""Score a video as the service does, and the least that any implementation has to do for it.

The least is to decode what the sampled frames need, and to run the networks on tensors that are
ready, with all cores busy.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from deepfake_eval.bench.media import RATE, SEGMENT
from deepfake_eval.errors import EvalError
from deepfake_models.bundle import Bundle
from deepfake_models.decode.base import FailedFrame, Frame, OpenMedia
from deepfake_models.decode.decoder import Decoder, InProcessDecoder
from deepfake_models.faces.detection import Detection
from deepfake_models.faces.mtcnn import FaceDetector
from deepfake_models.networks import open_networks
from deepfake_models.processors import usable_cores
from deepfake_models.scorer import Scorer
from deepfake_models.session import OnnxSession, Session

STAGES = ("scan", "decode", "detector networks", "detector", "classifier", "rest")
"""Where the processor time of a video goes. "detector" is the detector without its networks."""

Run = tuple[Session, Sequence[str] | None, dict[str, NDArray[Any]]]
"""A session, the outputs asked for, and the inputs."""


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
        raise EvalError(f"{path.name}: no face was found in what was generated")


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
        tasks: list[Future[object]] = [pool.submit(decode)]
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


class StageClock:
    """Measures the processor seconds of each stage, in one thread."""

    def __init__(self, bundle: Bundle) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        networks = open_networks(bundle, threads=1, wrap=lambda s: _Timed(s, self))
        timed = replace(networks, detector=_TimedDetector(networks.detector, self))
        self._scorer = Scorer(replace(bundle, graphs={}), timed, _TimedDecoder(self))

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the processor time of the context to ``stage``."""
        began = time.thread_time()
        try:
            yield
        finally:
            self.seconds[stage] += time.thread_time() - began

    def stages(self, path: Path, frames: int) -> dict[str, float]:
        """Return the processor seconds of ``STAGES`` for one file."""
        self.seconds.clear()
        began = time.process_time()
        score(self._scorer, path, frames)
        total = time.process_time() - began
        taken = self.seconds
        taken["detector"] -= taken["detector networks"]
        taken["rest"] = total - sum(taken.values())
        return {stage: taken[stage] for stage in STAGES}


class _Timed:
    def __init__(self, session: OnnxSession, clock: StageClock) -> None:
        self._session = session
        self._clock = clock
        is_classifier = session.name == "classifier.onnx"
        self._stage = "classifier" if is_classifier else "detector networks"

    def run(
        self, outputs: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        with self._clock.measure(self._stage):
            return self._session.run(outputs, feed)


class _TimedDetector:
    def __init__(self, detector: FaceDetector, clock: StageClock) -> None:
        self._detector = detector
        self._clock = clock

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        with self._clock.measure("detector"):
            return self._detector.detect(pictures)


class _TimedDecoder(InProcessDecoder):
    def __init__(self, clock: StageClock) -> None:
        super().__init__()
        self._clock = clock

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        opening = super().open(source, stills_only=stills_only)
        with self._clock.measure("scan"):
            media = opening.__enter__()
        try:
            yield _TimedMedia(media, self._clock)  # type: ignore[misc]
        finally:
            opening.__exit__(None, None, None)


class _TimedMedia:
    def __init__(self, media: OpenMedia, clock: StageClock) -> None:
        self._media = media
        self._clock = clock
        self.facts, self.times = media.facts, media.times

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        results = self._media.frames(indices)
        while True:
            with self._clock.measure("decode"):
                result = next(results, None)
            if result is None:
                return
            yield result


def open_scorer(bundle: Bundle, decoder: Decoder) -> Scorer:
    """Open a scorer as the service does."""
    return Scorer.open(bundle.directory, decoder=decoder)
