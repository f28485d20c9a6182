"""Examine frames on several threads at once: detection in one, classification in another.

A network's run is one thread's work. Two runs side by side take less time than two that share their
threads one after the other, because threads that share a run wait for each other at every layer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from deepfake_models.classifier import FaceScore
from deepfake_models.cropped_faces import CroppedFace
from deepfake_models.decision.decide import ExaminedFrame
from deepfake_models.decode.base import FailedFrame, Frame
from deepfake_models.faces.tracks import signature
from deepfake_models.networks import Networks

MAX_PIXELS = 16 * 1024**2
"""Pixels of the frames that are held at a time, unless one has more: 50 MB, eight frames of 1080p
or two of 4K."""

Observe = Callable[[Sequence[NDArray[np.uint8]], Sequence[float]], list[list[CroppedFace]]]
"""Detects and crops the faces of pictures at some times; see ``Scorer.observe``."""


@dataclass(frozen=True, slots=True)
class _Observed:
    """What remains of a frame once its faces are cropped."""

    time_s: float
    faces: list[CroppedFace]
    signature: NDArray[np.float32]


@dataclass(slots=True)
class _Group:
    """Frames that go through the networks together."""

    pixels: int
    observing: Future[list[_Observed]]
    observed: list[_Observed] = field(default_factory=list)
    scoring: list[Future[FaceScore]] = field(default_factory=list)


class FramePipeline:
    """Examines frames with the threads of ``networks``.

    Results come in the order of the frames. A few frames are held at a time, however long the video
    is: crops are dropped once they are scored.
    """

    def __init__(self, observe: Observe, networks: Networks) -> None:
        self._observe = observe
        self._networks = networks

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
            _Observed(frame.time_s, faces, signature(frame.pixels))
            for frame, faces in zip(frames, cropped, strict=True)
        ]

    def _advance(self, observing: deque[_Group], scoring: deque[_Group]) -> Iterator[ExaminedFrame]:
        """Move the oldest group on: from detection to classification, and from there out."""
        if observing:
            group = observing.popleft()
            scoring.append(group)
            group.observed = group.observing.result()
            crops = [f.crop for o in group.observed for f in o.faces if f.crop is not None]
            group.scoring = self._networks.classifier.begin(crops)
        while scoring and (len(scoring) > self._networks.threads or not observing):
            yield from self._finish(scoring.popleft())

    @staticmethod
    def _finish(group: _Group) -> Iterator[ExaminedFrame]:
        scores = iter([task.result() for task in group.scoring])
        for frame in group.observed:
            faces = tuple(f.scored(None if f.crop is None else next(scores)) for f in frame.faces)
            yield ExaminedFrame(frame.time_s, faces, frame.signature)


def _size(frames: Sequence[Frame]) -> int:
    return sum(f.pixels.shape[0] * f.pixels.shape[1] for f in frames)
