"""Decide: from logits to verdicts on faces, then tracks, then the item, by their calibrations.

Nothing here needs pixels: the same faces and logits always give the same verdict, so an evidence
bundle can be judged again from its exact record.

Nothing is decided where error rates are not known: docs/model-bundle.md has the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

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
from deepfake_models.bundle.spec import TrackSpec
from deepfake_models.decision.level import (
    Criteria,
    Judgement,
    Level,
    time_weighted_mean,
)
from deepfake_models.decision.rules import (
    ITEM_RULES,
    TRACK_RULES,
    SeenItem,
    SeenTrack,
    is_unmeasured,
    more_in_file,
    notes,
    unmeasured_face,
    unmeasured_people,
    unmeasured_track,
)
from deepfake_models.faces.tracks import FrameFaces, link


@dataclass(frozen=True, slots=True)
class ExaminedFrame:
    """One examined frame: its time, its faces, and its colour signature for scene cuts.
    ``signature`` is (64,) float32; see ``faces.tracks.signature``."""

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


def judge_face(face: Face, level: Level, criteria: Criteria, track: int = 0) -> Face:
    """Judge one scored face at ``level``, as part of track number ``track``. A face that was judged
    before is judged again from its logit."""
    if face.logit is None:
        return replace(
            face,
            track=track,
            verdict=VerdictCode.UNABLE_TO_EVALUATE,
            score=None,
            log_likelihood_ratio=None,
            leaning=None,
        )
    ratio = level.ratio(face.logit)
    judgement = level.judge(ratio, either=unmeasured_face(face.quality, criteria.spec.conditions))
    return replace(
        face,
        track=track,
        suspect=level.verdict(ratio) is VerdictCode.LIKELY_MANIPULATED,
        **judgement._asdict(),
    )


def judge_picture(facts: MediaFacts, faces: Sequence[Face], criteria: Criteria) -> Verdict:
    """Judge a still: each face is its own track of one, and the thresholds of stills decide."""
    judged = tuple(judge_face(f, criteria.still, criteria, i) for i, f in enumerate(faces))
    counts = FrameCounts(sampled=1, with_face=int(bool(faces)))
    tracks = tuple(_track_of_one(face, criteria) for face in judged)
    return _judge_item(facts, tracks, judged, counts, criteria)


def _track_of_one(face: Face, criteria: Criteria) -> Track:
    assert face.verdict is not None
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
        kinds=_kinds(face, [face], criteria),
    )


def judge_video(
    facts: MediaFacts, frames: Sequence[ExaminedFrame], counts: FrameCounts, criteria: Criteria
) -> Verdict:
    """Judge a video from its examined frames, which are in time order."""
    return _judge_faces(facts, tracked_faces(frames, criteria.spec.tracks), counts, criteria)


def tracked_faces(frames: Sequence[ExaminedFrame], spec: TrackSpec) -> list[Face]:
    """Return the faces of ``frames``, which are in time order, with the numbers of their tracks."""
    labels = link(
        [FrameFaces(f.time_s, tuple(j.box for j in f.faces), f.signature) for f in frames], spec
    )
    return [
        replace(face, track=number)
        for frame, numbers in zip(frames, labels, strict=True)
        for face, number in zip(frame.faces, numbers, strict=True)
    ]


def judge_again(verdict: Verdict, criteria: Criteria) -> Verdict:
    """Judge the faces of ``verdict`` by the ``criteria`` of another bundle.

    Logits, boxes, measurements and tracks stay the same, so the bundles must agree on detector,
    crop, classifier, tracks and sampling. A verdict without faces, or on media that could not be
    decoded, is returned unchanged.
    """
    if not verdict.faces or verdict.media is None:
        return verdict
    if verdict.media.kind == "image":
        return judge_picture(verdict.media, verdict.faces, criteria)
    return _judge_faces(verdict.media, verdict.faces, verdict.frames, criteria)


def _judge_faces(
    facts: MediaFacts, faces: Sequence[Face], counts: FrameCounts, criteria: Criteria
) -> Verdict:
    """Judge a video from its scored faces, which have the numbers of their tracks."""
    judged = tuple(judge_face(face, criteria.face, criteria, face.track) for face in faces)
    by_track: dict[int, list[Face]] = {}
    for face in judged:
        by_track.setdefault(face.track, []).append(face)
    tracks = tuple(_judge_track(n, by_track[n], counts, criteria) for n in sorted(by_track))
    return _judge_item(facts, tracks, judged, counts, criteria)


def _judge_track(number: int, faces: list[Face], counts: FrameCounts, criteria: Criteria) -> Track:
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
    # The values of one or two faces scatter more than those that the error rates were measured on,
    # however long a clip of one or two frames shows them.
    distinct = min(len(judged), counts.with_face)
    if distinct < (needed := criteria.spec.aggregation.min_track_faces):
        return replace(track, reasons=_unjudged_reasons(faces, distinct, needed))
    seen = SeenTrack(faces, judged, _moments(judged), criteria)
    judgement = criteria.track.judge(
        criteria.track_ratio(judged),
        untouched=(reason for rule in TRACK_RULES for reason in rule(seen)),
        either=unmeasured_track(judged),
    )
    judged_track = replace(track, moments=seen.moments, **judgement._asdict())
    return replace(judged_track, kinds=_kinds(judged_track, judged, criteria))


def _unjudged_reasons(faces: Sequence[Face], judged: int, needed: int) -> tuple[Reason, ...]:
    reasons = [r for f in faces if f.logit is None for r in f.reasons]
    if reasons and len(faces) == 1:
        return faces[0].reasons
    if reasons:
        return (_most_frequent(reasons, len(faces), "faces"),)
    return (
        Reason(
            ReasonCode.TOO_FEW_FACES,
            f"{judged} faces of this person could be judged; at least {needed} are needed",
        ),
    )


def _no_track_reasons(tracks: Sequence[Track]) -> tuple[Reason, ...]:
    if len(tracks) == 1:
        return tracks[0].reasons
    return (_most_frequent([t.reasons[0] for t in tracks], len(tracks), "people"),)


def _most_frequent(reasons: Sequence[Reason], total: int, noun: str) -> Reason:
    code, count = Counter(r.code for r in reasons).most_common(1)[0]
    detail = next(r.detail for r in reasons if r.code is code)
    return Reason(code, f"{count} of {total} {noun} not judged; one of them: {detail}")


def _moments(judged: Sequence[Face]) -> tuple[Moment, ...]:
    moments = []
    for suspect, faces in groupby(judged, lambda f: f.suspect):
        if suspect:
            run = list(faces)
            peak = max(run, key=lambda f: f.score or 0.0)
            moments.append(Moment(run[0].time_s, run[-1].time_s, peak.time_s, peak.score or 0.0))
    return tuple(moments)


def _judge_item(
    facts: MediaFacts,
    tracks: tuple[Track, ...],
    faces: tuple[Face, ...],
    counts: FrameCounts,
    criteria: Criteria,
) -> Verdict:
    """Judge an item from its judged tracks; a still is judged at face level."""
    base = Verdict(
        VerdictCode.NOT_APPLICABLE, media=facts, tracks=tracks, frames=counts, faces=faces
    )
    if not tracks:
        return _without_face(base, facts)
    item = SeenItem(facts, tracks, faces, counts, criteria)
    judged = [t for t in tracks if t.log_likelihood_ratio is not None]
    if not judged:
        code = VerdictCode.UNABLE_TO_EVALUATE
        return replace(base, verdict=code, reasons=(*_no_track_reasons(tracks), *notes(item, code)))
    judgement = _judgement(item, judged)
    given = {r.code for r in judgement.reasons}
    further = (n for n in notes(item, judgement.verdict) if n.code not in given)
    suspect = max(judged, key=lambda t: t.log_likelihood_ratio or 0.0)
    scored = [f for f in item.faces_of([suspect]) if f.logit is not None]
    return replace(
        base,
        kinds=_kinds(judgement, scored, criteria),
        **judgement._replace(reasons=(*judgement.reasons, *further))._asdict(),
    )


def _judgement(item: SeenItem, judged: Sequence[Track]) -> Judgement:
    criteria, still = item.criteria, item.still
    level = criteria.still if still else criteria.item
    ratios = [r for t in judged if (r := t.log_likelihood_ratio) is not None]
    judgement = level.judge(
        criteria.item_ratio(ratios, len(judged), still=still),
        untouched=(reason for rule in ITEM_RULES for reason in rule(item)),
    )
    # What points towards manipulated must do so even if people who may not be decided on were
    # certainly authentic.
    measured = [t.log_likelihood_ratio or 0.0 for t in judged if not is_unmeasured(t)]
    least = criteria.item_ratio(measured, len(judged), still=still)
    likely, towards = VerdictCode.LIKELY_MANIPULATED, Leaning.TOWARDS_MANIPULATED
    if judgement.verdict is likely is not level.verdict(least):
        reasons = tuple(unmeasured_people(item, item.tracks))
        judgement = judgement._replace(verdict=VerdictCode.INCONCLUSIVE, reasons=reasons)
    if judgement.leaning is towards is not level.leaning(least):
        judgement = judgement._replace(leaning=Leaning.NEITHER)
    return judgement


def _without_face(base: Verdict, facts: MediaFacts) -> Verdict:
    """Return the verdict on an item in which no face was found. That is ``not_applicable``, unless
    at least half of its frames could not be decoded."""
    counts = base.frames
    if counts.failed and counts.failed >= counts.sampled - counts.failed:
        reason = Reason(
            ReasonCode.UNDECODABLE,
            f"{counts.failed} of {counts.sampled} sampled frames could not be decoded or differ in "
            "size from the first, and no face was found in the others",
        )
        return replace(base, verdict=VerdictCode.UNABLE_TO_EVALUATE, reasons=(reason,))
    examined = counts.sampled - counts.failed
    where = "the one frame" if examined == 1 else f"the {examined} frames"
    reason = Reason(ReasonCode.NO_FACE, f"no face was found in {where} examined")
    return replace(base, verdict=VerdictCode.NOT_APPLICABLE, reasons=(reason, *more_in_file(facts)))


def _kinds(
    judgement: Judgement | Face | Track, judged: Sequence[Face], criteria: Criteria
) -> dict[str, float] | None:
    """Return the share of each kind, 0 to 1, in the order of the bundle's; they sum to 1.

    The shares are the softmax of the faces' mean logits, each face weighted as in the value of a
    track. ``judged`` are a track's faces with a logit, in time order. ``None`` if manipulation is
    not suspected, the bundle tells no kinds apart, or a face does not have one logit for each.
    """
    if (
        judgement.verdict is not VerdictCode.LIKELY_MANIPULATED
        and judgement.leaning is not Leaning.TOWARDS_MANIPULATED
    ):
        return None
    rows, kinds = [f.kind_logits or () for f in judged], criteria.spec.kinds
    if not kinds or not rows or any(len(row) != len(kinds) for row in rows):
        return None
    times = [f.time_s for f in judged]
    cap_s = criteria.spec.sampling.interval_s
    means = np.array(
        [time_weighted_mean(times, column, cap_s) for column in zip(*rows, strict=True)]
    )
    shares = np.exp(means - means.max())
    shares /= shares.sum()
    return dict(zip(kinds, shares.tolist(), strict=True))


def uncapped_item_ratio(verdict: Verdict, criteria: Criteria) -> float | None:
    """Return an item's log10 likelihood ratio with no limit applied at any level.

    ``Verdict.log_likelihood_ratio`` stops at what the fitting material supports, so clear cases
    tie. A ROC curve needs their order. The two agree wherever no limit was reached. ``None`` where
    the item has no score.
    """
    return judge_again(verdict, criteria.uncapped()).log_likelihood_ratio
