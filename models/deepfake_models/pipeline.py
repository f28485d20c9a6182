"""Open the networks of a bundle, and examine frames with them on several threads at once.

A network's run is one thread's work. Two runs side by side take less time than two that share their
threads one after the other, because threads that share a run wait for each other at every layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import CLASSIFIER, MAP, WEIGHTS, Bundle, BundleSpec
from deepfake_models.bundle.results import FaceScore
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.classifier import KIND_LOGITS, LOGIT, Classifier
from deepfake_models.decision.decide import ExaminedFrame
from deepfake_models.errors import BundleError
from deepfake_models.faces.crops import CroppedFace
from deepfake_models.faces.mtcnn import MtcnnDetector
from deepfake_models.faces.tracks import signature
from deepfake_models.machine import Device, usable_cores
from deepfake_models.media.interface import FailedFrame, Frame

FRAMES_AT_ONCE = 8
"""Frames and faces in one run on a GPU. On a CPU it is one, and the threads run side by side."""

MAX_PIXELS = 16 * 1024**2
"""Pixels of the frames that are held at a time, unless one has more: 50 MB, eight frames of 1080p
or two of 4K."""

Observe = Callable[[Sequence[NDArray[np.uint8]], Sequence[float]], list[list[CroppedFace]]]
"""Detects and crops the faces of pictures at some times; see ``Scorer.observe``."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a bundle, ready to run, and the threads that run them."""

    detector: MtcnnDetector
    classifier: Classifier
    pool: Executor
    threads: int
    frames_at_once: int = 1


def open_networks(
    bundle: Bundle,
    *,
    device: Device = "auto",
    threads: int = 0,
) -> Networks:
    """Open the graphs of ``bundle``, as ``load_bundle`` returned it.

    ``threads`` of them run at a time, 0: one for each usable core. ``BundleError`` if a graph
    cannot be loaded, or the classifier's lacks an output; ``EngineMissing`` if onnxruntime is not
    installed.
    """
    providers: set[str] = set()
    # Maps are drawn so rarely that their graph is read again each time. What is kept for that must
    # not keep the graphs alive, of which the sessions hold copies.
    files = replace(bundle, graphs={})

    def session(name: str, read: Callable[[str], bytes]) -> OnnxSession:
        shares = name in (CLASSIFIER, MAP) and WEIGHTS in files.spec.files
        opened = OnnxSession(
            read(name),
            name=name,
            device=device,
            external={WEIGHTS: read(WEIGHTS)} if shares else None,
            arena=name in (CLASSIFIER, MAP),
        )
        if name == CLASSIFIER:
            _require_outputs(opened, files.spec)
        providers.add(opened.provider)
        return opened

    graphs = bundle.graphs
    pnet, rnet, onet, network = (
        session(name, graphs.__getitem__)
        for name in ("pnet.onnx", "rnet.onnx", "onet.onnx", CLASSIFIER)
    )
    gpu = providers != {"CPUExecutionProvider"}
    threads = threads or usable_cores()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="examine")
    classifier = Classifier(
        network,
        bundle.spec,
        open_map=(lambda: session(MAP, files.read)) if MAP in bundle.spec.files else None,
        faces_at_once=FRAMES_AT_ONCE if gpu else 1,
        pool=pool,
    )
    detector = MtcnnDetector(pnet, rnet, onet, bundle.spec.detector)
    return Networks(detector, classifier, pool, threads, FRAMES_AT_ONCE if gpu else 1)


def _require_outputs(classifier: OnnxSession, spec: BundleSpec) -> None:
    promised = [LOGIT, *([KIND_LOGITS] if spec.kinds else [])]
    missing = [name for name in promised if name not in classifier.output_names]
    if missing:
        raise BundleError(f"{classifier.name}: has no output {' and no output '.join(missing)}")


_Observed = tuple[float, list[CroppedFace], NDArray[np.float32]]
"""The time of a frame, its faces and its colour signature."""


@dataclass(slots=True)
class _Group:
    pixels: int
    observing: Future[list[_Observed]]
    observed: list[_Observed] = field(default_factory=list)
    scoring: list[Future[FaceScore]] = field(default_factory=list)


class FramePipeline:
    """Examines frames of a picture, if ``still``, or a video with the threads of ``networks``.

    Results come in the order of the frames. A few frames are held at a time, however long the video
    is: crops are dropped once they are scored.
    """

    def __init__(self, observe: Observe, networks: Networks, *, still: bool) -> None:
        self._observe = observe
        self._networks = networks
        self._still = still

    def examined(
        self, frames: Iterable[Frame | FailedFrame]
    ) -> Iterator[ExaminedFrame | FailedFrame]:
        """Yield each frame as it was examined, or as it failed: the failed ones first of those
        that are in work.

        Must not be called in a thread of the pool. Whatever ``frames`` or a network raises is
        passed on.
        """
        observing: deque[_Group] = deque()
        scoring: deque[_Group] = deque()
        waiting: list[Frame] = []
        try:
            for frame in frames:
                if isinstance(frame, FailedFrame):
                    yield frame
                    continue
                waiting.append(frame)
                if len(waiting) < self._networks.frames_at_once and _size(waiting) < MAX_PIXELS:
                    continue
                while observing and self._full(observing, waiting):
                    yield from self._advance(observing, scoring)
                observing.append(self._begin(waiting))
                waiting = []
            if waiting:
                observing.append(self._begin(waiting))
            while observing or scoring:
                yield from self._advance(observing, scoring)
        finally:
            for group in (*observing, *scoring):
                group.observing.cancel()
                for task in group.scoring:
                    task.cancel()

    def _full(self, observing: deque[_Group], waiting: Sequence[Frame]) -> bool:
        held = sum(group.pixels for group in observing)
        return len(observing) > self._networks.threads or held + _size(waiting) > MAX_PIXELS

    def _begin(self, frames: list[Frame]) -> _Group:
        return _Group(_size(frames), self._networks.pool.submit(self._observed, tuple(frames)))

    def _observed(self, frames: tuple[Frame, ...]) -> list[_Observed]:
        cropped = self._observe([f.pixels for f in frames], [f.time_s for f in frames])
        return [
            (frame.time_s, faces, signature(frame.pixels))
            for frame, faces in zip(frames, cropped, strict=True)
        ]

    def _advance(self, observing: deque[_Group], scoring: deque[_Group]) -> Iterator[ExaminedFrame]:
        """Move the oldest group on: from detection to classification, and from there out."""
        if observing:
            group = observing.popleft()
            scoring.append(group)
            group.observed = group.observing.result()
            crops = [f.crop for _, seen, _ in group.observed for f in seen if f.crop is not None]
            group.scoring = self._networks.classifier.begin(crops, still=self._still)
        while scoring and (len(scoring) > self._networks.threads or not observing):
            yield from self._finish(scoring.popleft())

    @staticmethod
    def _finish(group: _Group) -> Iterator[ExaminedFrame]:
        scores = iter([task.result() for task in group.scoring])
        for time_s, seen, colours in group.observed:
            faces = tuple(f.scored(None if f.crop is None else next(scores)) for f in seen)
            yield ExaminedFrame(time_s, faces, colours)


def _size(frames: Sequence[Frame]) -> int:
    return sum(f.pixels.shape[0] * f.pixels.shape[1] for f in frames)
