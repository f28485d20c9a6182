"""The plots of the console: rates by width, ranges of measured material, and scored faces."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from deepfake_service.platform.texts.i18n import words
from deepfake_service.web.item_view import bins_of
from deepfake_service.web.plots import moments_plot, rates_by_width


def test_rates_are_drawn() -> None:
    rate = {"value": 0.02, "low": 0.0, "high": 0.3, "groups": 9}
    bins = [
        {"face_px": [0.0, 96.0], "false_positive_rate": rate, "true_positive_rate": rate},
        {
            "face_px": [96.0, None],
            "false_positive_rate": {**rate, "groups": 40},
            "true_positive_rate": {**rate, "value": None},
        },
    ]
    drawn = rates_by_width(bins, {"fpr": "<a>", "tpr": "b", "rates": "c"}, min_groups=10)
    assert fromstring(drawn).tag.endswith("svg")
    assert "&lt;a&gt;" in drawn
    assert drawn.count('r="4.5"') == 3
    assert drawn.count('fill="#ffffff" stroke') == 2


def _document(value: float | None, leaning: dict[str, float] | None = None) -> dict[str, Any]:
    level = {
        "likely_manipulated": 1.6, "no_manipulation_found": -0.4, "false_positive_rate": 0.01,
        "true_positive_rate": 0.4, "miss_rate": 0.1,
    }  # fmt: skip
    item = {**level, "leaning": leaning} if leaning else level
    return {
        "result": {
            "log_likelihood_ratio": value,
            "media": {"kind": "video", "duration_s": 2.0},
            "tracks": [{"track": 0, "moments": [{"start_s": 0.5, "end_s": 1.0}]}],
        },
        "exact": {
            "faces": [
                {"logit": 0.0, "time_s": 1.0, "track": 0, "box": [1.0, 2.0, 3.0, 4.0]},
                {"logit": None, "time_s": 1.5, "track": 0, "box": [1.0, 2.0, 3.0, 4.0]},
            ]
        },
        "examined_s": [0.0, 1.0],
        "method": {
            "thresholds": {"item": item, "face": level},
            "calibration": {
                "item": {"limit": 1.8},
                "face": {"slope": 1.0, "intercept": 2.302585, "limit": 1.8},
            },
        },
    }


@pytest.mark.parametrize(("value", "here"), [(-1.0, 0), (-0.4, 1), (0.0, 2), (0.7, 3), (1.6, 4)])
def test_a_value_lies_in_one_range_of_measured_material(value: float, here: int) -> None:
    edges = {
        "towards_manipulated": 0.5, "towards_untouched": -0.2, "false_positive_rate": 0.06,
        "true_positive_rate": 0.6, "miss_rate": 0.2, "true_negative_rate": 0.7,
    }  # fmt: skip
    found = bins_of(_document(value, edges))
    assert found is not None
    assert found["here"] == here
    assert [b["name"] for b in found["bins"]] == [
        "clear", "towards_untouched", "neither", "towards_manipulated", "flagged",
    ]  # fmt: skip
    assert sum(b["fake"] for b in found["bins"]) == pytest.approx(1)
    assert found["below"] + sum(b["real"] or 0 for b in found["bins"]) == pytest.approx(1)


def test_a_result_without_a_value_has_no_place_among_measured_material() -> None:
    assert bins_of(_document(None)) is None


def test_the_plot_has_a_point_for_each_scored_face_and_no_style_of_its_own() -> None:
    drawn = moments_plot(_document(0.2), words("ko", polite=True))
    circles = [e for e in fromstring(drawn).iter() if e.tag.endswith("circle")]
    assert [(c.get("data-t"), c.get("data-v")) for c in circles] == [("1.000", "+1.00")]
    assert "style" not in drawn
