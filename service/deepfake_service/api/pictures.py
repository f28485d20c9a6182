"""Scores single pictures: decoded and searched in threads, classified with everybody else's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import BinaryIO, Protocol

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from deepfake_models.errors import MediaError, UndecodableMedia
from deepfake_models.media import FailedFrame, OpenMedia
from deepfake_models.scorer import FaceObservation
from deepfake_models.verdict import (
    MediaFacts,
    Reason,
    ReasonCode,
    Verdict,
    VerdictCode,
    unable,
)
from deepfake_service.batching import Batcher

STILL = "image"


class Identified(Protocol):
    """What is used of ``deepfake_models.bundle.Bundle``."""

    def model_json(self) -> dict[str, str]: ...


class PictureJudge(Protocol):
    """What is used of ``deepfake_models.scorer.Scorer``. Safe to call from several threads."""

    @property
    def bundle(self) -> Identified: ...

    def classify(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]: ...

    def observe(
        self, pictures: Sequence[NDArray[np.uint8]], times: Sequence[float]
    ) -> list[list[FaceObservation]]: ...

    def judge_picture(
        self,
        facts: MediaFacts,
        observations: Sequence[FaceObservation],
        logits: Sequence[float | None],
    ) -> Verdict: ...


class PictureDecoder(Protocol):
    """What is used of ``deepfake_models.decoding.Decoder``."""

    def open(self, source: BinaryIO) -> AbstractContextManager[OpenMedia]: ...


class _NotAPicture(Exception):
    def __init__(self, facts: MediaFacts) -> None:
        super().__init__()
        self.facts = facts


class PictureScorer:
    """Scores pictures. ``slots`` are decoded and searched at a time; each slot holds one decoded
    picture. The widest ``max_faces`` of a picture's faces are judged."""

    def __init__(
        self,
        judge: PictureJudge,
        decoder: PictureDecoder,
        batcher: Batcher,
        *,
        slots: int,
        max_faces: int,
    ) -> None:
        self._judge = judge
        self._decoder = decoder
        self._batcher = batcher
        self._slots = slots
        self._limiter = anyio.CapacityLimiter(slots)
        self._max_faces = max_faces

    @property
    def concurrency(self) -> int:
        """Pictures of one request worth having in work at a time: those in the slots, and as many
        waiting for the classifier. More would let one request of 64 hold up a request of 1."""
        return 2 * self._slots

    async def score(self, source: BinaryIO) -> Verdict:
        """Examine one picture. What cannot be examined gives ``unable_to_evaluate``.

        When cancelled it stops before the next stage; a decode that has begun runs to its end.

        Raises:
            ClassificationFailed, NotReady: from the batcher.
        """
        try:
            facts, found = await anyio.to_thread.run_sync(
                self._observe, source, limiter=self._limiter
            )
        except _NotAPicture as error:
            return _not_a_picture(error.facts)
        except MediaError as error:
            return unable(error)
        faces = self._widest(found)
        logits = iter(await self._batcher.logits([f.crop for f in faces if f.crop is not None]))
        return self._judge.judge_picture(
            facts, faces, [None if f.crop is None else next(logits) for f in faces]
        )

    def _observe(self, source: BinaryIO) -> tuple[MediaFacts, list[FaceObservation]]:
        with self._decoder.open(source) as media:
            facts = media.facts
            if facts.kind != STILL:
                raise _NotAPicture(facts)
            frame = next(iter(media.frames([0])), None)
        if frame is None or isinstance(frame, FailedFrame):
            raise UndecodableMedia
        (found,) = self._judge.observe([frame.pixels], [frame.time_s])
        return facts, found

    def _widest(self, found: Sequence[FaceObservation]) -> list[FaceObservation]:
        fit = [i for i, f in enumerate(found) if f.crop is not None]
        fit.sort(key=lambda i: -found[i].quality.face_px)
        beyond = set(fit[self._max_faces :])
        reason = Reason(
            ReasonCode.UNJUDGED_FACES,
            f"Not judged: of a picture's faces only the widest {self._max_faces} are.",
        )
        return [
            replace(face, crop=None, reasons=(*face.reasons, reason)) if i in beyond else face
            for i, face in enumerate(found)
        ]


def _not_a_picture(facts: MediaFacts) -> Verdict:
    return Verdict(
        VerdictCode.UNABLE_TO_EVALUATE,
        reasons=(
            Reason(
                ReasonCode.NOT_A_PICTURE,
                "This is a video or an animated picture; only still pictures are scored here.",
            ),
        ),
        media=facts,
    )
