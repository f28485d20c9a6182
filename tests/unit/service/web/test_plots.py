"""The plot of the scored faces of a video."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import fromstring

from deepfake_service.evidence.report.reading import Reading
from deepfake_service.platform.texts.i18n import words
from deepfake_service.web.item_view import moments_plot


def _document() -> dict[str, Any]:
    level = {
        "likely_manipulated": 1.6, "no_manipulation_found": -0.4, "false_positive_rate": 0.01,
        "true_positive_rate": 0.4, "miss_rate": 0.1,
    }  # fmt: skip
    return {
        "result": {
            "verdict": "inconclusive",
            "log_likelihood_ratio": 0.2,
            "media": {"kind": "video", "duration_s": 2.0},
            "tracks": [
                {
                    "track": 0,
                    "log_likelihood_ratio": 0.2,
                    "reasons": [],
                    "moments": [{"start_s": 0.5, "end_s": 1.0}],
                }
            ],
        },
        "exact": {
            "faces": [
                {"logit": 0.0, "time_s": 1.0, "track": 0, "box": [1.0, 2.0, 3.0, 4.0]},
                {"logit": None, "time_s": 1.5, "track": 0, "box": [1.0, 2.0, 3.0, 4.0]},
            ]
        },
        "pictures": [],
        "examined_s": [0.0, 1.0],
        "method": {
            "thresholds": {"item": level, "face": level},
            "calibration": {
                "item": {"limit": 1.8},
                "face": {"slope": 1.0, "intercept": 2.302585, "limit": 1.8},
            },
        },
    }


def _points(unvalued: set[int]) -> list[tuple[str | None, ...]]:
    drawn = moments_plot(Reading(_document(), words("ko", polite=True)), unvalued)
    assert "style" not in drawn
    circles = [e for e in fromstring(drawn).iter() if e.tag.endswith("circle")]
    return [tuple(c.get(f"data-{name}") for name in "tvpb") for c in circles]


def test_the_plot_has_a_point_for_each_scored_face_and_no_style_of_its_own() -> None:
    assert _points(set()) == [("1.000", "+1.00", "1", "1,2,3,4")]


def test_people_without_a_value_have_points_of_their_own() -> None:
    assert _points({0})[1:] == [("1.500", "–", "1", "1,2,3,4")]
