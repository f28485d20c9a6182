"""Histograms of the values of held-out media."""

from __future__ import annotations

import pandas as pd
import pytest

from deepfake_eval.analysis.reliability import histograms, value_histogram
from deepfake_models.bundle.spec import Calibration, LevelCalibrations

Medium = tuple[str, str, str, float | None]


def items(*rows: Medium) -> pd.DataFrame:
    """Return rows of kind, label, group and value."""
    return pd.DataFrame(rows, columns=["kind", "label", "group", "log_likelihood_ratio"])


def spread(count: int, label: str, values: list[float | None], kind: str = "video") -> list[Medium]:
    return [(kind, label, f"{label} {n % count}", value) for n, value in enumerate(values)]


def test_media_are_counted_once_by_value_and_class() -> None:
    table = items(
        *spread(3, "real", [-9.0, -0.5, -0.5, -0.26, 0.0, None]),
        *spread(2, "fake", [-0.25, 0.49, 0.5, 9.0]),
        *spread(4, "fake", [0.1] * 4, kind="image"),
    )
    found = value_histogram(table, "video", 0.5, min_groups=2)
    assert found is not None
    assert found.edges == (-0.5, -0.25, 0.0, 0.25, 0.5)
    assert found.real == (4, 0, 1, 0)  # one without a value is not counted
    assert found.fake == (0, 1, 0, 3)
    assert (found.real_groups, found.fake_groups) == (3, 2)


@pytest.mark.parametrize("limit", [0.3, 2.3909351071033793, 3.0, 3.0962145853464054])
def test_the_bins_reach_to_the_limit_of_values(limit: float) -> None:
    table = items(*spread(2, "real", [-limit, 0.0]), *spread(2, "fake", [0.0, limit]))
    found = value_histogram(table, "video", limit, min_groups=2)
    assert found is not None
    assert -found.edges[0] == found.edges[-1] >= limit > found.edges[-1] - 0.25
    assert (found.real[0], found.fake[-1]) == (1, 1)


def test_too_few_groups_of_a_class_give_no_histogram() -> None:
    table = items(*spread(2, "real", [0.1] * 9), *spread(9, "fake", [0.2] * 9))
    assert value_histogram(table, "video", 1.0, min_groups=3) is None
    assert value_histogram(table, "image", 1.0, min_groups=1) is None
    level = Calibration(slope=1.0, intercept=0.0, limit=2.0, samples=1, groups=1)
    calibration = LevelCalibrations(face=level, track=level, item=level)
    assert histograms(table, calibration, min_groups=3) is None
    both = histograms(table, calibration, min_groups=2)
    assert both is not None
    assert both.picture is None
    assert both.item is not None
