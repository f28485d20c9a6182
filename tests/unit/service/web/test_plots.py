"""The plot of the scored faces of a video."""

from __future__ import annotations

import json
from typing import Any
from xml.etree.ElementTree import fromstring

from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.documents import VerdictDocument
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.platform.texts.i18n import words
from deepfake_service.web.item_view import moments_plot
from tests.support import exhibits


def _document() -> VerdictDocument:
    document: dict[str, Any] = json.loads(exhibits.files_of_bundle()[VERDICT])
    face = {**document["exact"]["faces"][0], "track": 0, "box": [1.0, 2.0, 3.0, 4.0]}
    document["exact"]["faces"] = [
        {**face, "logit": 0.0, "time_s": 1.0},
        {**face, "logit": None, "time_s": 1.5},
    ]
    document["pictures"] = []
    document["method"]["calibration"]["face"] |= {"slope": 1.0, "intercept": 2.302585}
    return exhibits.stated(document)


def _points(unvalued: set[int]) -> list[tuple[str | None, ...]]:
    drawn = moments_plot(Reading(_document(), words("ko", polite=True)), unvalued)
    assert "style" not in drawn
    circles = [e for e in fromstring(drawn).iter() if e.tag.endswith("circle")]
    return [tuple(c.get(f"data-{name}") for name in "tvpb") for c in circles]


def test_the_plot_has_a_point_for_each_scored_face_and_no_style_of_its_own() -> None:
    assert _points(set()) == [("1.000", "+1.00", "1", "1,2,3,4")]


def test_people_without_a_value_have_points_of_their_own() -> None:
    assert _points({0})[1:] == [("1.500", "–", "1", "1,2,3,4")]
