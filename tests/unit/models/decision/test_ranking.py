"""Items are ranked by values without limits."""

from __future__ import annotations

import math

import pytest

from deepfake_models.bundle.results import FrameCounts, MediaFacts, Verdict, unable
from deepfake_models.decision.decide import uncapped_item_ratio
from deepfake_models.decision.level import Criteria
from deepfake_models.errors import UndecodableMedia
from tests.support.judging import face, frame, judge_picture, judge_video, spec

SPEC = spec()
CRITERIA = Criteria.of(SPEC)
TEN_TO_ONE = math.log(10.0)


def picture(logit: float) -> Verdict:
    return judge_picture(MediaFacts("image", 640, 480, None, 1, 0), [face(0.0, logit)], SPEC)


def video(logit: float) -> Verdict:
    frames = [frame(2.0 * i, face(2.0 * i, logit)) for i in range(10)]
    counts = FrameCounts(sampled=10, with_face=10, longest_gap_s=2.0)
    return judge_video(MediaFacts("video", 640, 480, 20.0, 500, 0), frames, counts, SPEC)


@pytest.mark.parametrize("judge", [picture, video])
def test_it_equals_the_published_value_where_no_limit_was_reached(judge: object) -> None:
    verdict = judge(1.5 * TEN_TO_ONE)  # type: ignore[operator]
    assert uncapped_item_ratio(verdict, CRITERIA) == pytest.approx(verdict.log_likelihood_ratio)


@pytest.mark.parametrize("judge", [picture, video])
def test_clear_cases_keep_their_order(judge: object) -> None:
    clear, clearer = judge(4 * TEN_TO_ONE), judge(6 * TEN_TO_ONE)  # type: ignore[operator]
    assert clear.log_likelihood_ratio == clearer.log_likelihood_ratio == 3.0
    assert uncapped_item_ratio(clear, CRITERIA) == pytest.approx(4.0)
    assert uncapped_item_ratio(clearer, CRITERIA) == pytest.approx(6.0)


def test_an_item_without_a_score_has_no_rank() -> None:
    assert uncapped_item_ratio(unable(UndecodableMedia()), CRITERIA) is None
    assert uncapped_item_ratio(judge_picture(picture(0.0).media, [], SPEC), CRITERIA) is None  # type: ignore[arg-type]
