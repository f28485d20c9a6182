"""Faces that fill the picture or are turned in it, found in copies of the picture."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import matplotlib.cbook
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from deepfake_models.bundle.bundle import load_bundle
from deepfake_models.bundle.session import OnnxSession
from deepfake_models.bundle.spec import CropSpec, DetectorSpec
from deepfake_models.faces.copies import Copy, copies, merge_copies, side_of_copies, turn_of
from deepfake_models.faces.crops import cut, usable, visible_share
from deepfake_models.faces.detection import Detection, scaled_to_each
from deepfake_models.faces.mtcnn import MtcnnDetector

Picture = NDArray[np.uint8]

BORDERED = DetectorSpec(border=1 / 3)
UPRIGHT = DetectorSpec(border=1 / 3, turn_above=60)
CROP = CropSpec()
LANDMARKS = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)


@pytest.fixture(scope="module")
def sessions() -> list[OnnxSession]:
    graphs = load_bundle().graphs
    names = ("pnet.onnx", "rnet.onnx", "onet.onnx")
    return [OnnxSession(graphs[name], device="cpu", threads=1) for name in names]


@pytest.fixture(scope="module")
def portraits() -> dict[str, Picture]:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        hopper = np.asarray(Image.open(file).convert("RGB"))
    return {"astronaut": np.asarray(data.astronaut()), "hopper": hopper}


TIGHT = {"astronaut": (185, 80, 265, 165), "hopper": (184, 135, 346, 330)}
"""Rectangles within the faces, without hair and chin: x0, y0, x1, y1."""


def tight(portraits: dict[str, Picture], name: str) -> Picture:
    x0, y0, x1, y1 = TIGHT[name]
    return np.ascontiguousarray(portraits[name][y0:y1, x0:x1])


@pytest.mark.parametrize("name", TIGHT)
def test_a_face_that_fills_the_picture_is_found_with_a_border(
    sessions: list[OnnxSession], portraits: dict[str, Picture], name: str
) -> None:
    picture = tight(portraits, name)
    height, width = picture.shape[:2]
    plain = MtcnnDetector(*sessions, DetectorSpec()).detect(picture)
    assert usable(plain, picture, CROP) == []
    (face,) = usable(MtcnnDetector(*sessions, BORDERED).detect(picture), picture, CROP)
    assert visible_share(face.box, width, height) > 0.6
    (whole,) = MtcnnDetector(*sessions, DetectorSpec()).detect(portraits[name])
    corner = np.array(TIGHT[name][:2])
    # Coordinates are the picture's: the landmarks lie where the whole portrait has them.
    assert face.landmarks + corner == pytest.approx(whole.landmarks, abs=0.12 * width)
    assert cut(picture, face.box, CROP).shape == (224, 224, 3)


@pytest.mark.parametrize(("name", "quarters"), list(product(TIGHT, range(4))))
def test_a_turned_face_is_cut_upright(
    sessions: list[OnnxSession], portraits: dict[str, Picture], name: str, quarters: int
) -> None:
    picture = tight(portraits, name)
    detector = MtcnnDetector(*sessions, UPRIGHT)
    (upright,) = usable(detector.detect(picture), picture, CROP)
    turned = np.ascontiguousarray(np.rot90(picture, quarters))
    (face,) = usable(detector.detect(turned), turned, CROP)
    assert (upright.turn, face.turn) == (0, 90 * quarters)
    expected = cut(picture, upright.box, CROP).astype(float)
    crop = cut(turned, face.box, CROP, face.turn or 0)
    assert np.abs(crop - expected).mean() < 2


@pytest.mark.parametrize("degrees", [-50, -40, -30, 30, 40, 50])
def test_a_tilted_face_is_not_turned(
    sessions: list[OnnxSession], portraits: dict[str, Picture], degrees: int
) -> None:
    tilted = np.asarray(Image.fromarray(portraits["hopper"]).rotate(degrees, expand=True))
    faces = MtcnnDetector(*sessions, UPRIGHT).detect(tilted)
    assert max(faces, key=lambda f: f.box[2] - f.box[0]).turn == 0


def test_faces_inside_the_picture_keep_their_boxes_to_the_last_bit(
    sessions: list[OnnxSession], portraits: dict[str, Picture]
) -> None:
    pictures = [*portraits.values(), np.hstack([portraits["astronaut"]] * 2)]
    for spec in (BORDERED, UPRIGHT):
        for picture in pictures:
            before = MtcnnDetector(*sessions, DetectorSpec()).detect(picture)
            after = MtcnnDetector(*sessions, spec).detect(picture)
            assert [f.box for f in after] == [f.box for f in before]
            assert [f.landmarks.tolist() for f in after] == [f.landmarks.tolist() for f in before]
            assert {f.turn for f in after} == {0}


def test_no_copy_is_examined_by_default(
    portraits: dict[str, Picture], sessions: list[OnnxSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert DetectorSpec() == DetectorSpec(border=0.0, turn_above=None)
    assert DetectorSpec.model_validate(BORDERED.model_dump(mode="json")) == BORDERED
    assert side_of_copies(512, 512, DetectorSpec()) is None
    assert list(copies(portraits["astronaut"], (512, 512), DetectorSpec())) == []
    monkeypatch.setattr("deepfake_models.faces.mtcnn.merge_copies", None)
    assert len(MtcnnDetector(*sessions, DetectorSpec()).detect(portraits["astronaut"])) == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 900), st.integers(1, 900), st.sampled_from([BORDERED, UPRIGHT]))
def test_points_of_a_copy_are_mapped_back(height: int, width: int, spec: DetectorSpec) -> None:
    picture = np.zeros((height, width, 3), np.uint8)
    views = copies_of(picture, spec)
    assert [v.view.quarters for v in views] == ([0] if spec is BORDERED else [0, 1, 2, 3])
    for view in views:
        h, w = view.view.size
        assert max(h, w) <= spec.long_side + 2
        # The corners of the picture, clockwise from its top left, are where the turn took them.
        b = view.border
        corners = np.array([[b, b], [w - b, b], [w - b, h - b], [b, h - b]], np.float32)
        expected = np.array([[0, 0], [width, 0], [width, height], [0, height]])
        restored = view.restored(corners)
        assert restored == pytest.approx(np.roll(expected, view.view.quarters, axis=0), abs=1e-3)


def test_a_copy_is_turned_clockwise() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[0, 0] = 255
    (copy,) = (c for c in copies_of(picture, spec_with(turn_above=60)) if c.view.quarters == 1)
    assert copy.view.size == (6, 4)
    # The white pixel is now the last of the first row.
    assert (copy.view.resized(6, 4)[:, 0] > 0).tolist() == [[False, False, False, True]] * 3


def copies_of(picture: Picture, spec: DetectorSpec) -> list[Copy]:
    """Return the copies of ``picture`` as the detector makes them."""
    height, width = picture.shape[:2]
    side = side_of_copies(height, width, spec)
    assert side is not None
    (small,) = scaled_to_each(picture, [side])
    return list(copies(small, (height, width), spec))


def spec_with(**changes: float) -> DetectorSpec:
    return DetectorSpec.model_validate(changes)


@pytest.mark.parametrize(
    ("angle", "turn"),
    [
        (0, 0),
        (59, 0),
        (-59, 0),
        (61, 270),
        (-61, 90),
        (100, 270),
        (-120, 90),
        (140, 180),
        (180, 180),
    ],
)
def test_the_landmarks_say_how_far_to_turn(angle: float, turn: int) -> None:
    assert turn_of(rotated(LANDMARKS, angle), 60) == turn


def rotated(points: NDArray[np.float32], degrees: float) -> NDArray[np.float32]:
    """Return ``points`` turned clockwise, as seen on a screen."""
    a = np.deg2rad(degrees)
    rotation = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return ((points - 50) @ rotation + 50).astype(np.float32)


def test_a_profile_is_upright_but_contradicting_landmarks_are_not_turned() -> None:
    profile = LANDMARKS.copy()
    profile[0], profile[1] = (48, 36), (50, 46)
    assert turn_of(profile, 60) == 0
    assert turn_of(rotated(profile, 120), 60) is None


def detection(confidence: float, *, x: float = 0.0, angle: float = 0.0) -> Detection:
    points = rotated(LANDMARKS, angle)
    return Detection((x, 0.0, x + 100.0, 100.0), points, confidence)


def test_a_turned_copy_must_be_clearly_surer() -> None:
    def turns(plain: float, turned: float) -> list[int | None]:
        extra = [(1, detection(turned, angle=-90))]
        return [f.turn for f in merge_copies([detection(plain)], extra, (200, 200), UPRIGHT)]

    assert turns(0.95, 0.999) == [90]
    assert turns(0.95, 0.96) == [None]
    assert turns(0.95, 0.94) == [0]


def test_a_turned_copy_is_compared_with_what_the_bordered_copy_says() -> None:
    upright = (0, detection(0.999))
    for turned, turn in ((0.99, 0), (0.9992, None), (0.9999, 90)):
        extra = [upright, (1, detection(turned, angle=-90))]
        faces = merge_copies([detection(0.95)], extra, (200, 200), UPRIGHT)
        assert [f.turn for f in faces] == [turn]


def test_a_face_that_only_a_turned_copy_shows_must_be_sure() -> None:
    for confidence, turns in ((0.96, []), (0.98, [90])):
        extra = [(1, detection(confidence, angle=-90))]
        assert [f.turn for f in merge_copies([], extra, (200, 200), UPRIGHT)] == turns


def test_a_copy_adds_faces_and_replaces_only_boxes_cut_by_the_edge() -> None:
    inside, crossing = detection(0.99, x=10), detection(0.99, x=-30)
    copy, elsewhere = detection(0.95, x=0), detection(0.95, x=110)
    for plain, expected in ((inside, [inside, elsewhere]), (crossing, [copy, elsewhere])):
        faces = merge_copies([plain], [(0, copy), (0, elsewhere)], (200, 250), BORDERED)
        assert [f.box for f in faces] == [f.box for f in expected]


def test_without_turning_no_face_has_a_turn() -> None:
    face = replace(detection(0.99), landmarks=rotated(LANDMARKS, 90))
    assert [f.turn for f in merge_copies([face], [], (200, 200), BORDERED)] == [0]
