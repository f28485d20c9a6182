"""Rules for abstaining: each gives the reasons why a face, a track or an item is not decided on.

Frames that were not examined and faces that were not fit to judge are not evidence of authenticity.
``TRACK_RULES`` and ``ITEM_RULES``, in their order, therefore bar ``no_manipulation_found``. Faces
seen under conditions for which no error rates are known are not evidence either way: the rules
``unmeasured`` bar every decision. ``notes`` bar nothing.

The texts of reasons are stored in evidence. Verification compares the numbers in them, in their
order, and not their wording.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from deepfake_models.bundle.results import (
    Face,
    FrameCounts,
    Leaning,
    MediaFacts,
    Moment,
    Quality,
    Reason,
    ReasonCode,
    Track,
    Unexamined,
    VerdictCode,
)
from deepfake_models.bundle.spec import ConditionsSpec
from deepfake_models.decision.level import Criteria

_TRACK_REASONS = frozenset({ReasonCode.UNJUDGED_FACES, ReasonCode.SUSPECT_MOMENTS})
"""Reasons of ``TRACK_RULES``."""

_MORE = {
    Unexamined.FURTHER_STREAM: "another video stream",
    Unexamined.HIDDEN_FRAMES: "frames that it lists and does not show",
    Unexamined.TRANSPARENCY: "transparent pixels, which look different on another background",
    Unexamined.FURTHER_PAGE: "further pages",
    Unexamined.FILM: "a film beside the picture",
}


@dataclass(frozen=True, slots=True)
class SeenTrack:
    faces: Sequence[Face]
    judged: Sequence[Face]
    moments: tuple[Moment, ...]
    criteria: Criteria


@dataclass(frozen=True)
class SeenItem:
    """An item before its verdict, with its judged tracks and faces."""

    facts: MediaFacts
    tracks: Sequence[Track]
    faces: Sequence[Face]
    frames: FrameCounts
    criteria: Criteria

    @property
    def still(self) -> bool:
        return self.facts.kind == "image"

    @cached_property
    def weighty(self) -> Sequence[Track]:
        """The tracks with reasons of their own that count against ``no_manipulation_found``."""
        rules = self.criteria.spec.aggregation
        barred = [t for t in self.tracks if is_unmeasured(t) or _numbered(t)]
        if self.still:
            return self.wide(barred)
        enough = self.exceeds(self.faces_of(barred), rules.max_doubtful_presence)
        return barred if enough else ()

    def faces_of(self, tracks: Iterable[Track]) -> list[Face]:
        numbers = {t.track for t in tracks}
        return [f for f in self.faces if f.track in numbers]

    def exceeds(self, faces: Iterable[Face], share: float) -> bool:
        """Return whether ``faces`` are in more than this share of the frames with a face, of which
        one that is shown for long counts repeatedly."""
        return _moments_of(faces) > max(_moments_of(self.faces), 1) * share

    def wide(self, tracks: Sequence[Track]) -> Sequence[Track]:
        """Return the tracks of a still whose face is wide beside the widest judged one."""
        share = self.criteria.spec.aggregation.max_unjudged_width
        if share == 0.0:
            return tracks
        width = {f.track: f.quality.face_px for f in self.faces}
        widest = max((f.quality.face_px for f in self.faces if f.logit is not None), default=0.0)
        return [t for t in tracks if width[t.track] > share * widest]


def unmeasured_face(quality: Quality, conditions: ConditionsSpec) -> Iterator[Reason]:
    """Report that the error rates on faces of this width and sharpness are not known. The bin is
    found by the rounded measurements that results show, so that a reader finds the same."""
    shown = quality.to_json()
    condition = conditions.find(shown["face_px"], shown["sharpness"])
    if condition is None:
        return
    row, column, measured = condition
    real, fake = measured.false_positive_rate.groups, measured.true_positive_rate.groups
    if min(real, fake) < conditions.min_groups:
        yield Reason(
            ReasonCode.UNMEASURED_CONDITION,
            f"faces of {_span(conditions.face_px_edges, row)} px and sharpness "
            f"{_span(conditions.sharpness_edges, column)}: error rates were measured on {real} "
            f"real and {fake} manipulated groups; {conditions.min_groups} of each are needed",
        )


def _span(edges: Sequence[float], index: int) -> str:
    """Describe bin ``index`` of those that ``edges``, at least one, separate."""
    if index == 0:
        return f"under {edges[0]:g}"
    if index == len(edges):
        return f"{edges[-1]:g} or more"
    return f"{edges[index - 1]:g} to {edges[index]:g}"


def unmeasured_track(judged: Sequence[Face]) -> Iterator[Reason]:
    """Report that more than half of the judged faces may not be decided on."""
    barred = [r for f in judged for r in f.reasons if r.code is ReasonCode.UNMEASURED_CONDITION]
    if 2 * len(barred) > len(judged):
        detail = Counter(r.detail for r in barred).most_common(1)[0][0]
        yield Reason(
            ReasonCode.UNMEASURED_CONDITION,
            f"{len(barred)} of this person's {len(judged)} judged faces cannot be decided on; "
            f"the most frequent reason: {detail}",
        )


def is_unmeasured(track: Track) -> bool:
    """Return whether a track has a score but may not be decided on."""
    return any(r.code is ReasonCode.UNMEASURED_CONDITION for r in track.reasons)


def unmeasured_people(item: SeenItem, tracks: Sequence[Track]) -> Iterator[Reason]:
    """Report that people among ``tracks`` may not be decided on."""
    barred = [t for t in tracks if is_unmeasured(t)]
    if not barred:
        return
    reasons = barred[0].reasons
    detail = next(r.detail for r in reasons if r.code is ReasonCode.UNMEASURED_CONDITION)
    if len(item.tracks) > 1:
        detail = (
            f"{len(barred)} of {len(item.tracks)} people cannot be decided on; "
            f"one of them: {detail}"
        )
    yield Reason(ReasonCode.UNMEASURED_CONDITION, detail)


def few_judged_faces(track: SeenTrack) -> Iterator[Reason]:
    """Report that too few of the track's faces were fit to judge."""
    judged, seen = len(track.judged), len(track.faces)
    if judged < track.criteria.spec.aggregation.min_judged_share * seen:
        yield Reason(
            ReasonCode.UNJUDGED_FACES,
            f"only {judged} of this person's {seen} faces were fit to judge",
        )


def suspect_faces(track: SeenTrack) -> Iterator[Reason]:
    """Report a moment that alone is ``likely_manipulated``, or many scattered suspect faces."""
    suspect = sum(f.suspect for f in track.judged)
    telling = next((m for m in track.moments if _is_telling(m, track)), None)
    if telling:
        what = f"from {telling.start_s:.1f} s to {telling.end_s:.1f} s the face looks"
    elif suspect > track.criteria.spec.aggregation.max_suspect_share * len(track.judged):
        what = f"{suspect} of {len(track.judged)} judged faces look"
    else:
        return
    detail = f"{what} manipulated although the track as a whole does not"
    yield Reason(ReasonCode.SUSPECT_MOMENTS, detail)


def _is_telling(moment: Moment, track: SeenTrack) -> bool:
    """Return whether a moment is long enough to judge and, alone, ``likely_manipulated``."""
    criteria = track.criteria
    inside = [f for f in track.judged if moment.start_s <= f.time_s <= moment.end_s]
    if len(inside) < criteria.spec.aggregation.min_track_faces:
        return False
    ratio = criteria.track_ratio(inside)
    return criteria.track.verdict(ratio) is VerdictCode.LIKELY_MANIPULATED


TRACK_RULES: tuple[Callable[[SeenTrack], Iterator[Reason]], ...] = (few_judged_faces, suspect_faces)


def long_gap(item: SeenItem) -> Iterator[Reason]:
    """Report that a long part of the video was not examined."""
    gap_s, limit_s = item.frames.longest_gap_s, item.criteria.spec.sampling.max_gap_s
    if gap_s > limit_s:
        yield Reason(
            ReasonCode.COVERAGE,
            f"{gap_s:.1f} s in a row were not examined; the limit is {limit_s:.0f} s",
        )


def more_in_file(facts: MediaFacts) -> Iterator[Reason]:
    """Report what the file holds beyond what was examined."""
    if facts.unexamined:
        what = "; ".join(_MORE[kind] for kind in facts.unexamined)
        yield Reason(ReasonCode.MORE_IN_FILE, f"the file holds more than was examined: {what}")


def many_failed_frames(item: SeenItem) -> Iterator[Reason]:
    """Report that many frames could not be decoded."""
    if item.frames.failed > item.criteria.spec.sampling.max_failed_share * item.frames.sampled:
        yield _failed_frames(item)


def unscored_people(item: SeenItem) -> Iterator[Reason]:
    """Report people who were not scored and are seen for long, or are wide in a still."""
    hidden: Sequence[Track] = [t for t in item.tracks if t.log_likelihood_ratio is None]
    if item.still:
        hidden = item.wide(hidden)
    # Hard cuts split one person into many short tracks, so presence is summed over tracks.
    faces = item.faces_of(hidden)
    limit = item.criteria.spec.aggregation.max_unjudged_presence
    if hidden and (item.still or item.exceeds(faces, limit)):
        yield Reason(
            ReasonCode.UNJUDGED_FACES,
            f"{len(hidden)} of {len(item.tracks)} people shown could not be scored (present in "
            f"{_moments_of(faces)} of {_moments_of(item.faces)} frames with a face, counted for as "
            f"long as they are shown): {hidden[0].reasons[0].detail}",
        )


def suspect_unscored_people(item: SeenItem) -> Iterator[Reason]:
    """Report that faces of people who were seen too briefly to score look manipulated."""
    rules = item.criteria.spec.aggregation
    hidden = (t for t in item.tracks if t.log_likelihood_ratio is None)
    suspect = [f for f in item.faces_of(hidden) if f.suspect]
    enough = len(suspect) >= rules.min_track_faces
    if not item.still and enough and item.exceeds(suspect, rules.max_doubtful_presence):
        yield Reason(
            ReasonCode.SUSPECT_MOMENTS,
            f"{len(suspect)} faces of people seen too briefly to judge look manipulated",
        )


def barred_people(item: SeenItem) -> Iterator[Reason]:
    """Report suspect people, and the reasons of those who weigh enough."""
    level = "face" if item.still else "track"
    for track in item.tracks:
        name = f"{level} {track.track} alone"
        if track.verdict is VerdictCode.LIKELY_MANIPULATED:
            detail = f"{name} is likely manipulated; the item as a whole is not"
            yield Reason(ReasonCode.SUSPECT_MOMENTS, detail)
        # However briefly seen: bystanders and cuts lower the mean over tracks at will.
        elif track.leaning is Leaning.TOWARDS_MANIPULATED:
            detail = f"{name} leans towards manipulated; the item as a whole does not"
            yield Reason(ReasonCode.SUSPECT_MOMENTS, detail)
        elif track in item.weighty:
            yield from _numbered(track)


ITEM_RULES: tuple[Callable[[SeenItem], Iterator[Reason]], ...] = (
    lambda item: more_in_file(item.facts),
    long_gap,
    many_failed_frames,
    unscored_people,
    suspect_unscored_people,
    barred_people,
    lambda item: unmeasured_people(item, item.weighty),
)


def notes(item: SeenItem, verdict: VerdictCode) -> Iterator[Reason]:
    """Yield what the score of an item leaves out, whatever its verdict."""
    unjudged = sum(t.log_likelihood_ratio is None for t in item.tracks)
    if 0 < unjudged < len(item.tracks):
        detail = f"{unjudged} of {len(item.tracks)} people were not judged"
        yield Reason(ReasonCode.UNJUDGED_FACES, detail)
    if item.frames.failed:
        yield _failed_frames(item)
    yield from unmeasured_people(item, item.tracks)
    if verdict is VerdictCode.NO_MANIPULATION_FOUND:
        for track in item.tracks:
            if track not in item.weighty:
                yield from _numbered(track)


def _failed_frames(item: SeenItem) -> Reason:
    counts = item.frames
    return Reason(
        ReasonCode.FAILED_FRAMES,
        f"{counts.failed} of {counts.sampled} sampled frames could not be decoded or differ in "
        "size from the first",
    )


def _numbered(track: Track) -> list[Reason]:
    """Return the reasons of ``TRACK_RULES`` for an inconclusive track, with its number."""
    if track.verdict is not VerdictCode.INCONCLUSIVE:
        return []
    return [
        replace(r, detail=f"track {track.track}: {r.detail}")
        for r in track.reasons
        if r.code in _TRACK_REASONS
    ]


def _moments_of(faces: Iterable[Face]) -> int:
    return len({f.time_s for f in faces})
