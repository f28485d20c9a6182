"""The arithmetic of a fitted head."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_training.train.head import Head

pytestmark = pytest.mark.torch

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(5, 2, 3)).astype(np.float16)
HEAD = Head(RNG.normal(size=6), 0.5, RNG.normal(size=(2, 6)), np.array([1.0, -1.0]))


def test_logits_read_one_square_after_the_other() -> None:
    expected = [
        float(face[0] @ HEAD.weight[:3] + face[1] @ HEAD.weight[3:]) + 0.5
        for face in FEATURES.astype(np.float64)
    ]
    assert HEAD.logits(FEATURES) == pytest.approx(expected, abs=1e-5)
    kinds = FEATURES.reshape(5, 6).astype(np.float64) @ HEAD.kind_weight.T + [1.0, -1.0]
    assert HEAD.kind_logits(FEATURES) == pytest.approx(kinds, abs=1e-5)


@pytest.mark.parametrize("shape", [(0, 2, 3), (0, 1, 0)])
def test_no_face_has_no_logit(shape: tuple[int, ...]) -> None:
    nothing = np.zeros(shape, np.float16)
    assert HEAD.logits(nothing).shape == (0,)
    assert HEAD.kind_logits(nothing).shape == (0, 2)
    assert Head(HEAD.weight, 0.5).kind_logits(nothing).shape == (0, 0)


def test_the_saved_state_gives_the_same_head() -> None:
    again = Head.of(HEAD.state())
    assert np.array_equal(again.logits(FEATURES), HEAD.logits(FEATURES))
    assert np.array_equal(again.kind_logits(FEATURES), HEAD.kind_logits(FEATURES))
    assert Head.of(Head(HEAD.weight, 0.5).state()).kinds == 0
