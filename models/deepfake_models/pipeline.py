"""Open the networks of a bundle, and examine frames with them on several threads at once.

A network's run is one thread's work. Two runs side by side take less time than two that share their
threads one after the other, because threads that share a run wait for each other at every layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

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

MAX_PIXELS = 16 * 1024**2
"""Pixels of the frames that are held at a time, unless one has more: 50 MB, eight frames of 1080p
or two of 4K."""

Observe = Callable[[NDArray[np.uint8], float], list[CroppedFace]]
"""Detects and crops the faces of a picture at some time; see ``Scorer.observe``."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The networks of a bundle, ready to run, and the threads that run them."""

    detector: MtcnnDetector
    classifier: Classifier
    pool: Executor
    threads: int


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
        return opened

    graphs = bundle.graphs
    pnet, rnet, onet, network = (
        session(name, graphs.__getitem__)
        for name in ("pnet.onnx", "rnet.onnx", "onet.onnx", CLASSIFIER)
    )
    threads = threads or usable_cores()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="examine")
    classifier = Classifier(
        network,
        bundle.spec,
        open_map=(lambda: session(MAP, files.read)) if MAP in bundle.spec.files else None,
        pool=pool,
    )
    detector = MtcnnDetector(pnet, rnet, onet, bundle.spec.detector)
    return Networks(detector, classifier, pool, threads)


def _require_outputs(classifier: OnnxSession, spec: BundleSpec) -> None:
    promised = [LOGIT, *([KIND_LOGITS] if spec.kinds else [])]
    missing = [name for name in promised if name not in classifier.output_names]
    if missing:
        raise BundleError(f"{classifier.name}: has no output {' and no output '.join(missing)}")


_Observed = tuple[float, list[CroppedFace], NDArray[np.float32]]
"""The time of a frame, its faces and its colour signature."""


@dataclass(slots=True)
class _InWork:
    pixels: int
    observing: Future[_Observed]
    scoring: Sequence[Future[FaceScore]] = ()


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
        observing: deque[_InWork] = deque()
        scoring: deque[_InWork] = deque()
        try:
            for frame in frames:
                if isinstance(frame, FailedFrame):
                    yield frame
                    continue
                pixels = frame.pixels.shape[0] * frame.pixels.shape[1]
                while observing and self._full(observing, pixels):
                    yield from self._advance(observing, scoring)
                task = self._networks.pool.submit(self._observed, frame)
                observing.append(_InWork(pixels, task))
            while observing or scoring:
                yield from self._advance(observing, scoring)
        finally:
            for one in (*observing, *scoring):
                one.observing.cancel()
                for score in one.scoring:
                    score.cancel()

    def _full(self, observing: deque[_InWork], pixels: int) -> bool:
        held = sum(one.pixels for one in observing)
        return len(observing) > self._networks.threads or held + pixels > MAX_PIXELS

    def _observed(self, frame: Frame) -> _Observed:
        faces = self._observe(frame.pixels, frame.time_s)
        return frame.time_s, faces, signature(frame.pixels)

    def _advance(
        self, observing: deque[_InWork], scoring: deque[_InWork]
    ) -> Iterator[ExaminedFrame]:
        """Move the oldest frame on: from detection to classification, and from there out."""
        if observing:
            one = observing.popleft()
            scoring.append(one)
            _, seen, _ = one.observing.result()
            crops = [face.crop for face in seen if face.crop is not None]
            one.scoring = self._networks.classifier.begin(crops, still=self._still)
        while scoring and (len(scoring) > self._networks.threads or not observing):
            one = scoring.popleft()
            scores = iter([task.result() for task in one.scoring])
            time_s, seen, colours = one.observing.result()
            faces = tuple(f.scored(None if f.crop is None else next(scores)) for f in seen)
            yield ExaminedFrame(time_s, faces, colours)
