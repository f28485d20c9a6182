"""Decide: from logits to verdicts on faces, then tracks, then the item, by their calibrations.

Nothing here needs pixels: the same faces and logits always give the same verdict, so an evidence
bundle can be judged again from its exact record.

Nothing is decided where error rates are not known. By the bundle's ``conditions``,

1. a face is refused, and ``inconclusive``, if its width and sharpness are in a bin with too few
   groups;
2. a video's track is refused if more than half of its judged faces are, whichever way its value
   points; a still's track is its face;
3. an item is ``likely_manipulated`` only if the tracks that are not refused are sufficient: the sum
   of their likelihood ratios, divided by the number of all judged tracks, must reach the threshold
   too, as if the refused ones were certainly authentic;
4. an item with a refused track is ``no_manipulation_found`` only where the bundle's ``aggregation``
   lets people count for nothing who are seen so briefly, or are so small, in it.

Otherwise the verdict is ``inconclusive`` with the reason ``unmeasured_condition``. A refusal
changes neither the values nor a verdict that does not decide.

A bundle with ``leaning`` edges also tells which way a value leans. The same rules apply, with the
edges in place of the thresholds: a refused face or track leans neither way, and what may not be
``no_manipulation_found`` does not lean towards untouched.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import (
    Face,
    FrameCounts,
    Leaning,
    MediaFacts,
    Moment,
    Reason,
    ReasonCode,
    Track,
    Verdict,
    VerdictCode,
)
from deepfake_models.bundle.spec import LevelThresholds
from deepfake_models.decision.abstention import (
    brief_doubts,
    is_refused,
    item_doubts,
    item_refusal,
    notes,
    track_doubts,
    track_refusal,
)
from deepfake_models.decision.calibration import (
    LN10,
    log_likelihood_ratio,
    mean_log_likelihood_ratio,
    probability,
)
from deepfake_models.decision.conditions import looks_manipulated, track_value, unmeasured
from deepfake_models.decision.kinds import kind_shares, shows_kinds
from deepfake_models.decision.thresholds import band_reason, decide, lean
from deepfake_models.faces.tracks import FrameFaces, link


@dataclass(frozen=True, slots=True)
class ExaminedFrame:
    """One examined frame: its time, its faces, and its colour signature for scene cuts.

    ``signature`` is (64,) float32; see ``faces.tracks.signature``.
    """

    time_s: float
    faces: tuple[Face, ...]
    """Scored and not yet judged."""
    signature: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Part:
    """Some frames of an item after examination: those decoded, without their pixels, and the number
    of those that could not be."""

    examined: tuple[ExaminedFrame, ...]
    failed: int


def judge_face(face: Face, spec: BundleSpec, track: int = 0, *, still: bool = False) -> Face:
    """Judge one scored face at face level, as part of track number ``track``.

    ``still`` selects the thresholds of stills. A face that was judged before is judged again from
    its logit.
    """
    if face.logit is None:
        return replace(
            face,
            track=track,
            verdict=VerdictCode.UNABLE_TO_EVALUATE,
            score=None,
            log_likelihood_ratio=None,
            leaning=None,
        )
    thresholds = spec.thresholds.still if still else spec.thresholds.face
    ratio = log_likelihood_ratio(face.logit, spec.calibration.face)
    code = decide(ratio, thresholds)
    reasons = band_reason(code, ratio, thresholds)
    refusal = unmeasured(face.quality, spec.conditions)
    leaning = lean(ratio, thresholds)
    return replace(
        face,
        track=track,
        verdict=VerdictCode.INCONCLUSIVE if refusal else code,
        score=probability(ratio, spec.prior),
        log_likelihood_ratio=ratio,
        reasons=(*reasons, *refusal),
        leaning=Leaning.NEITHER if leaning and refusal else leaning,
    )


def judge_picture(facts: MediaFacts, faces: Sequence[Face], spec: BundleSpec) -> Verdict:
    """Judge a still: each face is its own track of one, and the thresholds of stills decide."""
    scores = tuple(judge_face(f, spec, track=i, still=True) for i, f in enumerate(faces))
    counts = FrameCounts(sampled=1, with_face=int(bool(faces)))
    tracks = tuple(_track_of_one(face, spec) for face in scores)
    base = Verdict(
        VerdictCode.NOT_APPLICABLE, media=facts, tracks=tracks, frames=counts, faces=scores
    )
    return _judge_item(base, spec, still=True)


def _track_of_one(face: Face, spec: BundleSpec) -> Track:
    assert face.verdict is not None
    shown = shows_kinds(face.verdict, face.leaning)
    return Track(
        track=face.track,
        verdict=face.verdict,
        score=face.score,
        log_likelihood_ratio=face.log_likelihood_ratio,
        first_s=0.0,
        last_s=0.0,
        faces=1,
        judged=int(face.log_likelihood_ratio is not None),
        reasons=face.reasons,
        leaning=face.leaning,
        kinds=kind_shares([face], spec) if shown else None,
    )


def judge_video(
    facts: MediaFacts,
    frames: Sequence[ExaminedFrame],
    counts: FrameCounts,
    spec: BundleSpec,
) -> Verdict:
    """Judge a video from its examined frames, which are in time order."""
    labels = link(
        [FrameFaces(f.time_s, tuple(j.box for j in f.faces), f.signature) for f in frames],
        spec.tracks,
    )
    scores = tuple(
        judge_face(face, spec, track=number)
        for frame, numbers in zip(frames, labels, strict=True)
        for face, number in zip(frame.faces, numbers, strict=True)
    )
    return _judge_tracks(facts, scores, counts, spec)


def judge_again(verdict: Verdict, spec: BundleSpec) -> Verdict:
    """Judge the faces of ``verdict`` by the calibration, thresholds and conditions of ``spec``.

    Logits, boxes, measurements and tracks stay the same, so the bundle of ``spec`` must agree with
    the one that they came from on detector, crop, classifier, tracks and sampling. A verdict
    without faces, or on media that could not be decoded, is returned unchanged.
    """
    if not verdict.faces or verdict.media is None:
        return verdict
    if verdict.media.kind == "image":
        return judge_picture(verdict.media, verdict.faces, spec)
    scores = tuple(judge_face(face, spec, track=face.track) for face in verdict.faces)
    return _judge_tracks(verdict.media, scores, verdict.frames, spec)


def _judge_tracks(
    facts: MediaFacts, scores: tuple[Face, ...], counts: FrameCounts, spec: BundleSpec
) -> Verdict:
    by_track: dict[int, list[Face]] = {}
    for score in scores:
        by_track.setdefault(score.track, []).append(score)
    # A clip of one or two frames cannot show a person more often than that. Frames that could not
    # be decoded or were not sampled do not lower the number that is needed.
    needed = min(spec.aggregation.min_track_faces, facts.frames or counts.sampled)
    tracks = tuple(_judge_track(n, by_track[n], needed, spec) for n in sorted(by_track))
    base = Verdict(
        VerdictCode.NOT_APPLICABLE, media=facts, tracks=tracks, frames=counts, faces=scores
    )
    return _judge_item(base, spec, still=False)


def _judge_track(number: int, faces: list[Face], needed: int, spec: BundleSpec) -> Track:
    judged = [f for f in faces if f.logit is not None]
    track = Track(
        track=number,
        verdict=VerdictCode.UNABLE_TO_EVALUATE,
        score=None,
        log_likelihood_ratio=None,
        first_s=faces[0].time_s,
        last_s=faces[-1].time_s,
        faces=len(faces),
        judged=len(judged),
    )
    if len(judged) < needed:
        return replace(track, reasons=_unjudged_reasons(faces, needed))
    ratio = log_likelihood_ratio(track_value(judged, spec), spec.calibration.track)
    code = decide(ratio, spec.thresholds.track)
    reasons = band_reason(code, ratio, spec.thresholds.track)
    moments = _moments(judged, spec)
    doubts = track_doubts(faces, judged, moments, spec)
    if code is VerdictCode.NO_MANIPULATION_FOUND and doubts:
        code, reasons = VerdictCode.INCONCLUSIVE, doubts
    refusal = track_refusal(judged)
    leaning = lean(ratio, spec.thresholds.track)
    if leaning and (refusal or (leaning is Leaning.TOWARDS_UNTOUCHED and doubts)):
        leaning = Leaning.NEITHER
    verdict = VerdictCode.INCONCLUSIVE if refusal else code
    return replace(
        track,
        verdict=verdict,
        score=probability(ratio, spec.prior),
        log_likelihood_ratio=ratio,
        moments=moments,
        reasons=(*reasons, *refusal),
        leaning=leaning,
        kinds=kind_shares(judged, spec) if shows_kinds(verdict, leaning) else None,
    )


def _unjudged_reasons(faces: Sequence[Face], needed: int) -> tuple[Reason, ...]:
    """Return why a track was not judged."""
    reasons = [r for f in faces if f.logit is None for r in f.reasons]
    if reasons and len(faces) == 1:
        return faces[0].reasons
    if reasons:
        return (_most_frequent(reasons, len(faces), "faces"),)
    judged = sum(f.logit is not None for f in faces)
    return (
        Reason(
            ReasonCode.TOO_FEW_FACES,
            f"{judged} faces of this person could be judged; at least {needed} are needed",
        ),
    )


def _no_track_reasons(tracks: Sequence[Track]) -> tuple[Reason, ...]:
    """Return why no track was judged."""
    if len(tracks) == 1:
        return tracks[0].reasons
    return (_most_frequent([t.reasons[0] for t in tracks], len(tracks), "people"),)


def _most_frequent(reasons: Sequence[Reason], total: int, noun: str) -> Reason:
    """Return the most frequent of ``reasons``, with its count out of ``total`` and an example."""
    code, count = Counter(r.code for r in reasons).most_common(1)[0]
    detail = next(r.detail for r in reasons if r.code is code)
    return Reason(code, f"{count} of {total} {noun} not judged; one of them: {detail}")


def _moments(judged: Sequence[Face], spec: BundleSpec) -> tuple[Moment, ...]:
    """Return the runs of consecutive faces that each look manipulated, refused ones included."""
    runs: list[list[Face]] = []
    open_run = False
    for face in judged:
        suspect = looks_manipulated(face, spec)
        if suspect:
            if not open_run:
                runs.append([])
            runs[-1].append(face)
        open_run = suspect
    moments = []
    for run in runs:
        peak = max(run, key=lambda f: f.score or 0.0)
        moments.append(Moment(run[0].time_s, run[-1].time_s, peak.time_s, peak.score or 0.0))
    return tuple(moments)


def _judge_item(base: Verdict, spec: BundleSpec, *, still: bool) -> Verdict:
    """Return ``base`` with the item's verdict, from its tracks; a still is judged at face level."""
    if not base.tracks:
        return _without_face(base)
    judged = [t for t in base.tracks if t.log_likelihood_ratio is not None]
    if not judged:
        reasons = (*_no_track_reasons(base.tracks), *notes(base))
        return replace(base, verdict=VerdictCode.UNABLE_TO_EVALUATE, reasons=reasons)
    thresholds = _item_thresholds(spec, still=still)
    ratio = _item_ratio(judged, len(judged), spec, still=still)
    measured = _measured_ratio(judged, spec, still=still)
    code = decide(ratio, thresholds)
    reasons = band_reason(code, ratio, thresholds)
    leaning = lean(ratio, thresholds)
    doubts: tuple[Reason, ...] = ()
    if code is VerdictCode.NO_MANIPULATION_FOUND or leaning is Leaning.TOWARDS_UNTOUCHED:
        doubts = item_doubts(base, spec, still=still)
    objections: tuple[Reason, ...] = ()
    if code is VerdictCode.NO_MANIPULATION_FOUND:
        objections = doubts
    elif code is VerdictCode.LIKELY_MANIPULATED and decide(measured, thresholds) is not code:
        objections = item_refusal(base)
    if objections:
        code, reasons = VerdictCode.INCONCLUSIVE, objections
    contradicted = leaning is Leaning.TOWARDS_MANIPULATED is not lean(measured, thresholds)
    if leaning and (doubts or contradicted):
        leaning = Leaning.NEITHER
    omissions = notes(base)
    if code is VerdictCode.NO_MANIPULATION_FOUND:
        omissions += brief_doubts(base, spec, still=still)
    given = {r.code for r in reasons}
    return replace(
        base,
        verdict=code,
        score=probability(ratio, spec.prior),
        log_likelihood_ratio=ratio,
        reasons=(*reasons, *(n for n in omissions if n.code not in given)),
        leaning=leaning,
        kinds=_item_kinds(base, judged, spec) if shows_kinds(code, leaning) else None,
    )


def _item_thresholds(spec: BundleSpec, *, still: bool) -> LevelThresholds:
    return spec.thresholds.still if still else spec.thresholds.item


def _item_kinds(
    base: Verdict, judged: Sequence[Track], spec: BundleSpec
) -> dict[str, float] | None:
    """Return the kinds of the most suspect of the ``judged`` tracks."""
    suspect = max(judged, key=lambda t: t.log_likelihood_ratio or 0.0)
    faces = [f for f in base.faces if f.track == suspect.track and f.logit is not None]
    return kind_shares(faces, spec)


def _item_ratio(tracks: Sequence[Track], people: int, spec: BundleSpec, *, still: bool) -> float:
    """Return the log10 likelihood ratio of an item of ``people`` judged people.

    People who are not among ``tracks`` count as certainly authentic.
    """
    ratios = [r for t in tracks if (r := t.log_likelihood_ratio) is not None]
    ratio = mean_log_likelihood_ratio(ratios) + math.log10(len(ratios) / people)
    return ratio if still else log_likelihood_ratio(ratio * LN10, spec.calibration.item)


def _measured_ratio(judged: Sequence[Track], spec: BundleSpec, *, still: bool) -> float:
    """Return the item's log10 likelihood ratio if refused tracks were certainly authentic.

    Negative infinity if every track is refused.
    """
    measured = [t for t in judged if not is_refused(t)]
    if not measured:
        return -math.inf
    return _item_ratio(measured, len(judged), spec, still=still)


def _without_face(base: Verdict) -> Verdict:
    """Return the verdict on an item in which no face was found.

    That is ``not_applicable``, unless at least half of its frames could not be decoded.
    """
    counts = base.frames
    if counts.failed and counts.failed >= counts.sampled - counts.failed:
        reason = Reason(
            ReasonCode.UNDECODABLE,
            f"{counts.failed} of {counts.sampled} sampled frames could not be decoded, "
            "and no face was found in the others",
        )
        return replace(base, verdict=VerdictCode.UNABLE_TO_EVALUATE, reasons=(reason,))
    examined = counts.sampled - counts.failed
    where = "the one frame" if examined == 1 else f"the {examined} frames"
    reason = Reason(ReasonCode.NO_FACE, f"no face was found in {where} examined")
    return replace(base, verdict=VerdictCode.NOT_APPLICABLE, reasons=(reason,))
