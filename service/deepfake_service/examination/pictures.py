"""Score still pictures for requests: decode, detect and classify in threads."""

from __future__ import annotations

from typing import BinaryIO

import anyio
import anyio.to_thread

from deepfake_models.bundle.results import Verdict, unable
from deepfake_models.errors import MediaError
from deepfake_models.sandbox.decoder import Decoder
from deepfake_models.scorer import Scorer


class PictureScorer:
    """Scores single pictures of all requests.

    At most ``slots`` pictures are open at a time, because the decoder has as many processes; each
    holds one decoded picture in memory. As many again may wait for a process. The faces of all
    requests and jobs are scored together.
    """

    def __init__(self, scorer: Scorer, decoder: Decoder, *, slots: int) -> None:
        self._scorer = scorer
        self._decoder = decoder
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
            with self._decoder.open(source, stills_only=True) as media:
                return self._scorer.score_media(media)
        except MediaError as error:
            return unable(error)
