"""A bundle whose thresholds decide nothing is found by its own figures."""

from __future__ import annotations

import math
from typing import Any

import pytest

from deepfake_models.bundle.bundle import BundleSpec, default_bundle_dir
from deepfake_models.decision.fitness import NOTICE, UnfitCode, marked_card, unfit
from tests.support import judging

FINDS_NOTHING, NOT_SEPARATED, FEW = UnfitCode


def found(
    *,
    conditions: Any = None,
    level: str = "item",
    groups: int = 20,
    limit: float = 3.0,
    **rates: float,
) -> list[tuple[str, UnfitCode]]:
    """Return the reasons for a bundle that differs in one level from one that is fit."""
    fields = judging.bundle_fields()
    fields["thresholds"][level] |= rates
    fields["calibration"][level] |= {"groups": groups, "limit": limit}
    if conditions is not None:
        fields["conditions"] = conditions.model_dump()
    return [(r.kind, r.code) for r in unfit(judging.spec(**fields))]


def test_the_shipped_bundle_is_fit_for_use() -> None:
    manifest = (default_bundle_dir() / "bundle.json").read_bytes()
    assert unfit(BundleSpec.model_validate_json(manifest)) == ()


@pytest.mark.parametrize(
    ("rates", "codes"),
    [
        ({"true_positive_rate": 0.0, "false_positive_rate_upper": 0.871}, [FINDS_NOTHING]),
        ({"true_positive_rate": 0.0}, [FINDS_NOTHING]),
        ({"true_positive_rate": 0.8, "limit": 0.99}, [FINDS_NOTHING, FEW]),  # out of reach
        ({"true_positive_rate": 0.03}, [NOT_SEPARATED]),
        ({"true_positive_rate": 0.031}, []),
        ({"groups": 9}, [FEW]),
        ({"groups": 10}, []),
        ({"limit": math.log10(9 + 1), "groups": 30}, [FEW]),
        ({"limit": math.log10(10 + 1), "groups": 30}, []),
    ],
)
def test_what_is_measured_at_the_threshold_of_videos_counts(
    rates: dict[str, Any], codes: list[UnfitCode]
) -> None:
    assert found(**rates) == [("video", code) for code in codes]


def test_pictures_are_decided_on_by_faces_or_by_thresholds_of_their_own() -> None:
    assert found(level="face", true_positive_rate=0.0) == [("picture", FINDS_NOTHING)]
    fields = judging.bundle_fields()
    fields["thresholds"]["picture"] = {**fields["thresholds"]["face"], "true_positive_rate": 0.0}
    assert [r.kind for r in unfit(judging.spec(**fields))] == ["picture"]


def test_a_bundle_that_decides_under_no_condition_is_not_for_use() -> None:
    few = judging.conditions((9, 50), (50, 9), (0, 0), (3, 3))
    assert found(conditions=few) == [("video", FEW), ("picture", FEW)]
    assert found(conditions=judging.conditions((10, 10), (0, 0), (0, 0), (0, 0))) == []


def test_the_card_says_so_below_its_title_once() -> None:
    fields = judging.bundle_fields()
    fields["thresholds"]["item"] |= {"true_positive_rate": 0.0}
    fields["calibration"]["item"] |= {"groups": 4}
    reasons = unfit(judging.spec(**fields))
    card = "# Model card: x\n\nTerms: **y**.\n\n## What it does\n"
    marked = marked_card(card, reasons)
    title, notice, *rest = marked.split("\n\n")
    assert title == "# Model card: x"
    assert notice.startswith(NOTICE)
    assert "No manipulated held-out video" in notice
    assert "of one class: 4, where 10 are needed" in notice
    assert "\n" not in notice
    assert rest == ["Terms: **y**.", "## What it does\n"]
    assert marked_card(marked, reasons) == marked
    assert marked_card(marked, ()) == card
    assert marked_card(card, ()) == card
