"""Score still pictures for requests: decode and detect in threads, classify in shared batches."""

from __future__ import annotations

from typing import BinaryIO

import anyio
import anyio.to_thread

from deepfake_models.bundle.results import (
    MediaFacts,
    Reason,
    ReasonCode,
    Verdict,
    VerdictCode,
    unable,
)
from deepfake_models.errors import MediaError, NotAPicture, UndecodableMedia
from deepfake_models.faces.crops import CroppedFace
from deepfake_models.media.interface import FailedFrame
from deepfake_models.sandbox.decoder import Decoder
from deepfake_models.scorer import Scorer
from deepfake_service.examination.batching import Batcher


class PictureScorer:
    """Scores single pictures with a shared batcher.

    At most ``slots`` pictures are decoded and searched for faces at a time; each slot holds one
    decoded picture in memory.
    """

    def __init__(self, scorer: Scorer, decoder: Decoder, batcher: Batcher, *, slots: int) -> None:
        self._scorer = scorer
        self._decoder = decoder
        self._batcher = batcher
        self._slots = slots
        self._limiter = anyio.CapacityLimiter(slots)

    @property
    def concurrency(self) -> int:
        """Return how many pictures of one request to process at a time.

        These fill the slots, and as many again can wait for the classifier. With more, a request of
        64 pictures would hold up a request of one.
        """
        return 2 * self._slots

    async def score(self, source: BinaryIO) -> Verdict:
        """Score one picture; input that cannot be examined gives ``unable_to_evaluate``.

        When cancelled, it stops before the next stage; a decode that has started runs to its end.

        Raises:
            ClassificationFailed: the classifier failed on a face of this picture.
            NotReady: the batcher is not running.
        """
        try:
            facts, faces = await anyio.to_thread.run_sync(
                self._observe, source, limiter=self._limiter
            )
        except NotAPicture:
            return _not_a_picture()
        except MediaError as error:
            return unable(error)
        crops = [f.crop for f in faces if f.crop is not None]
        scores = iter(await self._batcher.scores(crops))
        return self._scorer.judge_picture(
            facts, faces, [None if f.crop is None else next(scores) for f in faces]
        )

    def _observe(self, source: BinaryIO) -> tuple[MediaFacts, list[CroppedFace]]:
        with self._decoder.open(source, stills_only=True) as media:
            facts = media.facts
            frame = next(iter(media.frames([0])), None)
        if frame is None or isinstance(frame, FailedFrame):
            raise UndecodableMedia
        (faces,) = self._scorer.observe([frame.pixels], [frame.time_s])
        return facts, faces


def _not_a_picture() -> Verdict:
    return Verdict(
        VerdictCode.UNABLE_TO_EVALUATE,
        reasons=(
            Reason(
                ReasonCode.NOT_A_PICTURE,
                "The file is a video, an animation or not a known picture format. Only still "
                "pictures are scored here.",
            ),
        ),
    )
