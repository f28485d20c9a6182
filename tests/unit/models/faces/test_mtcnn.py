"""The face detector with its real graphs, and its arithmetic compared with references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from deepfake_models.bundle.bundle import default_bundle_dir
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import DetectorSpec
from deepfake_models.faces import mtcnn as faces
from deepfake_models.faces.mtcnn import (
    Detection,
    MtcnnDetector,
    Overlap,
    suppress,
)
from tests.support import footage

Picture = NDArray[np.uint8]
SHAPES = {
    "pnet": [(1, 3, 12, 12), (2, 3, 97, 61)],
    "rnet": [(1, 3, 24, 24), (7, 3, 24, 24)],
    "onet": [(1, 3, 48, 48), (7, 3, 48, 48)],
}
"""Of the inputs on which each graph is compared with its network in torch."""


@pytest.fixture(scope="session")
def sessions() -> list[OnnxSession]:
    paths = [default_bundle_dir() / f"{name}.onnx" for name in SHAPES]
    return [OnnxSession(p.read_bytes(), device="cpu", threads=1) for p in paths]


@pytest.fixture(scope="session")
def detector(sessions: list[OnnxSession]) -> MtcnnDetector:
    return MtcnnDetector(*sessions, DetectorSpec())


@pytest.fixture(scope="session")
def astronaut() -> Picture:
    return footage.astronaut()


@pytest.fixture(scope="session")
def hopper() -> Picture:
    return footage.grace_hopper()


def assert_face_within(face: Detection, x0: float, y0: float, x1: float, y1: float) -> None:
    """Assert that the face is inside the rectangle and fills a large part of it."""
    bx0, by0, bx1, by1 = face.box
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    for x, y in [*face.landmarks, ((bx0 + bx1) / 2, (by0 + by1) / 2)]:
        assert x0 < x < x1
        assert y0 < y < y1
    assert 0.25 < (bx1 - bx0) * (by1 - by0) / ((x1 - x0) * (y1 - y0)) < 1.2
    assert left_eye[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def test_astronaut_is_found_once(detector: MtcnnDetector, astronaut: Picture) -> None:
    (face,) = detector.detect(astronaut)
    assert_face_within(face, 165, 55, 285, 210)
    assert face.landmarks.shape == (5, 2)
    assert face.landmarks.dtype == np.float32
    assert face.confidence > 0.99


def test_grace_hopper_is_found(detector: MtcnnDetector, hopper: Picture) -> None:
    (face,) = detector.detect(hopper)
    assert_face_within(face, 160, 100, 370, 370)


def test_two_people_are_two_faces_most_confident_first(
    detector: MtcnnDetector, astronaut: Picture, hopper: Picture
) -> None:
    both = np.zeros((600, 1024, 3), np.uint8)
    both[:512, :512] = astronaut
    both[:600, 512:] = hopper[:600, :512]
    detections = detector.detect(both)
    confidences = [f.confidence for f in detections]
    assert confidences == sorted(confidences, reverse=True)
    left, right = sorted(detections, key=lambda f: f.box[0])
    assert_face_within(left, 165, 55, 285, 210)
    assert_face_within(right, 160 + 512, 100, 370 + 512, 370)


def test_enlarged_picture_gives_boxes_in_its_own_pixels(
    detector: MtcnnDetector, astronaut: Picture
) -> None:
    size = (512 * 3, 512 * 3)
    large = np.asarray(Image.fromarray(astronaut).resize(size, Image.Resampling.BICUBIC))
    (face,) = detector.detect(large)
    (original,) = detector.detect(astronaut)
    # Found at two different scales, so a box may differ by a few percent of the face's width.
    width = original.box[2] - original.box[0]
    assert np.array(face.box) / 3 == pytest.approx(np.array(original.box), abs=0.08 * width)
    assert face.landmarks / 3 == pytest.approx(original.landmarks, abs=0.04 * width)


def test_axes_are_mapped_back_separately(detector: MtcnnDetector, astronaut: Picture) -> None:
    strip = np.zeros((512, 2049, 3), np.uint8)
    strip[:, -512:] = astronaut
    (face,) = detector.detect(strip)
    assert_face_within(face, 165 + 1537, 55, 285 + 1537, 210)


def crowd(astronaut: Picture, side: int) -> Picture:
    face = Image.fromarray(astronaut[0:260, 90:350]).resize((side, side))
    return np.tile(np.asarray(face), (640 // side, 640 // side, 1))


def test_every_face_of_a_crowd_is_found(detector: MtcnnDetector, astronaut: Picture) -> None:
    detections = detector.detect(crowd(astronaut, 64))
    cells = {(int(f.landmarks[2, 0] // 64), int(f.landmarks[2, 1] // 64)) for f in detections}
    assert len(detections) == len(cells) == 100


class Counting:
    """A session that counts the candidates that pass through it."""

    def __init__(self, session: OnnxSession) -> None:
        self.session = session
        self.batches: list[int] = []

    def run(
        self, outputs: Sequence[str] | None, feed: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        self.batches.append(len(feed["pixels"]))
        return self.session.run(outputs, feed)


def test_candidates_are_bounded_in_number_and_batch(
    sessions: list[OnnxSession], astronaut: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "MAX_CANDIDATES", 150)
    monkeypatch.setattr(faces, "CROPS_AT_ONCE", {24: 40, 48: 20})
    rnet, onet = Counting(sessions[1]), Counting(sessions[2])
    detector = MtcnnDetector(sessions[0], rnet, onet, DetectorSpec())
    assert detector.detect(crowd(astronaut, 64))
    assert 40 < sum(rnet.batches) <= 150
    assert max(rnet.batches) == 40
    assert sum(onet.batches) <= 150
    assert max(onet.batches) == 20


@pytest.mark.parametrize(("long_side", "count"), [(80, 0), (512, 1)])
def test_long_side_bounds_the_scale_searched(
    sessions: list[OnnxSession], astronaut: Picture, long_side: int, count: int
) -> None:
    # Her face is 80 pixels wide in 512, so 12 in 80: far below the smallest searched for.
    detector = MtcnnDetector(*sessions, DetectorSpec(long_side=long_side, min_face=40))
    assert len(detector.detect(astronaut)) == count


def test_faces_below_the_confidence_are_dropped(
    sessions: list[OnnxSession], detector: MtcnnDetector, astronaut: Picture
) -> None:
    (face,) = detector.detect(astronaut)
    assert face.confidence < 1
    for limit, count in ((face.confidence, 1), (1.0, 0)):
        strict = MtcnnDetector(*sessions, DetectorSpec(min_confidence=limit))
        assert len(strict.detect(astronaut)) == count


def degenerate() -> dict[str, Picture]:
    noise = np.random.default_rng(7).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    shapes = {"1x1": (1, 1), "12x12": (12, 12), "19x500": (19, 500), "20x20": (20, 20)}
    shapes |= {"1x5000": (1, 5000), "5000x1": (5000, 1), "21x5000": (21, 5000)}
    return {
        "black": np.zeros((240, 320, 3), np.uint8),
        "white": np.full((240, 320, 3), 255, np.uint8),
        "noise": noise,
        "coarse noise": noise[:24, :32].repeat(10, 0).repeat(10, 1),
        "checkerboard": np.tile(np.indices((200, 200)).sum(0)[..., None] % 2 * 255, 3).astype("u1"),
    } | {name: np.resize(noise, (*shape, 3)) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", degenerate())
def test_picture_without_a_face_gives_none(detector: MtcnnDetector, name: str) -> None:
    assert detector.detect(degenerate()[name]) == []


def test_views_that_are_not_contiguous(detector: MtcnnDetector, astronaut: Picture) -> None:
    padded = np.zeros((512 * 2, 512 * 2, 4), np.uint8)
    padded[::2, ::2, :3] = astronaut
    assert len(detector.detect(padded[::2, ::2, :3])) == 1


def brute_force(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float, overlap: Overlap
) -> list[int]:
    """Suppress greedily as in textbooks, one pair at a time, with exact integer areas."""
    pixel = 1 if overlap == "min" else 0

    def area(box: list[int]) -> int:
        return (box[2] - box[0] + pixel) * (box[3] - box[1] + pixel)

    def clash(a: list[int], b: list[int]) -> bool:
        wide = min(a[2], b[2]) - max(a[0], b[0]) + pixel
        high = min(a[3], b[3]) - max(a[1], b[1]) + pixel
        if wide <= 0 or high <= 0:
            return False
        common = wide * high
        whole = min(area(a), area(b)) if overlap == "min" else area(a) + area(b) - common
        return bool(common / whole > threshold)

    rows = boxes.astype(int).tolist()
    remaining: list[int] = []
    first_of_ties = -1 if overlap == "min" else 1
    for i in sorted(range(len(rows)), key=lambda i: (-float(scores[i]), first_of_ties * i)):
        if not any(clash(rows[i], rows[j]) for j in remaining):
            remaining.append(i)
    return remaining


@st.composite
def boxes_and_scores(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    corner, side = st.integers(-20, 60), st.integers(1, 50)
    rows = draw(st.lists(st.tuples(corner, corner, side, side), max_size=60))
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in rows], np.float32).reshape(-1, 4)
    # Few distinct values, so that ties are common.
    scores = draw(st.lists(st.integers(0, 12), min_size=len(rows), max_size=len(rows)))
    return boxes, np.array(scores, np.float32) / 12


@given(
    case=boxes_and_scores(),
    # Not reachable as a ratio of the small areas above, so rounding cannot decide.
    threshold=st.sampled_from([0.30001, 0.50001, 0.70001]),
    overlap=st.sampled_from(["union", "min"]),
)
def test_suppression_equals_the_textbook_algorithm(
    case: tuple[NDArray[np.float32], NDArray[np.float32]], threshold: float, overlap: Overlap
) -> None:
    boxes, scores = case
    remaining = suppress(boxes, scores, threshold, overlap)
    assert remaining.tolist() == brute_force(boxes, scores, threshold, overlap)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), overlap=st.sampled_from(["union", "min"]))
def test_suppression_of_more_boxes_than_one_block(seed: int, overlap: Overlap) -> None:
    rng = np.random.default_rng(seed)
    corner, side = rng.integers(0, 200, (700, 2)), rng.integers(5, 60, (700, 2))
    boxes = np.hstack([corner, corner + side]).astype(np.float32)
    scores = rng.random(700, dtype=np.float32)
    remaining = suppress(boxes, scores, 0.50001, overlap)
    assert remaining.tolist() == brute_force(boxes, scores, 0.50001, overlap)


@pytest.mark.torch
def test_the_graphs_compute_what_facenet_pytorch_does(sessions: list[OnnxSession]) -> None:
    """Their weights are those in its wheel: the published ones of Zhang et al. 2016
    (arXiv:1604.02878), converted by David Sandberg's facenet."""
    torch = pytest.importorskip("torch")
    networks = pytest.importorskip("facenet_pytorch.models.mtcnn")
    weights = Path(networks.__file__).parents[1] / "data"
    generator = torch.Generator().manual_seed(0)
    for (name, shapes), session in zip(SHAPES.items(), sessions, strict=True):
        network = getattr(networks, f"{name[0].upper()}Net")(pretrained=False).eval()
        network.load_state_dict(torch.load(weights / f"{name}.pt", weights_only=True))
        for shape in shapes:
            # Uniformly distributed over the range of normalised pixels, (x - 127.5) / 128.
            pixels = torch.rand(shape, generator=generator) * 2 - 1
            with torch.no_grad():
                # The regression, the landmarks if any, and the probabilities.
                regression, *points, probabilities = network(pixels)
            outputs = ["probability", "regression", *(["landmarks"] if points else [])]
            landmarks = [p.reshape(-1, 2, 5).transpose(1, 2) for p in points]
            got = session.run(outputs, {"pixels": pixels.numpy()})
            for have, want in zip(got, (probabilities[:, 1], regression, *landmarks), strict=True):
                assert have.shape == tuple(want.shape)
                assert np.abs(have - want.numpy()).max() <= 1e-4
