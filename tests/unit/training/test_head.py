"""The arithmetic of a fitted head."""

from __future__ import annotations

import numpy as np
import pytest

from deepfake_training.errors import TrainingError
from deepfake_training.train.head import Head

pytestmark = pytest.mark.torch

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(5, 2, 3)).astype(np.float16)
WITHOUT_KINDS = Head(
    RNG.normal(size=(2, 1, 3)), np.array([[0.5], [-0.25]]), np.array([[0.75], [0.5]])
)
WEIGHT = RNG.normal(size=(2, 4, 3))
BIAS = np.array([[0.25, 1.0, -1.0, 0.0], [0.0, 0.5, 0.0, -2.0]])
FACTOR = np.array([[0.5, 0.3], [0.25, 0.1]])
HEAD = Head(WEIGHT, BIAS, FACTOR, kinds=2)


def log_odds(face: np.ndarray, square: int) -> np.ndarray:
    """Return the log-odds of any manipulation and of three kinds at one square."""
    return WEIGHT[square] @ face[square].astype(np.float64) + BIAS[square]


def test_logits_read_one_square_after_the_other() -> None:
    expected = [
        0.75 * (float(face[0] @ WITHOUT_KINDS.weight[0, 0]) + 0.5)
        + 0.5 * (float(face[1] @ WITHOUT_KINDS.weight[1, 0]) - 0.25)
        for face in FEATURES.astype(np.float64)
    ]
    assert WITHOUT_KINDS.logits(FEATURES) == pytest.approx(expected, abs=1e-5)


def test_odds_of_all_kinds_add_up() -> None:
    expected, named = [], []
    for face in FEATURES:
        at = [log_odds(face, square) for square in range(2)]
        both = [(z[0], float(np.log(np.exp(z[1:]).sum()))) for z in at]
        expected.append(float((np.array(both) * FACTOR).sum()))
        named.append(0.75 * at[0][1:3] + 0.25 * at[1][1:3])
    assert HEAD.logits(FEATURES) == pytest.approx(expected, abs=1e-5)
    assert HEAD.kind_logits(FEATURES) == pytest.approx(np.array(named), abs=1e-5)


def test_a_kind_with_large_odds_does_not_overflow() -> None:
    head = Head(1e6 * WEIGHT, BIAS, FACTOR, kinds=2)
    assert np.isfinite(head.logits(FEATURES)).all()


@pytest.mark.parametrize("shape", [(0, 2, 3), (0, 1, 0)])
def test_no_face_has_no_logit(shape: tuple[int, ...]) -> None:
    nothing = np.zeros(shape, np.float16)
    assert HEAD.logits(nothing).shape == (0,)
    assert HEAD.kind_logits(nothing).shape == (0, 2)
    assert WITHOUT_KINDS.kind_logits(nothing).shape == (0, 0)


def test_the_saved_state_gives_the_same_head() -> None:
    again = Head.of(HEAD.state())
    assert np.array_equal(again.logits(FEATURES), HEAD.logits(FEATURES))
    assert np.array_equal(again.kind_logits(FEATURES), HEAD.kind_logits(FEATURES))
    assert Head.of(WITHOUT_KINDS.state()).kinds == 0


def test_the_state_of_an_earlier_version_is_refused() -> None:
    state = HEAD.state()
    del state["factor"]
    with pytest.raises(TrainingError, match="fitted by another version"):
        Head.of(state)
