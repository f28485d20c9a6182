"""Score still pictures for requests: decode, detect and classify in threads."""

from __future__ import annotations

import threading
from typing import BinaryIO

import anyio
import anyio.to_thread

from deepfake_models.bundle.results import MediaFacts, Verdict, unable
from deepfake_models.errors import MediaError, UndecodableMedia
from deepfake_models.faces.crops import CroppedFace
from deepfake_models.media.interface import FailedFrame
from deepfake_models.sandbox.decoder import Decoder
from deepfake_models.scorer import Scorer


class PictureScorer:
    """Scores single pictures of all requests.

    At most ``slots`` pictures are decoded and searched for faces at a time; each holds one decoded
    picture in memory. As many again may wait for the classifier, which scores the faces of all
    requests and jobs together.
    """

    def __init__(self, scorer: Scorer, decoder: Decoder, *, slots: int) -> None:
        self._scorer = scorer
        self._decoder = decoder
        self._decoding = threading.Semaphore(slots)
        self._begun = anyio.CapacityLimiter(2 * slots)

    @property
    def concurrency(self) -> int:
        """Return how many pictures of one request to process at a time. With more, a request of 64
        pictures would hold up a request of one."""
        return int(self._begun.total_tokens)

    def waiting(self) -> int:
        """Return how many pictures wait for others."""
        return self._begun.statistics().tasks_waiting

    async def score(self, source: BinaryIO) -> Verdict:
        """Score one picture; input that cannot be examined gives ``unable_to_evaluate``. Cancelled,
        it does not begin; a picture that was begun is scored to its end."""
        return await anyio.to_thread.run_sync(self._score, source, limiter=self._begun)

    def _score(self, source: BinaryIO) -> Verdict:
        try:
            with self._decoding:
                facts, faces = self._observe(source)
        except MediaError as error:
            return unable(error)
        crops = [f.crop for f in faces if f.crop is not None]
        scores = iter(self._scorer.classifier.scores(crops, still=True))
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
