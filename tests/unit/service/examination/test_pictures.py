from __future__ import annotations

import asyncio
import io
import threading
from typing import Any

import pytest

from deepfake_models.bundle.results import Verdict
from deepfake_models.media.interface import OpenMedia
from deepfake_service.examination.pictures import PictureScorer
from tests.support.stand_ins import POISON, SmallDecoder, SmallScorer


class GatedScorer(SmallScorer):
    """Scores nothing before its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def score_media(self, media: OpenMedia, **options: Any) -> Verdict:
        assert self.gate.wait(60)
        return super().score_media(media, **options)


def _still(value: int) -> io.BytesIO:
    return io.BytesIO(f"still 1 {value}".encode())


async def test_a_face_that_fails_fails_its_own_picture_alone() -> None:
    pictures = PictureScorer(SmallScorer(), SmallDecoder(), slots=2)
    calls = (pictures.score(_still(value)) for value in (120, POISON, 80))
    good, bad, other = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(bad, RuntimeError)
    assert [getattr(v, "score", None) is not None for v in (good, other)] == [True, True]


async def test_pictures_beyond_those_begun_wait_and_are_dropped_with_their_request() -> None:
    scorer = GatedScorer()
    pictures = PictureScorer(scorer, SmallDecoder(), slots=1)
    tasks = [
        asyncio.create_task(pictures.score(_still(120))) for _ in range(pictures.concurrency + 2)
    ]
    async with asyncio.timeout(20):
        while pictures.waiting() != 2:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    tasks[-1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[-1]
    scorer.gate.set()
    await asyncio.gather(*tasks[:-1])
    assert scorer.scored == pictures.concurrency + 1
    assert pictures.waiting() == 0
