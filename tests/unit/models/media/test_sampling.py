from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_models.bundle.spec import SamplingSpec
from deepfake_models.media.sampling import densify, longest_gap, sample, sample_within

SPEC = SamplingSpec()


def clip(seconds: float, rate: float = 25.0) -> np.ndarray:
    return np.arange(round(seconds * rate)) / rate


variable = st.lists(st.floats(0.001, 30.0), min_size=0, max_size=80).map(
    lambda gaps: np.concatenate(([0.0], np.cumsum(gaps)))
)


def test_a_frame_every_interval_from_first_to_last() -> None:
    times = clip(200.04)
    chosen = sample(times, SPEC)
    assert len(chosen) == 101
    assert chosen[0] == 0
    assert chosen[-1] == len(times) - 1
    assert longest_gap(times, chosen) <= SPEC.interval_s + 0.04


def test_at_least_min_frames() -> None:
    assert len(sample(clip(3), SPEC)) == 32


def test_at_most_max_frames() -> None:
    chosen = sample(clip(7200, 5), SPEC)
    assert len(chosen) == 600
    assert chosen[-1] == 7200 * 5 - 1


def test_every_frame_of_a_short_clip() -> None:
    assert sample(clip(1, 10), SPEC) == list(range(10))


def test_exact_number_is_spread_evenly_and_not_the_first_n() -> None:
    times = clip(101 / 25)
    assert sample(times, SPEC, 5) == [0, 25, 50, 75, 100]


def test_one_frame_is_the_middle_one() -> None:
    assert sample(clip(101 / 25), SPEC, 1) == [50]


def test_still() -> None:
    assert sample(np.zeros(1), SPEC) == [0]
    assert sample(np.zeros(1), SPEC, 8) == [0]


@pytest.mark.parametrize("frames", [0, -1])
def test_fewer_than_one_frame_is_refused(frames: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        sample(clip(1), SPEC, frames)


def test_variable_rate_is_spread_in_time_and_not_by_count() -> None:
    """1000 frames in one second are followed by 99 seconds at one frame a second."""
    times = np.concatenate((np.arange(1000) / 1000, 1.0 + np.arange(100)))
    chosen = sample(times, SPEC, 51)
    assert sum(i < 1000 for i in chosen) == 1
    assert longest_gap(times, chosen) <= 3.0


def test_a_long_still_passage_does_not_reduce_the_number_of_frames() -> None:
    times = np.concatenate((np.arange(100) / 25, [104.0]))
    chosen = sample(times, SPEC, 40)
    assert len(chosen) == 40
    assert len(set(chosen)) == 40
    assert (chosen[0], chosen[-1]) == (0, 100)


@given(times=variable, frames=st.one_of(st.none(), st.integers(1, 120)))
def test_sample_properties(times: np.ndarray, frames: int | None) -> None:
    chosen = sample(times, SPEC, frames)
    assert chosen == sorted(set(chosen))
    assert 0 <= chosen[0] <= chosen[-1] < len(times)
    if frames is not None:
        assert len(chosen) == min(frames, len(times))
    else:
        assert len(chosen) >= min(SPEC.min_frames, len(times))
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (0, len(times) - 1)
    assert chosen == sample(times, SPEC, frames)


def test_of_a_part_every_frame_is_chosen_that_is_shown_in_it() -> None:
    times = clip(60)
    for most in (None, 600):
        assert sample_within(times, (10.0, 20.0), SPEC, most) == list(range(250, 501))
    assert sample_within(times, (10.0, 20.0), SPEC, 11) == list(range(250, 501, 25))
    assert sample_within(np.array([0.0, 30.0]), (10.0, 20.0), SPEC) == [0]
    assert sample_within(times, (70.0, 80.0), SPEC) == [1499]
    assert sample_within(np.zeros(0), (0.0, 5.0), SPEC) == []


def test_densify_samples_around_the_moment() -> None:
    times = clip(100)
    sampled = sample(times, SPEC)
    extra = densify(times, sampled, [50.0], SPEC)
    assert not set(extra) & set(sampled)
    near = times[extra]
    assert near.min() >= 50 - SPEC.interval_s - 0.02
    assert near.max() <= 50 + SPEC.interval_s + 0.02
    both = np.sort(times[sorted({*extra, *sampled})])
    window = both[(both >= 48) & (both <= 52)]
    assert np.diff(window).max() <= SPEC.dense_interval_s + 0.05


def test_densify_respects_the_limit_and_prefers_near_then_more_suspect_frames() -> None:
    times = clip(100)
    spec = SPEC.model_copy(update={"dense_max_frames": 3})
    extra = densify(times, [], [80.0, 20.0], spec)
    assert extra == [500, 1987, 2000]


def test_densify_without_suspects_or_budget() -> None:
    times = clip(10)
    assert densify(times, [0], [], SPEC) == []
    none = SPEC.model_copy(update={"dense_max_frames": 0})
    assert densify(times, [0], [5.0], none) == []


@given(
    times=variable,
    suspects=st.lists(st.floats(0, 100), max_size=20),
    cap=st.integers(0, 10),
)
def test_densify_properties(times: np.ndarray, suspects: list[float], cap: int) -> None:
    spec = SPEC.model_copy(update={"dense_max_frames": cap})
    sampled = sample(times, spec, 5)
    extra = densify(times, sampled, suspects, spec)
    assert extra == sorted(set(extra))
    assert not set(extra) & set(sampled)
    assert len(extra) <= cap


def test_a_frame_that_stays_on_the_screen_is_no_gap() -> None:
    times = np.array([0.0, 1.0, 13.0, 14.0, 15.0])
    assert longest_gap(times, [0, 1, 2, 3, 4]) == 0.0
    assert longest_gap(times, [1, 2, 4]) == 2.0
    assert longest_gap(times, [0, 1, 3, 4]) == 13.0  # what followed the second frame is not known
    assert longest_gap(times, [2, 3, 4]) == 13.0
    assert longest_gap(np.array([0.0, 12.0]), [0]) == 12.0


def test_longest_gap_counts_the_ends() -> None:
    times = clip(10, 1)
    assert longest_gap(times, [4, 5]) == 4.0
    assert longest_gap(times, [0, 3, 9]) == 6.0
    assert longest_gap(times, []) == 9.0
    assert longest_gap(np.zeros(1), [0]) == 0.0
    assert longest_gap(np.zeros(0), []) == 0.0
