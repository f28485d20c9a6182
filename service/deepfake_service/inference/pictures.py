"""Scores single pictures: decoded and searched in threads, classified with everybody else's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

import anyio
import anyio.to_thread
import numpy as np
from numpy.typing import NDArray

from deepfake_models.decode.base import FailedFrame, OpenMedia
from deepfake_models.errors import MediaError, NotAPicture, UndecodableMedia
from deepfake_models.results import (
    MediaFacts,
    Reason,
    ReasonCode,
    Verdict,
    VerdictCode,
    unable,
)
from deepfake_models.scorer import CroppedFace
from deepfake_service.inference.batching import Batcher


class Identified(Protocol):
    """What is used of ``deepfake_models.bundle.Bundle``."""

    def model_json(self) -> dict[str, str]: ...


class CropClassifier(Protocol):
    """What is used of ``deepfake_models.classifier.Classifier``."""

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]: ...


class PictureJudge(Protocol):
    """What is used of ``deepfake_models.scorer.Scorer``. Safe to call from several threads."""

    @property
    def bundle(self) -> Identified: ...

    @property
    def classifier(self) -> CropClassifier: ...

    def observe(
        self, pictures: Sequence[NDArray[np.uint8]], times: Sequence[float]
    ) -> list[list[CroppedFace]]: ...

    def judge_picture(
        self,
        facts: MediaFacts,
        observations: Sequence[CroppedFace],
        logits: Sequence[float | None],
    ) -> Verdict: ...


class PictureDecoder(Protocol):
    """What is used of ``deepfake_models.decode.decoder.Decoder``."""

    def open(
        self, source: BinaryIO, *, stills_only: bool = False
    ) -> AbstractContextManager[OpenMedia]: ...


class PictureScorer:
    """Scores pictures. ``slots`` are decoded and searched at a time; each slot holds one decoded
    picture."""

    def __init__(
        self,
        judge: PictureJudge,
        decoder: PictureDecoder,
        batcher: Batcher,
        *,
        slots: int,
    ) -> None:
        self._judge = judge
        self._decoder = decoder
        self._batcher = batcher
        self._slots = slots
        self._limiter = anyio.CapacityLimiter(slots)

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
            facts, faces = await anyio.to_thread.run_sync(
                self._observe, source, limiter=self._limiter
            )
        except NotAPicture:
            return _not_a_picture()
        except MediaError as error:
            return unable(error)
        logits = iter(await self._batcher.logits([f.crop for f in faces if f.crop is not None]))
        return self._judge.judge_picture(
            facts, faces, [None if f.crop is None else next(logits) for f in faces]
        )

    def _observe(self, source: BinaryIO) -> tuple[MediaFacts, list[CroppedFace]]:
        with self._decoder.open(source, stills_only=True) as media:
            facts = media.facts
            frame = next(iter(media.frames([0])), None)
        if frame is None or isinstance(frame, FailedFrame):
            raise UndecodableMedia
        (found,) = self._judge.observe([frame.pixels], [frame.time_s])
        return facts, found


def _not_a_picture() -> Verdict:
    return Verdict(
        VerdictCode.UNABLE_TO_EVALUATE,
        reasons=(
            Reason(
                ReasonCode.NOT_A_PICTURE,
                "This is no still picture in a known format but a video, an animation or another "
                "kind of file; only still pictures are scored here.",
            ),
        ),
    )
