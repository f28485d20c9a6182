"""What forbids a decision although a value would allow it, and what is always said.

What was not looked at, or not fit to judge, is no evidence of authenticity. What was looked at
under conditions in which error rates are not known is no evidence either way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from deepfake_models.bundle import BundleSpec
from deepfake_models.decision.calibration import log_likelihood_ratio
from deepfake_models.decision.conditions import decide, looks_manipulated, track_value
from deepfake_models.results import (
    Face,
    Moment,
    Reason,
    ReasonCode,
    Track,
    Verdict,
    VerdictCode,
)

_TRACK_DOUBTS = frozenset({ReasonCode.UNJUDGED_FACES, ReasonCode.SUSPECT_MOMENTS})
"""Reasons of a track that is inconclusive although its value is low enough."""


def track_doubts(
    faces: Sequence[Face],
    judged: Sequence[Face],
    moments: Sequence[Moment],
    spec: BundleSpec,
) -> tuple[Reason, ...]:
    """What forbids calling a track free of manipulation although its value is low enough."""
    rules = spec.aggregation
    doubts = []
    if len(judged) < rules.min_judged_share * len(faces):
        doubts.append(
            Reason(
                ReasonCode.UNJUDGED_FACES,
                f"only {len(judged)} of this person's {len(faces)} faces were fit to judge",
            )
        )
    suspect = sum(looks_manipulated(f, spec) for f in judged)
    telling = next((m for m in moments if _telling(m, judged, spec)), None)
    if telling:
        doubts.append(
            Reason(
                ReasonCode.SUSPECT_MOMENTS,
                f"from {telling.start_s:.1f} s to {telling.end_s:.1f} s the face looks manipulated "
                "although the whole does not",
            )
        )
    elif suspect > rules.max_suspect_share * len(judged):
        doubts.append(
            Reason(
                ReasonCode.SUSPECT_MOMENTS,
                f"{suspect} of {len(judged)} judged faces look manipulated although the whole "
                "does not",
            )
        )
    return tuple(doubts)


def _telling(moment: Moment, judged: Sequence[Face], spec: BundleSpec) -> bool:
    """Whether a moment, on its own, is long enough to judge and ``likely_manipulated``."""
    inside = [f for f in judged if moment.start_s <= f.time_s <= moment.end_s]
    if len(inside) < spec.aggregation.min_track_faces:
        return False
    ratio = log_likelihood_ratio(track_value(inside, spec), spec.calibration.track)
    return decide(ratio, spec.thresholds.track) is VerdictCode.LIKELY_MANIPULATED


def track_refusal(judged: Sequence[Face]) -> tuple[Reason, ...]:
    """What forbids deciding on a track either way: most of its judged faces may not be decided on.

    "Most" is more than half, by count.
    """
    found = [r for f in judged for r in f.reasons if r.code is ReasonCode.UNMEASURED_CONDITION]
    if 2 * len(found) <= len(judged):
        return ()
    detail = Counter(r.detail for r in found).most_common(1)[0][0]
    return (
        Reason(
            ReasonCode.UNMEASURED_CONDITION,
            f"{len(found)} of this person's {len(judged)} judged faces may not be decided on; "
            f"most often {detail}",
        ),
    )


def is_refused(track: Track) -> bool:
    """Whether a track was valued and may not be decided on."""
    return any(r.code is ReasonCode.UNMEASURED_CONDITION for r in track.reasons)


def item_refusal(base: Verdict) -> tuple[Reason, ...]:
    """That people of an item may not be decided on; empty when there is none."""
    refused = [t for t in base.tracks if is_refused(t)]
    if not refused:
        return ()
    reasons = refused[0].reasons
    detail = next(r.detail for r in reasons if r.code is ReasonCode.UNMEASURED_CONDITION)
    if len(base.tracks) > 1:
        detail = (
            f"{len(refused)} of {len(base.tracks)} people may not be decided on; "
            f"one of them: {detail}"
        )
    return (Reason(ReasonCode.UNMEASURED_CONDITION, detail),)


def item_doubts(base: Verdict, spec: BundleSpec, *, still: bool) -> tuple[Reason, ...]:
    """What forbids saying "no manipulation found" although the value is low enough."""
    counts, rules = base.frames, spec.aggregation
    doubts = []
    if counts.longest_gap_s > spec.sampling.max_gap_s:
        doubts.append(
            Reason(
                ReasonCode.COVERAGE,
                f"{counts.longest_gap_s:.1f} s in a row were not examined; "
                f"at most {spec.sampling.max_gap_s:.0f} s may be",
            )
        )
    if counts.failed > spec.sampling.max_failed_share * counts.sampled:
        doubts.append(
            Reason(
                ReasonCode.FAILED_FRAMES,
                f"{counts.failed} of {counts.sampled} sampled frames could not be decoded",
            )
        )
    hidden = [t for t in base.tracks if t.log_likelihood_ratio is None]
    numbers = {t.track for t in hidden}
    unjudged = [f for f in base.faces if f.track in numbers]
    # Fast cuts make a person many people of a face or two each: together they are somebody.
    present = len({f.time_s for f in unjudged})
    if hidden and (still or present > max(counts.with_face, 1) * rules.max_unjudged_presence):
        doubts.append(
            Reason(
                ReasonCode.UNJUDGED_FACES,
                f"{len(hidden)} of {len(base.tracks)} people were there and not judged, in "
                f"{present} of {counts.with_face} frames with a face: "
                f"{hidden[0].reasons[0].detail}",
            )
        )
    suspect = sum(looks_manipulated(f, spec) for f in unjudged)
    if not still and suspect >= rules.min_track_faces:
        doubts.append(
            Reason(
                ReasonCode.SUSPECT_MOMENTS,
                f"{suspect} faces look manipulated of people who were seen too briefly to judge",
            )
        )
    what = "face" if still else "track"
    for track in base.tracks:
        if track.verdict is VerdictCode.LIKELY_MANIPULATED:
            detail = f"{what} {track.track} by itself is likely manipulated; the whole is not"
            doubts.append(Reason(ReasonCode.SUSPECT_MOMENTS, detail))
        elif track.verdict is VerdictCode.INCONCLUSIVE:
            doubts += [
                replace(r, detail=f"track {track.track}: {r.detail}")
                for r in track.reasons
                if r.code in _TRACK_DOUBTS
            ]
    return (*doubts, *item_refusal(base))


def notes(base: Verdict) -> tuple[Reason, ...]:
    """What was left out, said with every verdict."""
    said = []
    unjudged = sum(t.log_likelihood_ratio is None for t in base.tracks)
    if 0 < unjudged < len(base.tracks):
        said.append(
            Reason(
                ReasonCode.UNJUDGED_FACES,
                f"{unjudged} of {len(base.tracks)} people were not judged",
            )
        )
    if base.frames.failed:
        said.append(
            Reason(
                ReasonCode.FAILED_FRAMES,
                f"{base.frames.failed} of {base.frames.sampled} sampled frames could not be "
                "decoded",
            )
        )
    return (*said, *item_refusal(base))
