from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from concurrent.futures import Future

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_models.bundle.results import FaceScore
from deepfake_service.examination.pictures import PictureScorer
from deepfake_service.platform.errors import ClassificationFailed
from tests.support.stand_ins import SmallClassifier, SmallDecoder, SmallScorer


class PendingClassifier(SmallClassifier):
    def __init__(self) -> None:
        super().__init__()
        self.begun: list[Future[FaceScore]] = []

    def begin(self, crops: Sequence[NDArray[np.uint8]]) -> list[Future[FaceScore]]:
        begun = [Future[FaceScore]() for _ in crops]
        self.begun += begun
        return begun


@pytest.fixture
def classifier() -> PendingClassifier:
    return PendingClassifier()


@pytest.fixture
def pictures(classifier: PendingClassifier) -> PictureScorer:
    scorer = SmallScorer()
    scorer.classifier = classifier
    return PictureScorer(scorer, SmallDecoder(), slots=1)


async def _begin(
    pictures: PictureScorer, classifier: PendingClassifier, faces: int
) -> asyncio.Task[object]:
    task = asyncio.create_task(pictures.score(io.BytesIO(f"still {faces} 120".encode())))
    before = len(classifier.begun)
    async with asyncio.timeout(20):
        while len(classifier.begun) < before + faces:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return task


async def test_faces_that_nobody_awaits_are_cancelled_and_others_stay(
    pictures: PictureScorer, classifier: PendingClassifier
) -> None:
    leaving = await _begin(pictures, classifier, 3)
    staying = await _begin(pictures, classifier, 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert [score.cancelled() for score in classifier.begun] == [True, True, True, False]
    classifier.begun[3].set_result(FaceScore(2.0))
    await staying


async def test_a_face_that_fails_fails_its_own_picture(
    pictures: PictureScorer, classifier: PendingClassifier
) -> None:
    failing = await _begin(pictures, classifier, 2)
    other = await _begin(pictures, classifier, 1)
    classifier.begun[0].set_exception(RuntimeError("the network failed"))
    with pytest.raises(ClassificationFailed) as raised:
        await failing
    assert isinstance(raised.value.__cause__, RuntimeError)
    classifier.begun[2].set_result(FaceScore(2.0))
    await other


async def test_no_more_pictures_are_begun_than_wait_for_the_classifier(
    pictures: PictureScorer, classifier: PendingClassifier
) -> None:
    tasks = [await _begin(pictures, classifier, 1) for _ in range(pictures.concurrency)]
    tasks.append(asyncio.create_task(pictures.score(io.BytesIO(b"still 1 120"))))
    async with asyncio.timeout(20):
        while pictures.waiting() != 1:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    for number in range(len(tasks)):
        async with asyncio.timeout(20):
            while len(classifier.begun) <= number:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        classifier.begun[number].set_result(FaceScore(2.0))
    await asyncio.gather(*tasks)
    assert pictures.waiting() == 0
