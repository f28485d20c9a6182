"""Which way a verdict leans, which kind it resembles, and who keeps an item from a decision."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import ValidationError

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import (
    Face,
    FrameCounts,
    Leaning,
    MediaFacts,
    Quality,
    Reason,
    ReasonCode,
    Verdict,
    VerdictCode,
)
from deepfake_models.bundle.spec import AggregationSpec, LevelThresholds
from deepfake_models.decision.decide import ExaminedFrame, Part
from deepfake_models.decision.serialization import (
    dump_part,
    dump_verdict,
    exact_record,
    judge_exact,
    load_part,
    load_verdict,
    unjudged,
)
from tests.support.judging import (
    GOOD,
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
VIDEO = MediaFacts("video", 640, 480, 40.0, 1000, 0)
TEN_TO_ONE = math.log(10.0)
FEW, ENOUGH = (10, 9), (10, 10)
NARROW = Quality(face_px=80.0, sharpness=10.0, blockiness=1.0, exposure=0.5)
TOO_SMALL = Reason(ReasonCode.FACE_TOO_SMALL, "too small")
KINDS = ("swap", "reenactment", "synthesis", "retouching")


def leaning_fields(upper: float = 0.6, lower: float = 0.3) -> dict[str, Any]:
    """Return thresholds 1 and 0 with edges between them."""
    edges = {
        "towards_manipulated": upper, "towards_untouched": lower, "false_positive_rate": 0.05,
        "false_positive_rate_upper": 0.08, "true_positive_rate": 0.9, "miss_rate": 0.2,
        "true_negative_rate": 0.9,
    }  # fmt: skip
    return {**bundle_fields()["thresholds"]["face"], "leaning": edges}


def leaning_spec(**changes: Any) -> BundleSpec:
    return spec(thresholds=dict.fromkeys(("face", "track", "item"), leaning_fields()), **changes)


SPEC = leaning_spec()


def people(*logits: float, bundle: BundleSpec = SPEC, qualities: Any = ()) -> Verdict:
    """Judge twenty frames of people side by side, each with a constant logit."""
    chosen = [*qualities, *[GOOD] * (len(logits) - len(qualities))]
    frames = [
        frame(
            2.0 * i,
            *(
                face(2.0 * i, z, (200.0 * n, 100.0, 200.0 * n + 120, 240.0), quality=q)
                for n, (z, q) in enumerate(zip(logits, chosen, strict=True))
            ),
        )
        for i in range(20)
    ]
    return video(frames, bundle)


def video(frames: list[ExaminedFrame], bundle: BundleSpec) -> Verdict:
    counts = FrameCounts(sampled=len(frames), with_face=len(frames), longest_gap_s=2.0)
    return judge_video(VIDEO, frames, counts, bundle)


@pytest.mark.parametrize(
    ("ratio", "verdict", "leaning"),
    [
        (2.0, VerdictCode.LIKELY_MANIPULATED, Leaning.TOWARDS_MANIPULATED),
        (0.7, VerdictCode.INCONCLUSIVE, Leaning.TOWARDS_MANIPULATED),
        (0.45, VerdictCode.INCONCLUSIVE, Leaning.NEITHER),
        (0.2, VerdictCode.INCONCLUSIVE, Leaning.TOWARDS_UNTOUCHED),
        (-1.0, VerdictCode.NO_MANIPULATION_FOUND, Leaning.TOWARDS_UNTOUCHED),
    ],
)
def test_face_track_and_item_lean_by_their_values(
    ratio: float, verdict: VerdictCode, leaning: Leaning
) -> None:
    result = people(ratio * TEN_TO_ONE)
    still = judge_picture(PICTURE, [face(0.0, ratio * TEN_TO_ONE)], SPEC)
    for judged in (result, result.tracks[0], result.faces[0], still, still.tracks[0]):
        assert (judged.verdict, judged.leaning) == (verdict, leaning)
        assert judged.to_json()["leaning"] == str(leaning)


def test_a_bundle_without_edges_says_nothing() -> None:
    result = people(0.5 * TEN_TO_ONE, bundle=spec())
    assert result.leaning is result.tracks[0].leaning is result.faces[0].leaning is None
    published = result.to_json(faces=True)
    assert not {"leaning", "kinds"} & {*published, *published["tracks"][0], *published["faces"][0]}


def test_what_was_not_judged_does_not_lean() -> None:
    small = judge_picture(PICTURE, [face(0.0, None, reasons=(TOO_SMALL,))], SPEC)
    assert small.verdict is VerdictCode.UNABLE_TO_EVALUATE
    assert small.leaning is small.tracks[0].leaning is None
    assert judge_picture(PICTURE, [], SPEC).leaning is None


def test_where_rates_are_not_known_a_value_leans_neither_way() -> None:
    bundle = leaning_spec(conditions=conditions(FEW, FEW, FEW, ENOUGH).model_dump())
    for logit in (3 * TEN_TO_ONE, -3 * TEN_TO_ONE):
        result = people(logit, bundle=bundle, qualities=[NARROW])
        assert result.verdict is VerdictCode.INCONCLUSIVE
        assert result.leaning is result.tracks[0].leaning is result.faces[0].leaning
        assert result.leaning is Leaning.NEITHER
    # The measured one of two people leans as if the other were certainly authentic.
    both = people(2 * TEN_TO_ONE, 2 * TEN_TO_ONE, bundle=bundle, qualities=[NARROW])
    assert both.leaning is Leaning.TOWARDS_MANIPULATED
    weaker = people(2 * TEN_TO_ONE, 0.8 * TEN_TO_ONE, bundle=bundle, qualities=[NARROW])
    assert weaker.log_likelihood_ratio is not None
    assert weaker.log_likelihood_ratio >= 1.0
    assert weaker.leaning is Leaning.NEITHER


def test_what_may_not_be_cleared_does_not_lean_towards_untouched() -> None:
    frames = [frame(float(i), face(float(i), -3 * TEN_TO_ONE)) for i in range(40)]
    frames[20:23] = [frame(float(i), face(float(i), 2 * TEN_TO_ONE)) for i in (20, 21, 22)]
    result = video(frames, SPEC)
    assert [r.code for r in result.reasons] == [ReasonCode.SUSPECT_MOMENTS]
    assert result.tracks[0].leaning is Leaning.NEITHER
    assert result.leaning is Leaning.NEITHER


@pytest.mark.parametrize(("upper", "lower"), [(1.1, 0.3), (0.6, -0.1), (0.3, 0.6)])
def test_edges_must_ascend_between_the_thresholds(upper: float, lower: float) -> None:
    with pytest.raises(ValidationError, match="must ascend"):
        LevelThresholds.model_validate(leaning_fields(upper, lower))


def test_stills_are_judged_by_thresholds_of_their_own() -> None:
    levels = dict.fromkeys(("face", "track", "item"), leaning_fields())
    strict = {**leaning_fields(1.6, 0.3), "likely_manipulated": 2.5}
    bundle = spec(thresholds={**levels, "picture": strict})
    still = judge_picture(PICTURE, [face(0.0, 2 * TEN_TO_ONE)], bundle)
    for judged in (still, still.tracks[0], still.faces[0]):
        assert judged.verdict is VerdictCode.INCONCLUSIVE
        assert judged.leaning is Leaning.TOWARDS_MANIPULATED
    assert people(2 * TEN_TO_ONE, bundle=bundle).faces[0].verdict is VerdictCode.LIKELY_MANIPULATED
    assert judge_again(still, bundle) == still


def of_kind(time_s: float, logit: float, *kind_logits: float, place: int = 0) -> Face:
    box = (200.0 * place, 100.0, 200.0 * place + 120, 240.0)
    scored = face(time_s, logit, box)
    return Face(
        time_s=time_s, box=box, confidence=0.99, quality=scored.quality, logit=logit,
        kind_logits=kind_logits,
    )  # fmt: skip


def test_a_suspect_track_has_the_kinds_of_its_mean_face() -> None:
    bundle = leaning_spec(kinds=KINDS)
    frames = [frame(2.0 * i, of_kind(2.0 * i, 2 * TEN_TO_ONE, 2.0, 0.0, 0.0, 0.0)) for i in (0, 2)]
    frames += [frame(2.0, of_kind(2.0, 2 * TEN_TO_ONE, 0.0, 2.0, 0.0, 0.0))]
    result = video(sorted(frames, key=lambda f: f.time_s), bundle)
    means = [math.exp(4 / 3), math.exp(2 / 3), 1.0, 1.0]
    assert result.kinds == pytest.approx(
        dict(zip(KINDS, [m / sum(means) for m in means], strict=True))
    )
    assert result.kinds == result.tracks[0].kinds
    assert list(result.to_json()["kinds"]) == list(KINDS)
    assert judge_exact(unjudged(exact_record(result)), bundle) == result
    assert load_verdict(dump_verdict(result)) == result


def test_the_item_has_the_kinds_of_its_most_suspect_person() -> None:
    bundle = leaning_spec(kinds=KINDS)
    frames = [
        frame(
            2.0 * i,
            of_kind(2.0 * i, 1 * TEN_TO_ONE, 9.0, 0.0, 0.0, 0.0),
            of_kind(2.0 * i, 2 * TEN_TO_ONE, 0.0, 0.0, 9.0, 0.0, place=1),
        )
        for i in range(5)
    ]
    result = video(frames, bundle)
    assert result.kinds is not None
    assert max(result.kinds, key=lambda k: result.kinds[k]) == "synthesis"  # type: ignore[index]
    assert result.tracks[0].kinds is not None
    assert max(result.tracks[0].kinds.values()) == result.tracks[0].kinds["swap"]


@pytest.mark.parametrize("ratio", [0.45, 0.2, -1.0])
def test_what_is_not_suspected_has_no_kind(ratio: float) -> None:
    bundle = leaning_spec(kinds=KINDS)
    still = judge_picture(PICTURE, [of_kind(0.0, ratio * TEN_TO_ONE, 9.0, 0, 0, 0)], bundle)
    assert still.kinds is still.tracks[0].kinds is None


def test_kind_logits_of_another_bundle_are_ignored() -> None:
    suspect = [of_kind(0.0, 2 * TEN_TO_ONE, 1.0, 2.0)]
    assert judge_picture(PICTURE, suspect, leaning_spec(kinds=KINDS)).kinds is None
    assert judge_picture(PICTURE, suspect, SPEC).kinds is None


def test_a_checkpoint_keeps_kind_logits() -> None:
    examined = frame(0.0, of_kind(0.0, 1.0, 0.5, -0.5), face(0.0, 2.0))
    raw = dump_part(Part((examined,), 0))
    assert load_part(raw).examined[0].faces == examined.faces


def with_passer_by(seen: int, **passer_by: Any) -> list[ExaminedFrame]:
    """Return forty frames of an unsuspicious person, with another one in the first ``seen``."""
    box = (400.0, 100.0, 520.0, 240.0)
    return [
        frame(
            float(i),
            face(float(i), -2 * TEN_TO_ONE),
            *([face(float(i), box=box, **passer_by)] if i < seen else []),
        )
        for i in range(40)
    ]


LENIENT = leaning_spec(
    aggregation=AggregationSpec(max_doubtful_presence=0.1, max_unjudged_width=0.3).model_dump(),
    conditions=conditions(FEW, FEW, FEW, ENOUGH).model_dump(),
)
OLD = leaning_spec(conditions=conditions(FEW, FEW, FEW, ENOUGH).model_dump())


@pytest.mark.parametrize(("seen", "cleared"), [(4, True), (5, False)])
def test_a_refused_person_seen_for_a_blink_is_only_mentioned(seen: int, cleared: bool) -> None:
    frames = with_passer_by(seen, logit=-2 * TEN_TO_ONE, quality=NARROW)
    for bundle, expected in ((LENIENT, cleared), (OLD, False)):
        result = video(frames, bundle)
        assert (result.verdict is VerdictCode.NO_MANIPULATION_FOUND) == expected
        assert [r.code for r in result.reasons] == [ReasonCode.UNMEASURED_CONDITION]


@pytest.mark.parametrize(("seen", "cleared"), [(4, True), (6, False)])
def test_a_doubtful_person_seen_for_a_blink_is_only_mentioned(seen: int, cleared: bool) -> None:
    """Only the first three faces of the passer-by are fit to judge."""
    frames = with_passer_by(seen, logit=-2 * TEN_TO_ONE)
    frames = [
        frame(f.time_s, f.faces[0], face(f.time_s, None, f.faces[1].box, (TOO_SMALL,)))
        if len(f.faces) > 1 and f.time_s >= 1
        else f
        for f in frames
    ]
    one_face = leaning_spec(
        aggregation=AggregationSpec(max_doubtful_presence=0.1, min_track_faces=1).model_dump()
    )
    result = video(frames, one_face)
    assert (result.verdict is VerdictCode.NO_MANIPULATION_FOUND) == cleared
    assert [r.code for r in result.reasons] == [ReasonCode.UNJUDGED_FACES]
    assert "track 1" in result.reasons[0].detail


def test_blinks_add_up_over_the_tracks_that_hard_cuts_make() -> None:
    """Every second frame shows the other person at another place."""
    frames = [
        frame(
            float(i),
            face(float(i), -2 * TEN_TO_ONE),
            *(
                [
                    face(
                        float(i), -2 * TEN_TO_ONE,
                        (300.0 * (1 + i // 3), 100.0, 300.0 * (1 + i // 3) + 120, 240.0),
                        quality=NARROW,
                    )
                ]
                if i < 9
                else []
            ),
        )
        for i in range(40)
    ]  # fmt: skip
    result = video(frames, LENIENT)
    assert len(result.tracks) == 4
    assert result.verdict is VerdictCode.INCONCLUSIVE


def test_a_brief_person_who_is_likely_manipulated_is_never_only_mentioned() -> None:
    """With forty others, the item's value is low enough."""
    others = tuple((200.0 * n, 300.0, 200.0 * n + 120, 440.0) for n in range(40))
    frames = [
        frame(
            float(i),
            *(face(float(i), -2 * TEN_TO_ONE, box) for box in others),
            *([face(float(i), 1.2 * TEN_TO_ONE)] if i < 3 else []),
        )
        for i in range(40)
    ]
    result = video(frames, LENIENT)
    assert result.log_likelihood_ratio is not None
    assert result.log_likelihood_ratio < 0.3
    assert result.verdict is VerdictCode.INCONCLUSIVE
    assert result.leaning is Leaning.NEITHER
    assert ReasonCode.SUSPECT_MOMENTS in [r.code for r in result.reasons]


@pytest.mark.parametrize(("ratio", "cleared"), [(0.7, False), (0.5, True)])
def test_bystanders_do_not_clear_a_face_that_leans_towards_manipulated(
    ratio: float, cleared: bool
) -> None:
    faces = [face(0.0, ratio * TEN_TO_ONE), *[face(0.0, -2 * TEN_TO_ONE) for _ in range(20)]]
    result = judge_picture(PICTURE, faces, SPEC)
    expect_cleared(result, cleared, "face 0 alone leans towards manipulated")


@pytest.mark.parametrize(("ratio", "cleared"), [(0.7, False), (0.5, True)])
def test_cuts_do_not_clear_a_brief_person_who_leans_towards_manipulated(
    ratio: float, cleared: bool
) -> None:
    """The other person's twenty shots are each a track, at a place of its own."""
    frames = [frame(float(i), face(float(i), ratio * TEN_TO_ONE)) for i in range(3)]
    for i in range(3, 63):
        left = 200.0 * (i // 3)
        box = (left, 300.0, left + 120, 440.0)
        frames.append(frame(float(i), face(float(i), -2 * TEN_TO_ONE, box)))
    result = video(frames, LENIENT)
    assert len(result.tracks) == 21
    expect_cleared(result, cleared, "track 0 alone leans towards manipulated")


def expect_cleared(result: Verdict, cleared: bool, detail: str) -> None:
    assert result.log_likelihood_ratio is not None
    assert result.log_likelihood_ratio < 0.0
    if cleared:
        assert result.verdict is VerdictCode.NO_MANIPULATION_FOUND
        assert result.leaning is Leaning.TOWARDS_UNTOUCHED
        assert result.reasons == ()
    else:
        assert result.verdict is VerdictCode.INCONCLUSIVE
        assert result.leaning is Leaning.NEITHER
        (reason,) = result.reasons
        assert reason.code is ReasonCode.SUSPECT_MOMENTS
        assert reason.detail.startswith(detail)


@pytest.mark.parametrize(("width", "cleared"), [(30.0, True), (60.0, False)])
def test_a_small_face_in_the_background_of_a_picture_is_only_mentioned(
    width: float, cleared: bool
) -> None:
    small = Quality(face_px=width, sharpness=10.0, blockiness=1.0, exposure=0.5)
    faces = [face(0.0, -TEN_TO_ONE), face(0.0, None, reasons=(TOO_SMALL,), quality=small)]
    for bundle, expected in ((LENIENT, cleared), (OLD, False)):
        result = judge_picture(PICTURE, faces, bundle)
        assert (result.verdict is VerdictCode.NO_MANIPULATION_FOUND) == expected
        assert [r.code for r in result.reasons] == [ReasonCode.UNJUDGED_FACES]
