"""Nothing is decided where error rates are not known; a verdict can be judged again."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from deepfake_models.bundle.results import (
    FrameCounts,
    MediaFacts,
    Quality,
    ReasonCode,
    Verdict,
    VerdictCode,
    input_at_fault,
    unable,
)
from deepfake_models.bundle.spec import Calibration, ConditionsSpec
from deepfake_models.errors import UndecodableMedia
from tests.support.judging import (
    GOOD,
    LEVELS,
    bundle_fields,
    conditions,
    face,
    frame,
    judge_again,
    judge_picture,
    judge_video,
    spec,
)

PICTURE = MediaFacts("image", 640, 480, None, 1, 0)
VIDEO = MediaFacts("video", 640, 480, 20.0, 500, 0)
TEN_TO_ONE = math.log(10.0)
ENOUGH, FEW = (10, 10), (10, 9)
WIDE_SHARP_ALONE = spec(conditions=conditions(FEW, FEW, FEW, ENOUGH).model_dump())
SMALL = Quality(face_px=80.0, sharpness=10.0, blockiness=1.0, exposure=0.5)


def codes(verdict: Verdict) -> list[ReasonCode]:
    return [r.code for r in verdict.reasons]


def video(*people: tuple[float, Quality], bundle: Any = WIDE_SHARP_ALONE) -> Verdict:
    """Judge ten frames of people side by side, each with a constant logit and quality."""
    frames = [
        frame(
            2.0 * i,
            *(
                face(2.0 * i, logit, (200.0 * n, 100.0, 200.0 * n + 120, 240.0), quality=quality)
                for n, (logit, quality) in enumerate(people)
            ),
        )
        for i in range(10)
    ]
    counts = FrameCounts(sampled=10, with_face=10, longest_gap_s=2.0)
    return judge_video(VIDEO, frames, counts, bundle)


def test_a_face_is_decided_on_where_rates_were_measured() -> None:
    clear = judge_picture(PICTURE, [face(0.0, 2 * TEN_TO_ONE)], WIDE_SHARP_ALONE)
    assert clear.verdict is VerdictCode.LIKELY_MANIPULATED
    assert clear.reasons == ()


@pytest.mark.parametrize("logit", [2 * TEN_TO_ONE, -2 * TEN_TO_ONE])
@pytest.mark.parametrize("quality", [SMALL, replace(GOOD, sharpness=4.9)])
def test_elsewhere_a_face_is_inconclusive(logit: float, quality: Quality) -> None:
    result = judge_picture(PICTURE, [face(0.0, logit, quality=quality)], WIDE_SHARP_ALONE)
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert codes(result) == [ReasonCode.UNMEASURED_CONDITION]
    assert result.log_likelihood_ratio == pytest.approx(logit / TEN_TO_ONE)
    assert "10 real and 9 manipulated groups" in result.reasons[0].detail


def test_bins_include_their_lower_edge_and_use_rounded_measurements() -> None:
    for width, decided in ((100.0, True), (99.99, True), (99.9, False)):
        one = face(0.0, 2 * TEN_TO_ONE, quality=replace(GOOD, face_px=width))
        result = judge_picture(PICTURE, [one], WIDE_SHARP_ALONE)
        assert (result.verdict is VerdictCode.LIKELY_MANIPULATED) == decided, width


@pytest.mark.parametrize("logit", [2 * TEN_TO_ONE, -2 * TEN_TO_ONE])
def test_a_video_of_a_refused_person_is_inconclusive(logit: float) -> None:
    result = video((logit, SMALL))
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert ReasonCode.UNMEASURED_CONDITION in codes(result)
    assert result.tracks[0].verdict is VerdictCode.INCONCLUSIVE
    assert "10 of this person's 10 judged faces" in result.reasons[0].detail


def test_half_of_the_faces_may_be_refused() -> None:
    frames = [
        frame(2.0 * i, face(2.0 * i, 2 * TEN_TO_ONE, quality=SMALL if i % 2 else GOOD))
        for i in range(10)
    ]
    counts = FrameCounts(sampled=10, with_face=10, longest_gap_s=2.0)
    result = judge_video(VIDEO, frames, counts, WIDE_SHARP_ALONE)
    assert result.verdict is VerdictCode.LIKELY_MANIPULATED
    # Moments depend on the values alone.
    (moment,) = result.tracks[0].moments
    assert (moment.start_s, moment.end_s) == (0.0, 18.0)


def test_an_item_is_manipulated_only_if_people_in_measured_conditions_suffice() -> None:
    both = video((3 * TEN_TO_ONE, GOOD), (3 * TEN_TO_ONE, SMALL))
    assert both.verdict is VerdictCode.LIKELY_MANIPULATED
    assert ReasonCode.UNMEASURED_CONDITION in codes(both)
    by_the_other = video((-2 * TEN_TO_ONE, GOOD), (3 * TEN_TO_ONE, SMALL))
    assert by_the_other.verdict is VerdictCode.INCONCLUSIVE
    assert ReasonCode.UNMEASURED_CONDITION in codes(by_the_other)


def test_a_refused_person_prevents_no_manipulation_found() -> None:
    result = video((-2 * TEN_TO_ONE, GOOD), (-2 * TEN_TO_ONE, SMALL))
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert "1 of 2 people cannot be decided on" in result.reasons[0].detail


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"face_px_edges": (2.0, 1.0)}, "edges must ascend"),
        ({"face_px_edges": (1.0,)}, "edges without bins"),
        ({"bins": conditions(*[ENOUGH] * 4).bins}, "at least one edge"),
        (
            {"face_px_edges": (1.0, 2.0), "sharpness_edges": (1.0,),
             "bins": conditions(*[ENOUGH] * 4).bins},
            "3 rows of 2 bins",
        ),
    ],
)  # fmt: skip
def test_inconsistent_conditions_are_refused(fields: Any, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        ConditionsSpec(**fields)


def test_judging_again_with_the_same_bundle_changes_nothing() -> None:
    for before in (
        video((3 * TEN_TO_ONE, GOOD), (-1.0, SMALL)),
        judge_picture(PICTURE, [face(0.0, 0.3), face(0.0, None)], WIDE_SHARP_ALONE),
        judge_picture(PICTURE, [], WIDE_SHARP_ALONE),
    ):
        assert judge_again(before, WIDE_SHARP_ALONE) == before
    failed = unable(UndecodableMedia())
    assert judge_again(failed, WIDE_SHARP_ALONE) is failed


def test_judging_again_with_another_bundle_gives_that_bundles_verdict() -> None:
    double = Calibration(slope=2.0, intercept=0.5, limit=2.5, samples=100, groups=20)
    other = spec(**{**bundle_fields(), "calibration": dict.fromkeys(LEVELS, double.model_dump())})
    people = ((1.1 * TEN_TO_ONE, GOOD), (-1.0, SMALL))
    assert judge_again(video(*people), other) == video(*people, bundle=other)
    picture = [face(0.0, 0.7)]
    assert judge_again(judge_picture(PICTURE, picture, WIDE_SHARP_ALONE), other) == judge_picture(
        PICTURE, picture, other
    )


def test_faults_of_the_input_are_told_apart_from_faults_of_faces() -> None:
    assert input_at_fault(ReasonCode.UNDECODABLE)
    assert input_at_fault(ReasonCode.NOT_A_PICTURE)
    assert not input_at_fault(ReasonCode.NO_FACE)
    assert not input_at_fault(ReasonCode.FACE_TOO_SMALL)
