"""Calibration of raw values to likelihood ratios and scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_models.bundle.spec import Calibration
from deepfake_models.decision.level import (
    log_likelihood_ratio,
    mean_log_likelihood_ratio,
    probability,
)

PLAIN = Calibration(slope=2.0, intercept=-1.0, limit=2.0, samples=10, groups=5)


def test_affine_map_in_log10() -> None:
    assert log_likelihood_ratio(1.5, PLAIN) == pytest.approx(2.0 / math.log(10))


def test_values_are_clipped_to_the_limit() -> None:
    assert log_likelihood_ratio(1e6, PLAIN) == 2.0
    assert log_likelihood_ratio(-1e6, PLAIN) == -2.0


def test_neutral_evidence_gives_the_prior() -> None:
    assert probability(0.0, 0.5) == 0.5
    assert probability(0.0, 0.01) == pytest.approx(0.01)


def test_ten_to_one_at_even_odds() -> None:
    assert probability(1.0, 0.5) == pytest.approx(10 / 11)


@given(st.floats(-300, 300), st.floats(0.001, 0.999))
def test_a_probability_never_overflows(ratio: float, prior: float) -> None:
    assert 0.0 <= probability(ratio, prior) <= 1.0


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_larger_values_give_larger_ratios(a: float, b: float) -> None:
    low, high = sorted((a, b))
    assert log_likelihood_ratio(low, PLAIN) <= log_likelihood_ratio(high, PLAIN)


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=20))
def test_the_mean_is_between_the_highest_ratio_and_its_share(ratios: list[float]) -> None:
    mean = mean_log_likelihood_ratio(ratios)
    assert max(ratios) - math.log10(len(ratios)) - 1e-9 <= mean <= max(ratios) + 1e-9


def test_the_mean_of_known_ratios() -> None:
    assert mean_log_likelihood_ratio([1.0]) == 1.0
    assert mean_log_likelihood_ratio([1.0, 0.0]) == pytest.approx(math.log10(5.5))
