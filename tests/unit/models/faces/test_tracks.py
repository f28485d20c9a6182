"""Linking of faces into tracks."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_models.bundle.results import Box
from deepfake_models.bundle.spec import TrackSpec
from deepfake_models.faces.tracks import FrameFaces, iou, is_cut, link, signature

SPEC = TrackSpec()
ROOM = signature(np.full((120, 160, 3), 40, np.uint8))
STREET = signature(np.full((120, 160, 3), 220, np.uint8))


def at(x: float, y: float = 100.0, width: float = 60.0) -> Box:
    return (x, y, x + width, y + width * 1.2)


def frames(*rows: tuple[float, list[Box]], scene: np.ndarray = ROOM) -> list[FrameFaces]:
    return [FrameFaces(t, tuple(boxes), scene) for t, boxes in rows]


def test_two_people_keep_their_numbers_when_the_detector_swaps_their_order() -> None:
    left, right = at(50), at(400)
    labels = link(frames((0.0, [left, right]), (1.0, [right, left]), (2.0, [left, right])), SPEC)
    assert labels == [[0, 1], [1, 0], [0, 1]]


def test_a_walking_person_is_one_track() -> None:
    labels = link(frames(*[(i * 0.5, [at(50 + 25 * i)]) for i in range(12)]), SPEC)
    assert {n for row in labels for n in row} == {0}


def test_a_scene_cut_starts_a_new_track_in_the_same_place() -> None:
    labels = link([FrameFaces(0.0, (at(50),), ROOM), FrameFaces(1.0, (at(50),), STREET)], SPEC)
    assert labels == [[0], [1]]


def test_a_long_absence_starts_a_new_track_a_short_one_does_not() -> None:
    short = link(frames((0.0, [at(50)]), (2.0, []), (4.0, [at(52)])), SPEC)
    assert short == [[0], [], [0]]
    without = [(2.0 * n, []) for n in range(1, 5)]
    long = link(frames((0.0, [at(50)]), *without, (SPEC.max_gap_s + 2, [at(52)])), SPEC)
    assert long == [[0], [], [], [], [], [1]]


def test_frames_that_are_far_apart_do_not_split_a_track() -> None:
    """In a video of hours, sampled frames are ten seconds or more apart."""
    step = 3 * SPEC.max_gap_s
    seen = [(n * step, [] if n in (5, 9, 10) else [at(50 + n % 3)]) for n in range(13)]
    labels = link(frames(*seen), SPEC)
    assert labels == [[0]] * 5 + [[]] + [[0]] * 3 + [[], []] + [[1]] * 2


def test_a_face_of_another_size_is_another_person() -> None:
    assert link(frames((0.0, [at(50, width=40)]), (1.0, [at(50, width=140)])), SPEC) == [[0], [1]]


def test_no_two_faces_of_one_frame_share_a_track() -> None:
    crowd = [at(50), at(60), at(70), at(80)]
    for row in link(frames((0.0, crowd), (1.0, crowd), (2.0, crowd[:2])), SPEC):
        assert len(set(row)) == len(row)


def test_nothing_to_link() -> None:
    assert link([], SPEC) == []
    assert link(frames((0.0, []), (1.0, [])), SPEC) == [[], []]


def test_iou() -> None:
    assert iou((0, 0, 10, 10), (0, 0, 10, 10)) == 1.0
    assert iou((0, 0, 10, 10), (5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert iou((0, 0, 10, 10), (10, 0, 20, 10)) == 0.0


def test_cut_needs_a_change_of_colours_not_of_size() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert not is_cut(signature(picture), signature(picture[::2, ::2]), SPEC)
    assert is_cut(ROOM, STREET, SPEC)
    assert signature(picture).sum() == pytest.approx(1.0)
    assert signature(np.zeros((1, 1, 3), np.uint8)).sum() == pytest.approx(1.0)
