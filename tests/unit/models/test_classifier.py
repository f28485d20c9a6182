"""Scores, kinds and maps of the classifier, on a session that stands in for its graphs."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.spec import CropSpec, InputSpec
from deepfake_models.classifier import ACTIVATION_MAP, KIND_LOGITS, LOGIT, Classifier
from deepfake_models.errors import BundleError
from tests.support import judging

SIZE = 8


class Mean:
    """The logits are the mean of a crop, and for pictures its opposite; kinds are its half and its
    double, maps its first square and that inverted."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], int]] = []
        self.output_names: tuple[str, ...] = (LOGIT, KIND_LOGITS, ACTIVATION_MAP)

    def run(
        self, outputs: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        crops = feed["crops"].astype(np.float64)
        assert outputs is not None
        self.asked.append((tuple(outputs), len(crops)))
        logit = crops.reshape(len(crops), -1).mean(axis=1)
        first = crops[:, 0] if crops.ndim == 5 else crops
        values = {
            LOGIT: np.stack([logit, -logit], axis=1),
            KIND_LOGITS: np.stack([logit / 2, logit * 2], axis=1),
            ACTIVATION_MAP: np.stack([first[..., 0], -first[..., 0]], axis=1),
        }
        return [values[name] for name in outputs]


def spec(*, further: tuple[float, ...] = (), kinds: tuple[str, ...] = ()) -> BundleSpec:
    return judging.spec(
        crop=CropSpec(size=SIZE, further_scales=further).model_dump(),
        input=InputSpec(height=SIZE, width=SIZE).model_dump(),
        kinds=kinds,
    )


def crops(*shape: int, count: int = 5) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (count, *shape), dtype=np.uint8))


def test_a_bundle_without_kinds_has_logits_alone() -> None:
    session = Mean()
    given = crops(SIZE, SIZE, 3)
    scores = Classifier(session, spec()).scores(given, still=False)
    assert [s.logit for s in scores] == pytest.approx([c.mean() for c in given])
    assert {s.kind_logits for s in scores} == {None}
    assert session.asked == [((LOGIT,), 1)] * 5


def test_several_squares_of_a_face_have_one_score() -> None:
    session = Mean()
    classifier = Classifier(session, spec(further=(0.8,), kinds=("a", "b")))
    assert classifier.shape == (2, SIZE, SIZE, 3)
    given = crops(2, SIZE, SIZE, 3)
    scores = classifier.scores(given, still=False)
    assert [count for _, count in session.asked] == [1] * 5
    for score, crop in zip(scores, given, strict=True):
        assert score.logit == pytest.approx(crop.mean())
        assert score.kind_logits == pytest.approx((crop.mean() / 2, crop.mean() * 2))
    with pytest.raises(ValueError, match="crops must be uint8"):
        classifier.scores(crops(SIZE, SIZE, 3), still=False)


def test_faces_are_scored_side_by_side_in_the_threads_of_the_pool() -> None:
    together = threading.Barrier(3)

    class Meeting(Mean):
        def run(self, *arguments: Any) -> list[NDArray[Any]]:
            together.wait(60)  # a run alone would wait until the time is over
            return super().run(*arguments)

    given = crops(SIZE, SIZE, 3, count=6)
    with ThreadPoolExecutor(3) as pool:
        scores = Classifier(Meeting(), spec(), pool=pool).scores(given, still=False)
    assert [s.logit for s in scores] == pytest.approx([c.mean() for c in given])


class Held(Mean):
    """Waits in its first run until it is released, and fails on white crops."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.released = threading.Event(), threading.Event()

    def run(self, names: Any, feed: Any) -> list[NDArray[Any]]:
        self.entered.set()
        assert self.released.wait(60)
        if (feed["crops"] == 255).all(axis=(1, 2, 3)).any():
            raise RuntimeError("white")
        return super().run(names, feed)


def test_a_face_that_fails_or_is_no_longer_wanted_affects_no_other() -> None:
    session, given = Held(), crops(SIZE, SIZE, 3, count=5)
    given[2][...] = 255
    classifier = Classifier(session, spec())
    first = classifier.begin(given[:1], still=False)
    assert session.entered.wait(60)
    rest = classifier.begin(given[1:], still=False)
    assert rest[0].cancel()
    session.released.set()
    assert first[0].result(60).logit == pytest.approx(given[0].mean())
    with pytest.raises(RuntimeError, match="white"):
        rest[1].result(60)
    remaining = [future.result(60).logit for future in rest[2:]]
    assert remaining == pytest.approx([c.mean() for c in given[3:]])


def test_the_graph_of_the_map_is_opened_for_a_map_alone() -> None:
    session, opened = Mean(), [Mean()]
    classifier = Classifier(session, spec(further=(0.8,)), open_map=opened.pop)
    given = crops(2, SIZE, SIZE, 3)
    classifier.scores(given, still=False)
    assert classifier.activation_maps([], still=False).size == 0
    assert opened, "opened without need"
    maps = classifier.activation_maps(given, still=False)
    assert not opened
    assert np.array_equal(maps, np.stack([c[0, ..., 0] for c in given]).astype(np.float32))
    opened.append(Mean())
    assert np.array_equal(classifier.activation_maps(given, still=True), -maps)
    assert all(names == (LOGIT,) for names, _ in session.asked)


def test_an_older_graph_has_the_map_itself() -> None:
    session = Mean()
    classifier = Classifier(session, spec())
    assert classifier.activation_maps(crops(SIZE, SIZE, 3), still=False).shape == (5, SIZE, SIZE)
    assert session.asked == [((ACTIVATION_MAP,), 1)] * 5


def test_a_value_that_is_not_finite_is_refused() -> None:
    class Broken(Mean):
        def run(self, *arguments: Any) -> list[NDArray[Any]]:
            return [np.full_like(values, np.nan) for values in super().run(*arguments)]

    with pytest.raises(BundleError, match="not finite"):
        Classifier(Broken(), spec()).scores(crops(SIZE, SIZE, 3), still=False)


def test_a_graph_without_a_map_gives_none() -> None:
    session: Any = Mean()
    session.output_names = (LOGIT,)
    classifier = Classifier(session, spec())
    assert classifier.activation_maps(crops(SIZE, SIZE, 3), still=False) is None
    assert classifier.scores(crops(SIZE, SIZE, 3), still=False)
