"""Which frames and faces the scorer examines, with stand-ins for the networks."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import Bundle
from deepfake_models.bundle.results import MediaFacts, ReasonCode, VerdictCode
from deepfake_models.bundle.spec import DetectorSpec
from deepfake_models.classifier import Classifier
from deepfake_models.errors import BundleError, DecoderFailed
from deepfake_models.faces.detection import Detection
from deepfake_models.media.interface import FailedFrame, Frame, OpenMedia
from deepfake_models.pipeline import Networks
from deepfake_models.scorer import Scorer
from tests.support import evaluation, footage
from tests.support.judging import spec


class Boxes:
    """A detector that always finds the same boxes."""

    def __init__(self, *boxes: tuple[float, float, float, float]) -> None:
        self.faces = [Detection(b, np.zeros((5, 2), np.float32), 0.99) for b in boxes]

    def detect(self, _: NDArray[np.uint8]) -> list[Detection]:
        return self.faces


class Brightness:
    """A classifier graph whose logit is the crop's mean brightness, scaled to -4..4."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def run(self, outputs: object, feed: dict[str, NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        crops = feed["crops"]
        self.batches.append(len(crops))
        return [(crops.mean(axis=(1, 2, 3), dtype=np.float32) - 127.5) / 32]


@dataclass
class Film:
    """Media of flat grey frames one second apart; ``broken`` ones cannot be decoded."""

    levels: Sequence[int]
    kind: str = "video"
    broken: frozenset[int] = frozenset()
    asked: list[int] = field(default_factory=list)
    shown_s: dict[int, float] = field(default_factory=dict)
    """How long frames are shown, other than one second."""

    @property
    def facts(self) -> MediaFacts:
        return MediaFacts(self.kind, 400, 300, sum(self._durations), len(self.levels), 0)

    @property
    def times(self) -> NDArray[np.float64]:
        return np.concatenate(([0.0], np.cumsum(self._durations[:-1])))

    @property
    def _durations(self) -> list[float]:
        return [self.shown_s.get(i, 1.0) for i in range(len(self.levels))]

    def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
        noise = np.random.default_rng(0).integers(-40, 41, (300, 400, 3))
        for i in indices:
            self.asked.append(i)
            if i in self.broken:
                yield FailedFrame(i, self.times[i], "damaged")
            else:
                pixels = np.clip(self.levels[i] + noise, 0, 255).astype(np.uint8)
                yield Frame(i, self.times[i], pixels)


class Player:
    """A decoder that opens one film, or fails."""

    def __init__(self, film: OpenMedia | None) -> None:
        self.film = film

    @contextmanager
    def open(self, source: BinaryIO, *, stills_only: bool = False) -> Iterator[OpenMedia]:
        if self.film is None:
            raise DecoderFailed
        yield self.film

    def close(self) -> None:
        """Free nothing: this decoder has no resources."""


THREADS = 3
MIDDLE = (100.0, 80.0, 220.0, 220.0)


def scorer(film: OpenMedia | None, finder: Boxes | None = None, **changes: object) -> Scorer:
    bundle = Bundle(Path(), spec(**changes), "0" * 64, {})
    pool = ThreadPoolExecutor(THREADS)
    classifier = Classifier(Brightness(), bundle.spec, pool=pool)  # type: ignore[arg-type]
    networks = Networks(finder or Boxes(MIDDLE), classifier, pool, THREADS)
    return Scorer(bundle, networks, Player(film))


def test_an_even_overview_and_a_dense_pass_where_a_face_is_suspect() -> None:
    levels = [60] * 200
    levels[100:103] = [230] * 3
    film = Film(levels)
    seen: list[tuple[int, int]] = []
    result = scorer(film).score(io.BytesIO(), progress=lambda *counts: seen.append(counts))
    overview = film.asked[:101]
    assert overview == sorted(overview)
    assert max(np.diff(overview)) <= 2
    dense = film.asked[101:]
    assert dense
    assert all(95 <= i <= 108 for i in dense)
    assert result.frames.sampled == len(film.asked)
    assert {total for _, total in seen} == {101, len(dense)}
    assert seen[-1] == (len(dense), len(dense))
    assert [f.time_s for f in result.faces] == sorted(f.time_s for f in result.faces)


@pytest.mark.parametrize("after", [30, 0])
def test_a_frame_that_is_shown_for_long_counts_for_as_long(after: int) -> None:
    """One manipulated frame for 56 of 58 s was one of 31, and nothing was found."""
    held = Film([20] * 30 + [230] + [20] * after, shown_s={30: 56.0})
    constant = Film([20] * 30 + [230] * 56 + [20] * after)
    result, expected = (scorer(film).score(io.BytesIO(), frames=60) for film in (held, constant))
    assert result.verdict is expected.verdict is not VerdictCode.NO_MANIPULATION_FOUND
    assert result.log_likelihood_ratio == pytest.approx(expected.log_likelihood_ratio, abs=0.1)
    assert result.frames.sampled == result.frames.with_face == len(held.asked)


@pytest.mark.parametrize("levels", [[230], [230, 230]])
def test_a_clip_of_one_or_two_frames_is_not_judged_however_long_it_shows_them(
    levels: list[int],
) -> None:
    film = Film(levels, shown_s=dict.fromkeys(range(len(levels)), 30.0))
    result = scorer(film).score(io.BytesIO())
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert [(r.code, r.detail) for r in result.reasons] == [
        (
            ReasonCode.TOO_FEW_FACES,
            f"{len(levels)} faces of this person could be judged; at least 3 are needed",
        )
    ]


def test_exactly_n_frames_and_no_more() -> None:
    film = Film([230] * 200)
    result = scorer(film).score(io.BytesIO(), frames=7)
    assert len(film.asked) == result.frames.sampled == 7
    assert film.asked[0] == 0
    assert film.asked[-1] == 199


def test_failed_frames_are_counted_and_widen_the_gap() -> None:
    film = Film([60] * 40, broken=frozenset(range(10, 30)))
    result = scorer(film).score(io.BytesIO())
    assert result.frames.failed >= 15
    assert result.frames.longest_gap_s >= 20.0
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert ReasonCode.COVERAGE in [r.code for r in result.reasons]
    (told,) = {r.detail for r in result.reasons if r.code is ReasonCode.FAILED_FRAMES}
    assert told.endswith("sampled frames could not be decoded or differ in size from the first")


def test_a_still_in_an_animation_is_examined_while_it_is_shown() -> None:
    film = footage.animation(footage.panning(40, 120, 90), "GIF", [500] * 20 + [12000] + [500] * 19)
    with footage.opened(film) as media:
        assert max(np.diff(media.times)) == 12.0
        result = scorer(media).score(io.BytesIO())
    assert result.frames.longest_gap_s <= 2.0
    assert ReasonCode.COVERAGE not in [r.code for r in result.reasons]


def test_a_picture_that_cannot_be_decoded_is_not_called_faceless() -> None:
    result = scorer(Film([60], kind="image", broken=frozenset({0}))).score(io.BytesIO())
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert [r.code for r in result.reasons] == [ReasonCode.UNDECODABLE]


def test_a_failed_decoder_is_a_reason_not_an_exception() -> None:
    result = scorer(None).score(io.BytesIO())
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert [r.code for r in result.reasons] == [ReasonCode.DECODER_FAILED]
    assert result.score is None


def test_the_widest_faces_of_a_crowd_are_judged_and_the_item_is_inconclusive() -> None:
    crowd = Boxes(*[(10.0 + 60 * i, 80.0, 62.0 + 61 * i, 150.0) for i in range(5)])
    limited = DetectorSpec(max_faces=3).model_dump()
    result = scorer(Film([60], kind="image"), crowd, detector=limited).score(io.BytesIO())
    assert [f.score is None for f in result.faces] == [True, True, False, False, False]
    assert result.faces[0].reasons[0].code is ReasonCode.TOO_MANY_FACES
    assert result.verdict is VerdictCode.INCONCLUSIVE


def test_a_face_without_a_known_up_is_not_scored() -> None:
    finder = Boxes(MIDDLE)
    finder.faces = [replace(f, turn=None) for f in finder.faces]
    result = scorer(Film([60], kind="image"), finder).score(io.BytesIO())
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert [r.code for r in result.reasons] == [ReasonCode.ROTATED]
    assert result.faces[0].score is None


def test_a_turned_face_is_scored_upright_and_published_with_its_turn() -> None:
    tested, film = scorer(None, Boxes(MIDDLE)), Film([60])
    (frame,) = film.frames([0])
    assert isinstance(frame, Frame)
    (upright,) = tested.observe(frame.pixels, 0.0)
    finder = Boxes(MIDDLE)
    finder.faces = [replace(f, turn=90) for f in finder.faces]
    (turned,) = scorer(None, finder).observe(frame.pixels, 0.0)
    assert upright.crop is not None
    assert turned.crop is not None
    assert np.array_equal(turned.crop, np.rot90(upright.crop, -1))
    result = scorer(Film([60], kind="image"), finder).score(io.BytesIO())
    assert result.to_json(faces=True)["faces"][0]["turn"] == 90
    result = scorer(Film([60], kind="image")).score(io.BytesIO())
    assert "turn" not in result.to_json(faces=True)["faces"][0]


@pytest.mark.parametrize(("most_pixels", "held"), [(2 * 300 * 400, 2), (10**9, THREADS + 1)])
def test_few_frames_are_held_at_a_time(
    monkeypatch: pytest.MonkeyPatch, most_pixels: int, held: int
) -> None:
    monkeypatch.setattr("deepfake_models.pipeline.MAX_PIXELS", most_pixels)
    film = Film([60] * 40)
    tested = scorer(film)
    ahead: list[int] = []
    observe = tested.observe

    def counted(picture: NDArray[np.uint8], time_s: float):  # type: ignore[no-untyped-def]
        ahead.append(len(film.asked) - int(time_s))
        return observe(picture, time_s)

    monkeypatch.setattr(tested, "observe", counted)
    tested.score(io.BytesIO(), frames=40)
    assert len(ahead) == 40
    assert max(ahead) <= held + 1  # the next frame is decoded while these are examined


def test_frames_are_examined_side_by_side_and_judged_in_order() -> None:
    together = threading.Barrier(THREADS)

    class Meeting(Boxes):
        def detect(self, picture: NDArray[np.uint8]) -> list[Detection]:
            together.wait(60)  # a frame alone would wait until the time is over
            return super().detect(picture)

    result = scorer(Film(range(60, 60 + 3 * THREADS)), Meeting(MIDDLE)).score(
        io.BytesIO(), frames=3 * THREADS
    )
    assert [f.time_s for f in result.faces] == [float(i) for i in range(3 * THREADS)]


def test_an_error_of_a_network_is_raised_and_ends_the_examination() -> None:
    class Failing(Boxes):
        def detect(self, _: NDArray[np.uint8]) -> list[Detection]:
            raise RuntimeError("the graph failed")

    film = Film([60] * 200)
    with pytest.raises(RuntimeError, match="the graph failed"):
        scorer(film, Failing(MIDDLE)).score(io.BytesIO())
    assert len(film.asked) <= THREADS + 2


def test_media_that_fail_halfway_are_a_reason_not_an_exception() -> None:
    class Torn(Film):
        def frames(self, indices: Sequence[int]) -> Iterator[Frame | FailedFrame]:
            yield from super().frames(indices[:5])
            raise DecoderFailed

    result = scorer(Torn([60] * 40)).score(io.BytesIO())
    assert [r.code for r in result.reasons] == [ReasonCode.DECODER_FAILED]


def test_a_classifier_without_the_kinds_of_its_bundle_is_refused_when_it_is_opened(
    tmp_path: Path,
) -> None:
    evaluation.tiny_bundle(tmp_path, kinds=("swap", "synthesis"))
    with pytest.raises(BundleError, match=r"classifier\.onnx: has no output kind_logits"):
        Scorer.open(tmp_path, device="cpu")
