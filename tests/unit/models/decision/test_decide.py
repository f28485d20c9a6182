"""The rules that turn logits into verdicts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from deepfake_models.bundle.results import (
    FrameCounts,
    MediaFacts,
    Reason,
    ReasonCode,
    Unexamined,
    Verdict,
    VerdictCode,
    suspects,
)
from deepfake_models.decision.decide import ExaminedFrame, judge_again, judge_face
from deepfake_models.decision.level import Criteria, time_weighted_mean
from deepfake_models.decision.serialization import dump_verdict, load_verdict
from tests.support.judging import face, frame, judge_picture, judge_video, spec

PICTURE = MediaFacts("image", 640, 480, None, 1, 0)
VIDEO = MediaFacts("video", 640, 480, 20.0, 500, 0)
TEN_TO_ONE = math.log(10.0)
SPEC = spec()
SMALL = Reason(ReasonCode.FACE_TOO_SMALL, "too small")


def judged(frames: list[ExaminedFrame], **counts: float) -> Verdict:
    full = FrameCounts(sampled=len(frames), with_face=len(frames), longest_gap_s=2.0)
    return judge_video(VIDEO, frames, replace(full, **counts), SPEC)


def steady(logit: float, n: int = 10, step: float = 2.0) -> list[ExaminedFrame]:
    return [frame(i * step, face(i * step, logit)) for i in range(n)]


def test_a_steadily_suspect_face_is_likely_manipulated() -> None:
    result = judged(steady(2 * TEN_TO_ONE))
    assert result.verdict is VerdictCode.LIKELY_MANIPULATED
    assert result.log_likelihood_ratio == pytest.approx(2.0)
    assert result.score == pytest.approx(100 / 101)
    assert result.reasons == ()
    (moment,) = suspects(result.tracks)[0].moments
    assert (moment.start_s, moment.end_s) == (0.0, 18.0)


def test_a_steadily_unsuspicious_face_is_not() -> None:
    result = judged(steady(-TEN_TO_ONE))
    assert result.verdict is VerdictCode.NO_MANIPULATION_FOUND
    assert result.reasons == ()


def test_between_the_thresholds_the_verdict_is_inconclusive_with_the_reason() -> None:
    result = judged(steady(0.5 * TEN_TO_ONE))
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert [r.code for r in result.reasons] == [ReasonCode.BETWEEN_THRESHOLDS]


def test_a_long_unexamined_gap_prevents_no_manipulation_found() -> None:
    result = judged(steady(-TEN_TO_ONE), longest_gap_s=11.0)
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert [r.code for r in result.reasons] == [ReasonCode.COVERAGE]
    suspect = judged(steady(2 * TEN_TO_ONE), longest_gap_s=11.0)
    assert suspect.verdict is VerdictCode.LIKELY_MANIPULATED


@pytest.mark.parametrize("kind", Unexamined)
def test_what_a_file_holds_beside_the_examined_prevents_no_manipulation_found(
    kind: Unexamined,
) -> None:
    facts, counts = replace(VIDEO, unexamined=(kind,)), FrameCounts(10, 10, longest_gap_s=2.0)
    for result in (
        judge_video(facts, steady(-TEN_TO_ONE), counts, SPEC),
        judge_picture(replace(PICTURE, unexamined=(kind,)), [face(0.0, -TEN_TO_ONE)], SPEC),
    ):
        assert result.verdict is VerdictCode.INCONCLUSIVE
        assert [r.code for r in result.reasons] == [ReasonCode.MORE_IN_FILE]
        assert judge_again(load_verdict(dump_verdict(result)), Criteria.of(SPEC)) == result
        assert result.to_json()["media"]["unexamined"] == [kind]
    suspect = judge_video(facts, steady(2 * TEN_TO_ONE), counts, SPEC)
    assert (suspect.verdict, suspect.reasons) == (VerdictCode.LIKELY_MANIPULATED, ())
    without = judge_video(facts, [frame(0.0)], FrameCounts(1), SPEC)
    assert without.verdict is VerdictCode.NOT_APPLICABLE
    assert [r.code for r in without.reasons] == [ReasonCode.NO_FACE, ReasonCode.MORE_IN_FILE]


def test_a_manipulated_moment_prevents_no_manipulation_found() -> None:
    frames = steady(-3 * TEN_TO_ONE, n=60, step=1.0)
    frames[30:33] = [frame(float(t), face(float(t), 2 * TEN_TO_ONE)) for t in (30, 31, 32)]
    result = judged(frames)
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert [r.code for r in result.reasons] == [ReasonCode.SUSPECT_MOMENTS]
    assert result.tracks[0].moments[0].start_s == 30.0


def test_the_dense_pass_over_one_moment_does_not_outvote_the_rest() -> None:
    sparse = steady(-TEN_TO_ONE, n=10)
    dense = [frame(8.0 + i / 10, face(8.0 + i / 10, 3 * TEN_TO_ONE)) for i in range(1, 15)]
    result = judged(sorted([*sparse, *dense], key=lambda f: f.time_s))
    assert result.tracks[0].verdict is not VerdictCode.LIKELY_MANIPULATED


def test_the_more_people_the_stronger_the_evidence_must_be() -> None:
    far = [(100.0 + 300 * i, 100.0, 220.0 + 300 * i, 240.0) for i in range(4)]

    def crowd(n: int) -> list[ExaminedFrame]:
        return [
            frame(
                2.0 * t,
                face(2.0 * t, 1.2 * TEN_TO_ONE, far[0]),
                *[face(2.0 * t, -TEN_TO_ONE, b) for b in far[1:n]],
            )
            for t in range(10)
        ]

    alone, four = judged(crowd(1)), judged(crowd(4))
    assert alone.verdict is VerdictCode.LIKELY_MANIPULATED
    assert four.log_likelihood_ratio == pytest.approx(math.log10((10**1.2 + 3 * 0.1) / 4))
    assert four.verdict is VerdictCode.INCONCLUSIVE
    assert [t.track for t in suspects(four.tracks)] == [0]


def test_a_crowd_of_faces_without_evidence_is_no_evidence() -> None:
    faces = [face(0.0, 0.0) for _ in range(50)]
    assert judge_picture(PICTURE, faces, SPEC).log_likelihood_ratio == pytest.approx(0.0)


def test_no_face_is_not_applicable() -> None:
    result = judged([frame(0.0), frame(1.0)], with_face=0)
    assert result.verdict is VerdictCode.NOT_APPLICABLE
    assert result.score is None
    assert [r.code for r in result.reasons] == [ReasonCode.NO_FACE]


def test_a_mostly_undecodable_video_without_a_face_is_not_called_faceless() -> None:
    result = judged([frame(0.0)], sampled=10, failed=9, with_face=0)
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert [r.code for r in result.reasons] == [ReasonCode.UNDECODABLE]


def test_faces_unfit_to_judge_give_a_reason_and_no_score() -> None:
    frames = [frame(float(t), face(float(t), None, reasons=(SMALL,))) for t in range(5)]
    result = judged(frames)
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert result.score is None
    assert result.log_likelihood_ratio is None
    assert [r.code for r in result.reasons] == [ReasonCode.FACE_TOO_SMALL]


def test_a_face_seen_in_too_few_frames_is_not_judged() -> None:
    result = judged([frame(0.0, face(0.0, 5.0)), frame(1.0, face(1.0, 5.0)), frame(2.0)])
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert [r.code for r in result.reasons] == [ReasonCode.TOO_FEW_FACES]


@pytest.mark.parametrize("count", [1, 2])
def test_a_clip_of_fewer_frames_than_that_is_not_judged(count: int) -> None:
    """Rates of tracks were measured on means of many faces, which scatter less than one."""
    frames = [frame(float(t), face(float(t), 2 * TEN_TO_ONE)) for t in range(count)]
    counts = FrameCounts(sampled=count, with_face=count)
    result = judge_video(replace(VIDEO, frames=count), frames, counts, SPEC)
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert [r.code for r in result.reasons] == [ReasonCode.TOO_FEW_FACES]


def beside(share: float, small: Reason | None) -> list[ExaminedFrame]:
    """Return ten frames of a person, with another one, unfit to judge, in a share of them."""
    far = (400.0, 100.0, 430.0, 135.0)
    reasons = (small,) if small else ()
    frames = []
    for t in range(10):
        faces = [face(2.0 * t, -TEN_TO_ONE)]
        if t < 10 * share:
            faces.append(face(2.0 * t, None if small else -TEN_TO_ONE, far, reasons=reasons))
        frames.append(frame(2.0 * t, *faces))
    return frames


def test_a_present_but_unjudged_person_prevents_no_manipulation_found() -> None:
    result = judged(beside(1.0, SMALL))
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert [r.code for r in result.reasons] == [ReasonCode.UNJUDGED_FACES]
    assert "too small" in result.reasons[0].detail
    assert judged(beside(1.0, None)).verdict is VerdictCode.NO_MANIPULATION_FOUND


def test_presence_is_summed_over_the_tracks_that_hard_cuts_make() -> None:
    still = [frame(2.0 * t, face(2.0 * t, -TEN_TO_ONE)) for t in range(10)]
    places = [(100.0 + 400 * n, 600.0, 220.0 + 400 * n, 740.0) for n in range(8)]

    def cut(logit: float | None, box: tuple[float, float, float, float], t: float) -> ExaminedFrame:
        reasons = () if logit is not None else (SMALL,)
        return frame(t, face(t, logit, box, reasons=reasons))

    # Linking makes a track of each: no face is where the one before it was.
    brief = [cut(None, box, 30.0 + 9.0 * n) for n, box in enumerate(places)]
    result = judged([*still, *brief])
    assert len(result.tracks) == 9
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert ReasonCode.UNJUDGED_FACES in {r.code for r in result.reasons}
    assert "in 8 of 18 frames" in result.reasons[0].detail
    few = judged(
        [*still * 1, *[cut(3 * TEN_TO_ONE, b, 30.0 + 9.0 * n) for n, b in enumerate(places[:3])]]
    )
    assert few.verdict is VerdictCode.INCONCLUSIVE
    assert ReasonCode.SUSPECT_MOMENTS in {r.code for r in few.reasons}


def test_a_passer_by_is_only_mentioned() -> None:
    result = judged(beside(0.2, SMALL))
    assert result.verdict is VerdictCode.NO_MANIPULATION_FOUND
    assert [r.code for r in result.reasons] == [ReasonCode.UNJUDGED_FACES]


def test_an_unjudged_face_in_a_picture_prevents_no_manipulation_found() -> None:
    faces = [face(0.0, -TEN_TO_ONE), face(0.0, None, reasons=(SMALL,))]
    result = judge_picture(PICTURE, faces, SPEC)
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert result.score is not None


def test_a_track_of_mostly_blurred_faces_is_not_cleared_by_the_few_sharp_ones() -> None:
    frames = [
        frame(float(t), face(float(t), -TEN_TO_ONE if t < 3 else None, reasons=(SMALL,)))
        for t in range(30)
    ]
    result = judged(frames)
    assert result.tracks[0].verdict is VerdictCode.INCONCLUSIVE
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert [r.code for r in result.reasons] == [ReasonCode.UNJUDGED_FACES]
    assert "3 of this person's 30" in result.reasons[0].detail


def test_a_mostly_undecodable_video_is_not_cleared_by_the_rest() -> None:
    result = judged(steady(-TEN_TO_ONE, n=9), sampled=32, failed=23)
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert [r.code for r in result.reasons] == [ReasonCode.FAILED_FRAMES]
    few = judged(steady(-TEN_TO_ONE, n=30), sampled=32, failed=2)
    assert few.verdict is VerdictCode.NO_MANIPULATION_FOUND
    assert [r.code for r in few.reasons] == [ReasonCode.FAILED_FRAMES]


@pytest.mark.parametrize("sampled", [1, 2, 32])
def test_neither_damage_nor_a_small_sample_lowers_the_bar(
    sampled: int,
) -> None:
    frames = steady(-TEN_TO_ONE, n=min(sampled, 2))
    result = judged(frames, sampled=sampled, failed=sampled - len(frames))
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert ReasonCode.TOO_FEW_FACES in [r.code for r in result.reasons]


def test_the_most_frequent_reason_is_given_where_no_person_is_judged() -> None:
    far = (400.0, 100.0, 520.0, 240.0)
    frames = [frame(0.0, face(0.0, 5.0), face(0.0, 5.0, far)), frame(1.0, face(1.0, 5.0))]
    result = judged([*frames, frame(2.0), frame(3.0)])
    assert result.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert [r.code for r in result.reasons] == [ReasonCode.TOO_FEW_FACES]
    assert result.reasons[0].detail.startswith("2 of 2 people not judged; one of them: 2 faces")
    crowd = [face(0.0, None, reasons=(SMALL,)) for _ in range(3)]
    assert judge_picture(PICTURE, crowd, SPEC).reasons[0].detail.startswith("3 of 3 people")


def test_flickering_manipulation_prevents_no_manipulation_found() -> None:
    frames = [
        frame(float(t), face(float(t), 2 * TEN_TO_ONE if t % 4 < 2 else -4 * TEN_TO_ONE))
        for t in range(40)
    ]
    result = judged(frames)
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert [r.code for r in result.reasons] == [ReasonCode.SUSPECT_MOMENTS]
    assert "20 of 40" in result.reasons[0].detail


def test_one_suspect_in_a_crowded_picture_is_named() -> None:
    faces = [face(0.0, 1.1 * TEN_TO_ONE), *[face(0.0, -2 * TEN_TO_ONE) for _ in range(60)]]
    result = judge_picture(PICTURE, faces, SPEC)
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert [r.code for r in result.reasons] == [ReasonCode.SUSPECT_MOMENTS]
    assert result.reasons[0].detail.startswith("face 0 alone")


def test_a_picture_is_judged_at_face_level() -> None:
    faces = [face(0.0, 1.5 * TEN_TO_ONE), face(0.0, -TEN_TO_ONE)]
    result = judge_picture(PICTURE, faces, SPEC)
    assert result.log_likelihood_ratio == pytest.approx(math.log10((10**1.5 + 0.1) / 2))
    assert [f.verdict for f in result.faces] == [
        VerdictCode.LIKELY_MANIPULATED,
        VerdictCode.NO_MANIPULATION_FOUND,
    ]
    assert judge_picture(PICTURE, [], SPEC).verdict is VerdictCode.NOT_APPLICABLE


def test_time_weights() -> None:
    assert time_weighted_mean([3.0], [7.0], 2.0) == 7.0
    assert time_weighted_mean([0.0, 1.0, 2.0], [1.0, 1.0, 4.0], 2.0) == pytest.approx(2.0)
    assert time_weighted_mean([0.0, 0.0], [1.0, 3.0], 2.0) == 2.0
    # A moment that is sampled ten times counts as one moment.
    times = [0.0, 2.0, *[4.0 + i * 1e-6 for i in range(10)], 6.0, 8.0]
    values = [0.0, 0.0, *[10.0] * 10, 0.0, 0.0]
    assert time_weighted_mean(times, values, 2.0) == pytest.approx(2.0, abs=0.01)


def test_the_same_observations_always_give_the_same_json() -> None:
    frames = steady(0.3)
    assert judged(frames).to_json(faces=True) == judged(frames).to_json(faces=True)


def test_a_face_that_was_not_judged_cannot_be_published() -> None:
    with pytest.raises(ValueError, match="judged"):
        face(0.0, 1.0).to_json()


def test_a_face_that_was_not_scored_keeps_no_value_that_it_brought() -> None:
    brought = replace(face(0.0, logit=None), score=0.999, log_likelihood_ratio=3.0)
    criteria = Criteria.of(spec())
    judged = judge_face(brought, criteria.face, criteria)
    assert judged.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert judged.score is None
    assert judged.log_likelihood_ratio is None
