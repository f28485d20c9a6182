"""The types of results: verdict, reason, face, track and the verdict on a whole item.

``score`` is in [0, 1], higher = more probably manipulated, calibrated at the bundle's prior.
``log_likelihood_ratio`` is log10 and does not depend on the prior. Both are ``None`` where nothing
was judged: a failure is never a score. Boxes are half-open pixel rectangles ``(x0, y0, x1, y1)`` in
the displayed (rotated) frame; times are seconds from the first frame's timestamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Annotated, Any, cast

from pydantic import Field

from deepfake_models.errors import (
    DecoderFailed,
    DecoderTooSlow,
    MediaError,
    MediaTooLarge,
    NotAPicture,
    NoVisualStream,
    UndecodableMedia,
    UnreadableMedia,
)


class VerdictCode(StrEnum):
    """The conclusion on a face, a track or an item."""

    LIKELY_MANIPULATED = "likely_manipulated"
    INCONCLUSIVE = "inconclusive"
    NO_MANIPULATION_FOUND = "no_manipulation_found"
    NOT_APPLICABLE = "not_applicable"
    UNABLE_TO_EVALUATE = "unable_to_evaluate"


class Leaning(StrEnum):
    """Which way a value leans, by the bundle's measured edges.

    It ranks a queue and never proves: of what leans towards manipulated, more is authentic than the
    rates of ``likely_manipulated`` allow.
    """

    TOWARDS_MANIPULATED = "towards_manipulated"
    NEITHER = "neither"
    TOWARDS_UNTOUCHED = "towards_untouched"


class ReasonCode(StrEnum):
    """Why a verdict does not decide, or what limits one that does."""

    # not_applicable
    NO_FACE = "no_face"
    # unable_to_evaluate: there is a face, but it is not fit to judge
    FACE_TOO_SMALL = "face_too_small"
    FACE_TOO_BLURRED = "face_too_blurred"
    TOO_FEW_FACES = "too_few_faces"
    TOO_MANY_FACES = "too_many_faces"
    ROTATED = "rotated"
    # unable_to_evaluate: the input
    UNREADABLE = "unreadable"
    UNDECODABLE = "undecodable"
    NO_VISUAL_STREAM = "no_visual_stream"
    TOO_LARGE = "too_large"
    DECODER_FAILED = "decoder_failed"
    NOT_A_PICTURE = "not_a_picture"
    # inconclusive
    BETWEEN_THRESHOLDS = "between_thresholds"
    COVERAGE = "coverage"
    SUSPECT_MOMENTS = "suspect_moments"
    UNJUDGED_FACES = "unjudged_faces"
    FAILED_FRAMES = "failed_frames"
    UNMEASURED_CONDITION = "unmeasured_condition"
    MORE_IN_FILE = "more_in_file"


class Unexamined(StrEnum):
    """What a file holds that people may see and the service does not examine."""

    FURTHER_STREAM = "further_stream"
    """A video stream beside the one that was examined."""
    HIDDEN_FRAMES = "hidden_frames"
    """Frames that the file lists and an edit list leaves out; players that ignore it show them."""
    TRANSPARENCY = "transparency"
    """Pixels that look different on another background, or a video that may have such pixels."""
    FURTHER_PAGE = "further_page"
    """Pages of a TIFF after its first."""
    FILM = "film"
    """A film in a HEIF or AVIF file, which players may show instead of the picture."""


def input_at_fault(code: str) -> bool:
    """Return whether a stored reason is that the input could not be decoded at all. The codes of a
    newer version are unknown here, and not taken for that."""
    return code in _REASON_OF_ERROR.values()


_UNPUBLISHED = frozenset({"logit", "kind_logits", "suspect"})
_LEFT_OUT_IF_ABSENT = frozenset({"turn", "leaning", "kinds", "unexamined"})
_DIGITS = {
    "box": 1, "face_px": 1, "sharpness": 2, "confidence": 4, "score": 4, "peak_score": 4,
    "log_likelihood_ratio": 4, "kinds": 4,
}  # fmt: skip
"""Decimals of published numbers; those of others, such as times, are 3."""


class Published:
    """A dataclass with a published form."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return the published form: rounded, and without fields that are only stored."""
        values = {f.name: getattr(self, f.name) for f in fields(cast("Any", self))}
        return {
            name: _published(value, _DIGITS.get(name, 3))
            for name, value in values.items()
            if name not in _UNPUBLISHED and (value or name not in _LEFT_OUT_IF_ABSENT)
        }


def _published(value: Any, digits: int) -> Any:
    match value:
        case Published():
            return value.to_json()
        case float():
            return round(value, digits)
        case StrEnum():
            return str(value)
        case tuple():
            return [_published(v, digits) for v in value]
        case dict():
            return {name: round(share, digits) for name, share in value.items()}
    return value


@dataclass(frozen=True, slots=True)
class Reason(Published):
    """A machine-readable code and a sentence for a person."""

    code: ReasonCode
    detail: str


@dataclass(frozen=True, slots=True)
class Quality(Published):
    """Measurements of a face, taken before it is scored."""

    face_px: float
    """Width of the face box in pixels of the original frame."""
    sharpness: float
    """Standard deviation of the Laplacian of the crop's luma, in 8-bit levels."""
    blockiness: float
    """Ratio of luma steps across the 8-pixel block grid of the source to those inside blocks;
    1.0 = no visible blocks, higher = visible blocks."""
    exposure: float
    """Mean luma of the crop, 0 (black) to 1 (white)."""


Box = tuple[float, float, float, float]

Turn = Annotated[int, Field(ge=0, le=270, multiple_of=90)]
"""A clockwise turn in degrees."""


@dataclass(frozen=True, slots=True)
class FaceScore:
    """What the classifier says of one face."""

    logit: float
    """Higher = more probably manipulated. Not calibrated."""
    kind_logits: tuple[float, ...] | None = None
    """One value for each of the bundle's ``kinds``, before softmax; ``None`` where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face(Published):
    """One face in one frame: first measured, then scored, then judged.

    ``logit`` is ``None`` for a face that was not fit to score; ``reasons`` then say why. Judging
    adds ``track``, ``verdict``, ``score`` and ``log_likelihood_ratio``, and the reasons of a face
    with a logit. ``verdict`` is ``None`` until the face is judged.
    """

    time_s: float
    box: Box
    confidence: float
    """The detector's probability that this is a face, 0 to 1."""
    quality: Quality
    verdict: VerdictCode | None = None
    track: int = 0
    logit: float | None = None
    score: float | None = None
    log_likelihood_ratio: float | None = None
    reasons: tuple[Reason, ...] = ()
    turn: Turn = 0
    """Degrees by which the crop was turned clockwise, so that the face is upright: 0, 90, 180 or
    270."""
    leaning: Leaning | None = None
    kind_logits: tuple[float, ...] | None = None
    """One logit for each of the bundle's ``kinds``; ``None`` for a face that was not scored, or a
    bundle without kinds."""
    suspect: Annotated[bool, Field(exclude=True)] = field(default=False, compare=False)
    """Whether the value alone is ``likely_manipulated``, even where the face may not be decided on.
    Judging sets it for the rules on tracks and items; it is not stored."""

    def to_json(self) -> dict[str, Any]:
        """Return the published form of a judged face; ``ValueError`` if the face was not judged."""
        if self.verdict is None:
            raise ValueError("a face must be judged before it is published")
        return Published.to_json(self)


@dataclass(frozen=True, slots=True)
class Moment(Published):
    """A span of one track in which every face looks manipulated. It shows a person where to look.
    It rests on the faces' values alone and decides nothing."""

    start_s: float
    end_s: float
    peak_s: float
    peak_score: float


@dataclass(frozen=True, slots=True)
class Track(Published):
    """The face of one person between two scene cuts."""

    track: int
    verdict: VerdictCode
    score: float | None
    log_likelihood_ratio: float | None
    first_s: float
    last_s: float
    faces: int
    judged: int
    moments: tuple[Moment, ...] = ()
    reasons: tuple[Reason, ...] = ()
    leaning: Leaning | None = None
    kinds: dict[str, float] | None = None
    """The share of each kind of manipulation, 0 to 1, which sum to 1: a softmax, not a probability
    that the file was manipulated."""


@dataclass(frozen=True, slots=True)
class FrameCounts(Published):
    """How much of an item was examined, in frames."""

    sampled: int = 0
    with_face: int = 0
    failed: int = 0
    longest_gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class MediaFacts(Published):
    """Facts that the container states. Width and height are those displayed, after rotation."""

    kind: str
    """``image`` or ``video``."""
    width: int
    height: int
    duration_s: float | None
    frames: int | None
    rotation: int
    """Clockwise degrees by which the stored picture was turned: 0, 90, 180 or 270."""
    unexamined: Annotated[tuple[Unexamined, ...], Field(exclude_if=lambda kinds: not kinds)] = ()


@dataclass(frozen=True, slots=True)
class Verdict(Published):
    """The verdict on one item, a picture or a video, with its tracks and faces."""

    verdict: VerdictCode
    score: float | None = None
    log_likelihood_ratio: float | None = None
    reasons: tuple[Reason, ...] = ()
    media: MediaFacts | None = None
    tracks: tuple[Track, ...] = ()
    frames: FrameCounts = field(default_factory=FrameCounts)
    faces: tuple[Face, ...] = ()
    leaning: Leaning | None = None
    kinds: dict[str, float] | None = None
    """Those of the most suspect track."""

    def to_json(self, *, faces: bool = False) -> dict[str, Any]:
        """Return the published form; ``faces`` adds every face. It names neither item nor model.

        ``examined`` says what the verdict rests on: ``face``, or nothing if none could be judged.
        """
        body = Published.to_json(self if faces else replace(self, faces=()))
        body["examined"] = [] if self.log_likelihood_ratio is None else ["face"]
        return body if faces else {name: body[name] for name in body if name != "faces"}


def rounded(value: float | None) -> float | None:
    """Round ``value`` to four decimals; return ``None`` for ``None``."""
    return None if value is None else round(value, 4)


def suspects(tracks: Sequence[Track]) -> list[Track]:
    """Return the tracks judged ``likely_manipulated``, most suspect first."""
    suspect = [t for t in tracks if t.verdict is VerdictCode.LIKELY_MANIPULATED]
    return sorted(suspect, key=lambda t: -(t.log_likelihood_ratio or 0.0))


_REASON_OF_ERROR: dict[type[MediaError], ReasonCode] = {
    UnreadableMedia: ReasonCode.UNREADABLE,
    UndecodableMedia: ReasonCode.UNDECODABLE,
    NoVisualStream: ReasonCode.NO_VISUAL_STREAM,
    MediaTooLarge: ReasonCode.TOO_LARGE,
    DecoderFailed: ReasonCode.DECODER_FAILED,
    DecoderTooSlow: ReasonCode.DECODER_FAILED,
    NotAPicture: ReasonCode.NOT_A_PICTURE,
}


def unable(error: MediaError) -> Verdict:
    """Return the verdict on media that could not be examined: no score, and the reason."""
    code = _REASON_OF_ERROR.get(type(error), ReasonCode.UNDECODABLE)
    return Verdict(VerdictCode.UNABLE_TO_EVALUATE, reasons=(Reason(code, error.message),))
