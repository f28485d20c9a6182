"""Reasons to abstain from a decision, and notes attached to every verdict.

Frames that were not examined and faces that were not fit to judge are not evidence of authenticity.
Faces seen under conditions for which no error rates are known are not evidence either way.

The texts of reasons are stored in evidence. Verification compares the numbers in them, in their
order, and not their wording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import (
    Face,
    Moment,
    Reason,
    ReasonCode,
    Track,
    Verdict,
    VerdictCode,
)
from deepfake_models.decision.calibration import log_likelihood_ratio
from deepfake_models.decision.conditions import looks_manipulated, track_value
from deepfake_models.decision.thresholds import decide

_TRACK_DOUBTS = frozenset({ReasonCode.UNJUDGED_FACES, ReasonCode.SUSPECT_MOMENTS})
"""Reasons for which a track with a low value is inconclusive nevertheless."""


def track_doubts(
    faces: Sequence[Face],
    judged: Sequence[Face],
    moments: Sequence[Moment],
    spec: BundleSpec,
) -> tuple[Reason, ...]:
    """Return why a track may not be ``no_manipulation_found`` although its value is low enough."""
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
                "although the track as a whole does not",
            )
        )
    elif suspect > rules.max_suspect_share * len(judged):
        doubts.append(
            Reason(
                ReasonCode.SUSPECT_MOMENTS,
                f"{suspect} of {len(judged)} judged faces look manipulated although the track as a "
                "whole does not",
            )
        )
    return tuple(doubts)


def _telling(moment: Moment, judged: Sequence[Face], spec: BundleSpec) -> bool:
    """Return whether a moment is long enough to judge and, alone, ``likely_manipulated``."""
    inside = [f for f in judged if moment.start_s <= f.time_s <= moment.end_s]
    if len(inside) < spec.aggregation.min_track_faces:
        return False
    ratio = log_likelihood_ratio(track_value(inside, spec), spec.calibration.track)
    return decide(ratio, spec.thresholds.track) is VerdictCode.LIKELY_MANIPULATED


def track_refusal(judged: Sequence[Face]) -> tuple[Reason, ...]:
    """Return why a track may not be decided on either way; empty where it may.

    It may not if more than half of its judged faces may not.
    """
    refused = [r for f in judged for r in f.reasons if r.code is ReasonCode.UNMEASURED_CONDITION]
    if 2 * len(refused) <= len(judged):
        return ()
    detail = Counter(r.detail for r in refused).most_common(1)[0][0]
    return (
        Reason(
            ReasonCode.UNMEASURED_CONDITION,
            f"{len(refused)} of this person's {len(judged)} judged faces cannot be decided on; "
            f"the most frequent reason: {detail}",
        ),
    )


def is_refused(track: Track) -> bool:
    """Return whether a track has a score but may not be decided on."""
    return any(r.code is ReasonCode.UNMEASURED_CONDITION for r in track.reasons)


def item_refusal(base: Verdict) -> tuple[Reason, ...]:
    """Return why people of an item may not be decided on; empty where everyone may."""
    return _refusal(base, base.tracks)


def _refusal(base: Verdict, tracks: Sequence[Track]) -> tuple[Reason, ...]:
    refused = [t for t in tracks if is_refused(t)]
    if not refused:
        return ()
    reasons = refused[0].reasons
    detail = next(r.detail for r in reasons if r.code is ReasonCode.UNMEASURED_CONDITION)
    if len(base.tracks) > 1:
        detail = (
            f"{len(refused)} of {len(base.tracks)} people cannot be decided on; "
            f"one of them: {detail}"
        )
    return (Reason(ReasonCode.UNMEASURED_CONDITION, detail),)


def item_doubts(base: Verdict, spec: BundleSpec, *, still: bool) -> tuple[Reason, ...]:
    """Return why an item may not be ``no_manipulation_found`` although its value is low enough."""
    doubts = [*_unexamined(base, spec), *_unscored(base, spec, still=still)]
    level = "face" if still else "track"
    weighty = {t.track for t in _weighty(base, spec, still=still)}
    for track in base.tracks:
        if track.verdict is VerdictCode.LIKELY_MANIPULATED:
            detail = (
                f"{level} {track.track} alone is likely manipulated; the item as a whole is not"
            )
            doubts.append(Reason(ReasonCode.SUSPECT_MOMENTS, detail))
        elif track.track in weighty:
            doubts += _named_doubts(track)
    return (*doubts, *_refusal(base, [t for t in base.tracks if t.track in weighty]))


def brief_doubts(base: Verdict, spec: BundleSpec, *, still: bool) -> tuple[Reason, ...]:
    """Return the doubts about people who are seen too briefly to keep an item from a decision."""
    weighty = {t.track for t in _weighty(base, spec, still=still)}
    return tuple(doubt for t in base.tracks if t.track not in weighty for doubt in _named_doubts(t))


def _unexamined(base: Verdict, spec: BundleSpec) -> list[Reason]:
    """Return the doubts that come from frames that were not examined."""
    counts = base.frames
    doubts = []
    if counts.longest_gap_s > spec.sampling.max_gap_s:
        doubts.append(
            Reason(
                ReasonCode.COVERAGE,
                f"{counts.longest_gap_s:.1f} s in a row were not examined; "
                f"the limit is {spec.sampling.max_gap_s:.0f} s",
            )
        )
    if counts.failed > spec.sampling.max_failed_share * counts.sampled:
        doubts.append(
            Reason(
                ReasonCode.FAILED_FRAMES,
                f"{counts.failed} of {counts.sampled} sampled frames could not be decoded",
            )
        )
    return doubts


def _unscored(base: Verdict, spec: BundleSpec, *, still: bool) -> list[Reason]:
    """Return the doubts that come from people who were not scored."""
    rules = spec.aggregation
    hidden = [t for t in base.tracks if t.log_likelihood_ratio is None]
    if still:
        hidden = _wide(base, hidden, rules.max_unjudged_width)
    unjudged = _faces(base, hidden)
    doubts = []
    # Hard cuts split one person into many short tracks, so presence is summed over tracks.
    present = len({f.time_s for f in unjudged})
    if hidden and (still or _exceeds(present, base, rules.max_unjudged_presence)):
        doubts.append(
            Reason(
                ReasonCode.UNJUDGED_FACES,
                f"{len(hidden)} of {len(base.tracks)} people shown could not be scored (present in "
                f"{present} of {base.frames.with_face} frames with a face): "
                f"{hidden[0].reasons[0].detail}",
            )
        )
    suspect = [f for f in unjudged if looks_manipulated(f, spec)]
    present = len({f.time_s for f in suspect})
    enough = len(suspect) >= rules.min_track_faces
    if not still and enough and _exceeds(present, base, rules.max_doubtful_presence):
        doubts.append(
            Reason(
                ReasonCode.SUSPECT_MOMENTS,
                f"{len(suspect)} faces of people seen too briefly to judge look manipulated",
            )
        )
    return doubts


def _weighty(base: Verdict, spec: BundleSpec, *, still: bool) -> Sequence[Track]:
    """Return the doubtful and refused tracks that keep an item from ``no_manipulation_found``."""
    rules = spec.aggregation
    doubtful = [t for t in base.tracks if is_refused(t) or _named_doubts(t)]
    if still:
        return _wide(base, doubtful, rules.max_unjudged_width)
    present = len({f.time_s for f in _faces(base, doubtful)})
    return doubtful if _exceeds(present, base, rules.max_doubtful_presence) else ()


def _named_doubts(track: Track) -> list[Reason]:
    """Return the doubts about an inconclusive track, with its number."""
    if track.verdict is not VerdictCode.INCONCLUSIVE:
        return []
    return [
        replace(r, detail=f"track {track.track}: {r.detail}")
        for r in track.reasons
        if r.code in _TRACK_DOUBTS
    ]


def _exceeds(present: int, base: Verdict, share: float) -> bool:
    return present > max(base.frames.with_face, 1) * share


def _faces(base: Verdict, tracks: Sequence[Track]) -> list[Face]:
    numbers = {t.track for t in tracks}
    return [f for f in base.faces if f.track in numbers]


def _wide(base: Verdict, tracks: Sequence[Track], share: float) -> list[Track]:
    """Return the tracks of a still whose face is wider than ``share`` of the widest judged one."""
    if share == 0.0:
        return list(tracks)
    width = {f.track: f.quality.face_px for f in base.faces}
    widest = max((f.quality.face_px for f in base.faces if f.logit is not None), default=0.0)
    return [t for t in tracks if width[t.track] > share * widest]


def notes(base: Verdict) -> tuple[Reason, ...]:
    """Return the notes on a verdict of any kind: what its score leaves out."""
    omissions = []
    unjudged = sum(t.log_likelihood_ratio is None for t in base.tracks)
    if 0 < unjudged < len(base.tracks):
        omissions.append(
            Reason(
                ReasonCode.UNJUDGED_FACES,
                f"{unjudged} of {len(base.tracks)} people were not judged",
            )
        )
    if base.frames.failed:
        omissions.append(
            Reason(
                ReasonCode.FAILED_FRAMES,
                f"{base.frames.failed} of {base.frames.sampled} sampled frames could not be "
                "decoded",
            )
        )
    return (*omissions, *item_refusal(base))
