"""From logits to verdicts: face, then track, then item, each by its own calibration.

Nothing here touches pixels: the same observations and logits always give the same verdict, so an
evidence bundle can be judged again from what it states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deepfake_models.bundle import BundleSpec
from deepfake_models.calibration import (
    LN10,
    log_likelihood_ratio,
    mean_log_likelihood_ratio,
    probability,
)
from deepfake_models.spec import Calibration, LevelThresholds
from deepfake_models.tracks import FrameFaces, link
from deepfake_models.verdict import (
    Box,
    FaceScore,
    FrameCounts,
    MediaFacts,
    Moment,
    Quality,
    Reason,
    ReasonCode,
    Track,
    Verdict,
    VerdictCode,
)


@dataclass(frozen=True, slots=True)
class JudgedFace:
    """What is kept of a face once it is scored: no pixels."""

    time_s: float
    box: Box
    confidence: float
    quality: Quality
    logit: float | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class ExaminedFrame:
    """One examined frame: its time, its faces, and its colour signature for scene cuts."""

    time_s: float
    faces: tuple[JudgedFace, ...]
    signature: NDArray[np.float32]


def decide(log10_ratio: float, thresholds: LevelThresholds) -> VerdictCode:
    """Place a log10 likelihood ratio on one level's scale."""
    if log10_ratio >= thresholds.likely_manipulated:
        return VerdictCode.LIKELY_MANIPULATED
    if log10_ratio < thresholds.no_manipulation_found:
        return VerdictCode.NO_MANIPULATION_FOUND
    return VerdictCode.INCONCLUSIVE


def time_weighted_mean(times: Sequence[float], values: Sequence[float], cap_s: float) -> float:
    """Mean of ``values``, each weighted by the time it stands for.

    A value stands for half the way to each neighbour; at an end the only neighbour counts twice.
    Gaps count for at most ``cap_s`` seconds. So a denser look at one moment does not outvote the
    rest of the track. ``times`` ascend.
    """
    if len(values) == 1:
        return float(values[0])
    gaps = np.minimum(np.diff(np.asarray(times, dtype=np.float64)), cap_s)
    before = np.concatenate([gaps[:1], gaps])
    after = np.concatenate([gaps, gaps[-1:]])
    weights = before + after
    if weights.sum() <= 0.0:
        weights = np.ones(len(values))
    return float(np.average(np.asarray(values, dtype=np.float64), weights=weights))


def judge_face(face: JudgedFace, spec: BundleSpec, track: int = 0) -> FaceScore:
    """Score one face at face level."""
    judged = FaceScore(
        time_s=face.time_s,
        box=face.box,
        confidence=face.confidence,
        quality=face.quality,
        verdict=VerdictCode.UNABLE_TO_EVALUATE,
        track=track,
        reasons=face.reasons,
    )
    if face.logit is None:
        return judged
    ratio = log_likelihood_ratio(face.logit, spec.calibration.face)
    code = decide(ratio, spec.thresholds.face)
    return replace(
        judged,
        verdict=code,
        logit=face.logit,
        score=probability(ratio, spec.prior),
        log_likelihood_ratio=ratio,
        reasons=_band_reason(code, ratio, spec.thresholds.face),
    )


def judge_picture(facts: MediaFacts, faces: Sequence[JudgedFace], spec: BundleSpec) -> Verdict:
    """Judge a still: each face is its own track of one, and face-level thresholds decide."""
    scores = tuple(judge_face(f, spec, track=i) for i, f in enumerate(faces))
    counts = FrameCounts(sampled=1, with_face=int(bool(faces)))
    tracks = tuple(
        Track(
            track=s.track,
            verdict=s.verdict,
            score=s.score,
            log_likelihood_ratio=s.log_likelihood_ratio,
            first_s=0.0,
            last_s=0.0,
            faces=1,
            judged=int(s.log_likelihood_ratio is not None),
            reasons=s.reasons,
        )
        for s in scores
    )
    base = Verdict(
        VerdictCode.NOT_APPLICABLE, media=facts, tracks=tracks, frames=counts, faces=scores
    )
    return _judge_item(base, spec, identity=True)


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
    by_track: dict[int, list[FaceScore]] = {}
    for score in scores:
        by_track.setdefault(score.track, []).append(score)
    # A clip of one or two frames cannot have more faces than that.
    needed = min(spec.aggregation.min_track_faces, max(len(frames), 1))
    tracks = tuple(_judge_track(n, by_track[n], needed, spec) for n in sorted(by_track))
    base = Verdict(
        VerdictCode.NOT_APPLICABLE, media=facts, tracks=tracks, frames=counts, faces=scores
    )
    return _judge_item(base, spec, identity=False)


def _judge_track(number: int, faces: list[FaceScore], needed: int, spec: BundleSpec) -> Track:
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
        return replace(track, reasons=_unjudged_reasons(faces, len(judged), needed))
    ratio = log_likelihood_ratio(_track_value(judged, spec), spec.calibration.track)
    code = decide(ratio, spec.thresholds.track)
    return replace(
        track,
        verdict=code,
        score=probability(ratio, spec.prior),
        log_likelihood_ratio=ratio,
        moments=_moments(judged),
        reasons=_band_reason(code, ratio, spec.thresholds.track),
    )


def _track_value(judged: Sequence[FaceScore], spec: BundleSpec) -> float:
    return time_weighted_mean(
        [f.time_s for f in judged],
        [f.logit for f in judged if f.logit is not None],
        spec.sampling.interval_s,
    )


def _unjudged_reasons(faces: list[FaceScore], judged: int, needed: int) -> tuple[Reason, ...]:
    counted = Counter(r.code for f in faces for r in f.reasons if f.logit is None)
    if counted:
        code, count = counted.most_common(1)[0]
        detail = next(r.detail for f in faces for r in f.reasons if r.code is code)
        return (Reason(code, f"{count} of {len(faces)} faces not judged; first: {detail}"),)
    return (
        Reason(
            ReasonCode.TOO_FEW_FACES,
            f"{judged} faces of this person could be judged; at least {needed} are needed",
        ),
    )


def _moments(judged: Sequence[FaceScore]) -> tuple[Moment, ...]:
    """Runs of neighbouring faces judged ``likely_manipulated`` one by one."""
    runs: list[list[FaceScore]] = []
    open_run = False
    for face in judged:
        if face.verdict is VerdictCode.LIKELY_MANIPULATED:
            if not open_run:
                runs.append([])
            runs[-1].append(face)
        open_run = face.verdict is VerdictCode.LIKELY_MANIPULATED
    moments = []
    for run in runs:
        peak = max(run, key=lambda f: f.score or 0.0)
        moments.append(Moment(run[0].time_s, run[-1].time_s, peak.time_s, peak.score or 0.0))
    return tuple(moments)


def _contradicts(track: Track, faces: Sequence[FaceScore], spec: BundleSpec) -> bool:
    """Whether one moment of the track, on its own, would be judged ``likely_manipulated``."""
    if track.verdict is VerdictCode.LIKELY_MANIPULATED:
        return True
    for moment in track.moments:
        inside = [
            f
            for f in faces
            if f.track == track.track
            and f.logit is not None
            and moment.start_s <= f.time_s <= moment.end_s
        ]
        if len(inside) < spec.aggregation.min_track_faces:
            continue
        ratio = log_likelihood_ratio(_track_value(inside, spec), spec.calibration.track)
        if decide(ratio, spec.thresholds.track) is VerdictCode.LIKELY_MANIPULATED:
            return True
    return False


def _judge_item(base: Verdict, spec: BundleSpec, *, identity: bool) -> Verdict:
    """Give the item its verdict from its tracks; ``identity`` = a picture, judged at face level."""
    if not base.tracks:
        return _without_face(base)
    ratios = [r for t in base.tracks if (r := t.log_likelihood_ratio) is not None]
    if not ratios:
        counted = Counter(r for t in base.tracks for r in t.reasons)
        first = counted.most_common(1)[0][0]
        return replace(base, verdict=VerdictCode.UNABLE_TO_EVALUATE, reasons=(first,))
    mean = mean_log_likelihood_ratio(ratios)
    calibration: Calibration = spec.calibration.face if identity else spec.calibration.item
    thresholds = spec.thresholds.face if identity else spec.thresholds.item
    ratio = mean if identity else log_likelihood_ratio(mean * LN10, calibration)
    code = decide(ratio, thresholds)
    reasons = list(_band_reason(code, ratio, thresholds))
    if code is VerdictCode.NO_MANIPULATION_FOUND:
        doubts = _doubts(base, spec)
        if doubts:
            code, reasons = VerdictCode.INCONCLUSIVE, doubts
    unjudged = len(base.tracks) - len(ratios)
    if unjudged:
        reasons.append(
            Reason(
                ReasonCode.UNJUDGED_FACES,
                f"{unjudged} of {len(base.tracks)} faces or tracks were not fit to judge",
            )
        )
    return replace(
        base,
        verdict=code,
        score=probability(ratio, spec.prior),
        log_likelihood_ratio=ratio,
        reasons=tuple(reasons),
    )


def _without_face(base: Verdict) -> Verdict:
    """No face anywhere: not applicable, unless too much of the item could not be looked at."""
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


def _doubts(base: Verdict, spec: BundleSpec) -> list[Reason]:
    """What forbids saying "no manipulation found" although the value is low enough."""
    doubts = []
    if base.frames.longest_gap_s > spec.sampling.max_gap_s:
        doubts.append(
            Reason(
                ReasonCode.COVERAGE,
                f"{base.frames.longest_gap_s:.1f} s in a row were not examined; "
                f"at most {spec.sampling.max_gap_s:.0f} s may be",
            )
        )
    suspicious = [t.track for t in base.tracks if _contradicts(t, base.faces, spec)]
    if suspicious:
        names = ", ".join(str(n) for n in suspicious)
        doubts.append(
            Reason(
                ReasonCode.SUSPECT_MOMENTS,
                f"moments of track {names} look manipulated although the whole does not",
            )
        )
    return doubts


def _band_reason(
    code: VerdictCode, ratio: float, thresholds: LevelThresholds
) -> tuple[Reason, ...]:
    if code is not VerdictCode.INCONCLUSIVE:
        return ()
    return (
        Reason(
            ReasonCode.BETWEEN_THRESHOLDS,
            f"log10 likelihood ratio {ratio:+.2f} lies between "
            f"{thresholds.no_manipulation_found:+.2f} and {thresholds.likely_manipulated:+.2f}, "
            "where the error rates are too high to decide",
        ),
    )
