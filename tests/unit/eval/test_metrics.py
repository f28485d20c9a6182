"""Rates and AUC with intervals clustered by group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binomtest, t
from sklearn.metrics import roc_auc_score

from deepfake_eval.analysis.intervals import fewest_groups, rate, resamples
from deepfake_eval.analysis.metrics import auc, auc_value


def test_a_few_large_groups_do_not_hide_behind_many_small_ones() -> None:
    groups = np.repeat(np.arange(12), [100, 100, *[1] * 10])
    estimate = rate(groups == 0, groups)
    assert estimate.low < 0.1
    assert estimate.high > 0.9


def test_independent_samples_give_the_exact_binomial_interval() -> None:
    hits = np.r_[np.zeros(50, bool)]
    estimate = rate(hits, np.arange(50))
    exact = binomtest(0, 50).proportion_ci(0.95, method="exact")
    assert estimate.value == 0.0
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high))


def test_copies_of_one_person_do_not_narrow_the_interval() -> None:
    people = np.arange(20)
    few = rate(np.zeros(20, bool), people)
    many = rate(np.zeros(2000, bool), people.repeat(100))
    assert many.high == pytest.approx(few.high)
    assert (many.samples, many.groups) == (2000, 20)
    hits = (people % 4 == 0).repeat(100)
    assert rate(hits, people.repeat(100)).high > rate(hits, np.arange(2000)).high + 0.1


@pytest.mark.parametrize("group", [[1, 0], [1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0, 0]])
def test_groups_with_equal_shares_count_alike_whatever_rounding_leaves(group: list[int]) -> None:
    # The deviations of a half add up to 0 exactly, those of a third do not.
    hits = group * 12
    estimate = rate(hits, np.repeat(np.arange(12), len(group)))
    exact = binomtest(sum(hits), len(hits)).proportion_ci(0.95, method="exact")
    assert (estimate.low, estimate.high) == pytest.approx((exact.low, exact.high))


def test_one_group_proves_nothing() -> None:
    estimate = rate(np.ones(100, bool), np.zeros(100))
    assert (estimate.value, estimate.low, estimate.high) == (1.0, 0.0, 1.0)


def test_no_samples() -> None:
    estimate = rate([], [])
    assert np.isnan(estimate.value)
    assert (estimate.low, estimate.high) == (0.0, 1.0)
    assert estimate.to_json()["value"] is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=60))
def test_the_interval_holds_the_value(rows: list[tuple[bool, int]]) -> None:
    estimate = rate([h for h, _ in rows], [g for _, g in rows])
    assert 0.0 <= estimate.low <= estimate.value + 1e-9
    assert estimate.value - 1e-9 <= estimate.high <= 1.0


def test_coverage_of_the_interval_under_clustering() -> None:
    """In 300 experiments with correlated groups, about 95% of intervals contain the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        by_group = rng.beta(1.0, 4.0, size=25)
        groups = np.arange(25).repeat(8)
        hits = rng.random(200) < by_group[groups]
        estimate = rate(hits, groups)
        held += estimate.low <= 0.2 <= estimate.high
    assert held >= 0.91 * 300


def test_coverage_of_the_interval_where_groups_differ_in_size() -> None:
    """A few large groups among small ones do not make intervals too narrow."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        sizes = np.minimum((2.0 * rng.pareto(1.1, 12) + 1.0).astype(int), 100)
        groups = np.arange(12).repeat(sizes)
        hits = rng.random(len(groups)) < rng.beta(1.0, 4.0, size=12)[groups]
        estimate = rate(hits, groups)
        held += estimate.low <= 0.2 <= estimate.high
    assert held >= 0.94 * 300


def test_groups_of_one_size_have_the_degrees_of_freedom_of_their_number() -> None:
    hits, groups = np.r_[1, 1, 0, 0, 1, np.zeros(15)], np.arange(20) // 4
    # The first group has two hits, the second has one: deff and t as in Korn and Graubard (1998).
    value, n, k = 0.15, 20, 5
    variance = k / (k - 1) * (1.4**2 + 0.4**2 + 3 * 0.6**2) / n**2
    effective = value * (1 - value) / variance * (t.ppf(0.025, n - 1) / t.ppf(0.025, k - 1)) ** 2
    estimate = rate(hits, groups)
    assert estimate.high == pytest.approx(
        beta.ppf(0.975, value * effective + 1, (1 - value) * effective)
    )


def test_auc_of_a_perfect_and_a_blind_ranking() -> None:
    truth = np.r_[np.zeros(40, int), np.ones(40, int)]
    for scores, value in ((truth, 1.0), (np.zeros(80), 0.5)):
        measured = auc(truth, scores, np.arange(80), draws=50)
        assert measured.value == value
        # All resamples agree, which says nothing of how uncertain the figure is.
        assert np.isnan([measured.low, measured.high]).all()


def test_auc_with_ties_equals_that_of_the_library() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 9, 200):
        truth = np.arange(count) % 2
        scores = rng.integers(6, size=count) / 4
        assert auc_value(truth, scores) == pytest.approx(roc_auc_score(truth, scores))
        assert auc_value(truth == 1, scores) == auc_value(truth, scores)


def test_auc_of_a_single_class_is_not_a_number() -> None:
    estimate = auc([1, 1], [0.2, 0.3], ["a", "b"])
    assert np.isnan(estimate.value)
    assert estimate.to_json()["value"] is None


def test_an_auc_has_an_interval_if_both_classes_have_two_groups() -> None:
    """With one person in a class, resampling would vary the other class alone."""
    truth, scores = np.r_[0, 0, 0, 0, 1, 1, 1, 1], np.r_[1.0, 2, 3, 5, 4, 6, 7, 8]
    for groups, fewest in (("abcdeeee", 1), ("aaaabcde", 1), ("abcdeeef", 2)):
        estimate = auc(truth, scores, list(groups), draws=50)
        assert estimate.value == pytest.approx(15 / 16)
        assert np.isfinite([estimate.low, estimate.high]).all() == (fewest > 1)
        assert fewest_groups(truth, list(groups)) == fewest
    assert fewest_groups([1, 1], ["a", "b"]) == 0


def test_shares_never_count_as_more_samples_than_there_are() -> None:
    people = np.arange(40)
    halves, bools = rate(np.full(40, 0.5), people), rate(people % 2 == 0, people)
    assert (halves.low, halves.high) == pytest.approx((bools.low, bools.high))


def test_bootstrap_resamples_whole_groups() -> None:
    seen = [set(rows.tolist()) for rows in resamples(["a", "b", "a", "b"], draws=20)]
    assert len(seen) == 20
    assert all(rows in ({0, 2}, {1, 3}, {0, 1, 2, 3}) for rows in seen)
