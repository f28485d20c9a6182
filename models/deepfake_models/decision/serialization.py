"""Read and write what examinations store: exact records, verdicts, checkpoints and timelines.

Four formats are stored:

- the **exact record** of an evidence bundle, JSON data: what a verdict was computed from, which is
  every face's logit, box, measurements and track number. With the bundle's specification it can be
  judged again;
- a **verdict** as JSON, unrounded;
- a **checkpoint**, JSON: the scored faces of some frames of an examination in progress;
- a **timeline**: the facts of a medium as a line of JSON, then the times of its frames as
  little-endian 64-bit floats.

Floats keep every digit, so judging what was read gives the same verdict.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config

from deepfake_models.bundle.bundle import BundleSpec
from deepfake_models.bundle.results import (
    Box,
    Face,
    FrameCounts,
    MediaFacts,
    Quality,
    Reason,
    Turn,
    Verdict,
    VerdictCode,
)
from deepfake_models.decision.decide import ExaminedFrame, Part, judge_again
from deepfake_models.decision.level import Criteria
from deepfake_models.errors import DeepfakeError
from deepfake_models.media.interface import SavedTimeline, Timeline

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class UnreadableRecord(DeepfakeError):
    """What is stored of an examination is malformed."""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ExactFace:
    """A scored face, without what follows from judging it."""

    time_s: float
    track: int
    box: Box
    confidence: float
    quality: Quality
    logit: float | None
    reasons: tuple[Reason, ...]
    turn: Turn = 0
    kind_logits: tuple[float, ...] | None = None

    @classmethod
    def unjudged(cls, face: Face) -> ExactFace:
        # Every reason of a face with a logit comes from judging it.
        reasons = face.reasons if face.logit is None else ()
        values = {f.name: getattr(face, f.name) for f in fields(cls)}
        return cls(**{**values, "reasons": reasons})

    def face(self) -> Face:
        return Face(**{f.name: getattr(self, f.name) for f in fields(self)})


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ExactRecord:
    """What a verdict was computed from."""

    media: MediaFacts | None
    frames: FrameCounts
    faces: tuple[ExactFace, ...]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class _StoredFrame:
    time_s: float
    signature: tuple[float, ...]
    faces: tuple[ExactFace, ...]


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class _StoredPart:
    failed: Annotated[int, Field(ge=0)]
    frames: tuple[_StoredFrame, ...]


_PART = TypeAdapter(_StoredPart)
_VERDICT = TypeAdapter(Verdict)
_FACTS = TypeAdapter(MediaFacts)


def exact_record(verdict: Verdict) -> ExactRecord:
    """Return the exact record of ``verdict``."""
    faces = tuple(ExactFace.unjudged(face) for face in verdict.faces)
    return ExactRecord(verdict.media, verdict.frames, faces)


def unjudged(exact: ExactRecord) -> Verdict:
    """Return what ``exact`` holds as a verdict that is not judged yet."""
    return Verdict(
        VerdictCode.NOT_APPLICABLE,
        media=exact.media,
        frames=exact.frames,
        faces=tuple(face.face() for face in exact.faces),
    )


def judge_exact(recorded: Verdict, spec: BundleSpec) -> Verdict | None:
    """Return the verdict that follows by ``spec`` from the faces that ``unjudged`` returned.
    ``None`` where there is no face to judge: the verdict then rests on decoding alone."""
    if recorded.media is None or not recorded.faces:
        return None
    return judge_again(recorded, Criteria.of(spec))


def dump_verdict(verdict: Verdict) -> bytes:
    """Return the whole verdict as JSON, unrounded."""
    return _compact(_VERDICT.dump_python(verdict, mode="json"))


def load_verdict(raw: bytes) -> Verdict:
    """Return the verdict that ``dump_verdict`` wrote, or one in its published form;
    ``UnreadableRecord`` if ``raw`` is neither."""
    try:
        return _VERDICT.validate_json(raw)
    except ValidationError as error:
        raise UnreadableRecord from error


def dump_part(part: Part) -> bytes:
    stored = _StoredPart(
        failed=part.failed,
        frames=tuple(
            _StoredFrame(
                time_s=frame.time_s,
                signature=tuple(float(v) for v in frame.signature),
                faces=tuple(ExactFace.unjudged(face) for face in frame.faces),
            )
            for frame in part.examined
        ),
    )
    return _compact(_PART.dump_python(stored, mode="json"))


def load_part(raw: bytes) -> Part:
    """Return the part whose checkpoint is ``raw``; ``UnreadableRecord`` if ``raw`` was not written
    by ``dump_part``."""
    try:
        stored = _PART.validate_json(raw)
    except ValidationError as error:
        raise UnreadableRecord from error
    frames = tuple(
        ExaminedFrame(
            frame.time_s,
            tuple(face.face() for face in frame.faces),
            np.array(frame.signature, np.float32),
        )
        for frame in stored.frames
    )
    return Part(frames, stored.failed)


def dump_timeline(timeline: Timeline) -> bytes:
    """Return the facts and frame times of a medium in the stored form."""
    facts = _compact(_FACTS.dump_python(timeline.facts, mode="json"))
    return facts + b"\n" + timeline.times.astype("<f8").tobytes()


def load_timeline(raw: bytes) -> SavedTimeline:
    """Return the timeline that ``dump_timeline`` wrote; ``UnreadableRecord`` if ``raw`` was not
    written by ``dump_timeline``."""
    facts, _, times = raw.partition(b"\n")
    try:
        return SavedTimeline(
            _FACTS.validate_json(facts), np.frombuffer(times, "<f8").astype(np.float64)
        )
    except ValueError as error:
        raise UnreadableRecord from error


def _compact(content: Any) -> bytes:
    # The standard library's JSON: its spelling of floats is part of the stored formats.
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
