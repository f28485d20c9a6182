"""The documents of a bundle as frozen types.

Members that a newer version adds are left out when a document is read; a verification, which must
not pass over any, accepts what is written as this version writes it. Names that this version may
not know, as those of roles and actions, are texts.
"""

from __future__ import annotations

import contextlib
import json
from typing import Annotated, Literal, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError

from deepfake_models.bundle.results import Verdict
from deepfake_models.bundle.spec import (
    AggregationSpec,
    CropSpec,
    DetectorSpec,
    Histograms,
    InputSpec,
    LevelCalibrations,
    SamplingSpec,
    StatedRates,
    Thresholds,
    TrackSpec,
    is_none,
)
from deepfake_models.decision.serialization import ExactRecord
from deepfake_models.errors import DeepfakeError
from deepfake_models.media.credentials import Credentials
from deepfake_service.evidence.bundle.signs import Rect, Signs

T = TypeVar("T")
Absent = Annotated[T | None, Field(exclude_if=is_none)]
"""A member that is left out where it would be ``None``."""
Result = Annotated[Verdict, PlainSerializer(Verdict.to_json)]
"""A verdict in its published form."""
Claims = Annotated[Credentials, PlainSerializer(Credentials.to_json)]
"""The Content Credentials of a file."""


class Failed(DeepfakeError):
    """The step failed."""


def same(what: str, expected: object, found: object) -> None:
    """Raise ``Failed`` unless two values are equal."""
    if expected != found:
        raise Failed(f"{what}: expected {expected!r:.200}, found {found!r:.200}")


class Document(BaseModel):
    """Base of documents and their parts."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    def canonical(self, *, as_read: bool = False) -> bytes:
        """Return the document in canonical JSON (RFC 8785); ``as_read``: without the members that
        what it was read from does not have, because an earlier version wrote it."""
        return rfc8785.dumps(self.model_dump(mode="json", exclude_unset=as_read))


D = TypeVar("D", bound=Document)


def read(kind: type[D] | TypeAdapter[D], raw: bytes, name: str) -> D:
    """Return the document of a ``kind`` in a file; ``Failed``, naming the file and the member that
    is malformed."""
    try:
        if isinstance(kind, TypeAdapter):
            return kind.validate_json(raw)
        return kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise Failed(f"{name}: {where}: {first['msg']}") from error


def read_canonical(kind: type[D] | TypeAdapter[D], raw: bytes, name: str) -> D:
    """Return the document in a file as ``read`` does, if the file, with all members that this
    version does not know, is in canonical JSON; ``Failed`` otherwise."""
    document = read(kind, raw, name)
    with contextlib.suppress(ValueError, RecursionError):  # not JSON, or numbers without a form
        if rfc8785.dumps(json.loads(raw)) == raw:
            return document
    raise Failed(f"{name}: not in canonical JSON (RFC 8785)")


class FrameHash(Document):
    """The PDQ hash of a frame."""

    pdq: str
    quality: int
    time_s: float


class FrameHashes(Document):
    """The perceptual hashes of a medium, or the ``reason`` why there are none."""

    pdq: tuple[FrameHash, ...] | None
    vpdq: Absent[tuple[str, ...]] = None
    interval_s: Absent[float] = None
    failed: Absent[int] = None
    reason: Absent[str] = None


class HashesDocument(FrameHashes):
    """The content of ``hashes.json``."""

    format: str = "deepfake-service/hashes/1"
    sha256: str
    size: int
    min_quality: int


class Likeness(Document):
    """Further PDQ hashes, which are no part of the evidence: see ``MediaHashes``."""

    frames: tuple[str, ...] = ()
    centres: tuple[str, ...] = ()


class FacePicture(Document):
    """A face that is shown: its number among all faces, and the names of its files."""

    number: int
    face: int
    crop: str
    heatmap: Absent[str] = None
    """``None`` of a model without a map."""
    further: Absent[tuple[str, ...]] = None

    @property
    def crops(self) -> tuple[str, ...]:
        """The names of its squares, in the order in which the model sees them."""
        return (self.crop, *(self.further or ()))


class Sandbox(Document):
    """The layers of the sandbox that were missing when the file was read."""

    missing: tuple[str, ...]


class About(Document):
    """What the file says of itself, and how it was read."""

    mime: str | None
    """Its type by its first bytes."""
    content_credentials: Claims
    sandbox: Absent[Sandbox] = None
    """If it was read in one."""


class Examination(About):
    """The content of ``examination.json``: what was found, before any decision."""

    format: str = "deepfake-service/examination/1"
    result: Result
    exact: ExactRecord
    examined_at: str
    examined_s: tuple[float, ...]
    """Times in seconds of the frames that the verdict is based on."""
    within_s: Absent[tuple[float, float]] = None
    """The part of a video that was examined, if not all of it."""
    pictures: tuple[FacePicture, ...]
    hashes: FrameHashes
    likeness: Likeness = Likeness()
    software: dict[str, str]


class CustodyAccount(Document):
    """An account in the chain of custody."""

    name: str
    kind: str
    role: str


class CustodyEntry(Document):
    """An entry of the audit log, with its hash and that of the entry before it."""

    number: int
    at: str
    account: str | None
    key: str | None
    action: str
    subject: str | None
    detail: str | None
    previous: str
    hash: str


class OmittedEntries(Document):
    """What a chain of custody leaves out: ``sha256`` is that of the entries' hashes, each followed
    by a line break."""

    count: int
    actions: dict[str, int]
    sha256: str


class Custody(Document):
    """The content of ``custody.json``."""

    format: str = "deepfake-service/custody/1"
    accounts: dict[str, CustodyAccount]
    """By their ids."""
    entries: tuple[CustodyEntry, ...]
    omitted: Absent[OmittedEntries] = None


class Rate(Document):
    """A measured share, 0 to 1, with its 95% interval, which is clustered by group."""

    value: float | None
    low: float | None
    high: float | None
    samples: int
    groups: int
    indicative: Absent[bool] = None
    """Whether it rests on fewer groups than the model bundle's ``min_groups``."""


class OverallRates(Document):
    """The rates of a whole level."""

    false_positive_rate: Rate | None = None
    true_positive_rate: Rate | None = None


class WidthRates(Document):
    """The rates of faces whose width in pixels is in a range."""

    face_px: tuple[float, float | None]
    false_positive_rate: Rate
    true_positive_rate: Rate


class MeasuredLevel(Document):
    """What ``reliability.json`` has of one level."""

    overall: OverallRates = OverallRates()
    by_face_width: tuple[WidthRates, ...] = ()


class Reliability(Document):
    """What evidence states of a model's ``reliability.json``."""

    level_face: MeasuredLevel = MeasuredLevel()
    level_track: MeasuredLevel = MeasuredLevel()
    level_item: MeasuredLevel = MeasuredLevel()
    level_picture: MeasuredLevel = MeasuredLevel()


Range = tuple[float | None, float | None]


class Condition(Document):
    """The bin that a face is in, by its width in pixels and its sharpness."""

    face_px: Range
    sharpness: Absent[Range] = None


class PersonRates(Document):
    """The rates measured on faces like those of a person."""

    track: int
    face_px: float
    sharpness: float
    blockiness: float
    false_positive_rate: Absent[Rate] = None
    true_positive_rate: Absent[Rate] = None
    by: str | None = None
    bin: Condition | None = None


class DecisionRates(Document):
    """The rates of the decision."""

    of: Absent[str] = None
    unseen: str
    false_positive_rate: Rate | None
    true_positive_rate: Rate | None
    stated_with_thresholds: StatedRates


class SampleSize(Document):
    """What a calibration was fitted on."""

    samples: int
    groups: int


class ErrorRates(Document):
    """The error rates of an edition: see ``error_rates``."""

    level: str
    likely_manipulated_from: float
    no_manipulation_found_below: float
    calibration: SampleSize
    decision: DecisionRates
    people: tuple[PersonRates, ...]


class StatedCase(Document):
    """The case of a job."""

    id: str
    reference: str | None
    minor: bool


class StatedJob(Document):
    """The job of an edition."""

    id: str
    kind: str
    frames: int | None
    within_s: Absent[tuple[float, float]] = None
    """As in ``Examination``; ``frames`` is how many of its frames are examined at most."""
    submitted_at: str
    examined_at: str
    requester: str


class StatedPost(Document):
    """A place where the file was seen."""

    id: str
    recorded_at: str
    source_url: str | None
    platform: str | None
    account: str | None
    captured_at: str | None
    note: str | None
    case_reference: str | None
    collector: str
    collector_name: str | None
    tool: str | None
    capture: str | None
    capture_sha256: str | None
    claimed: tuple[str, ...] | None = None
    """The fields that a capture alone claims."""
    screenshot: bool


class StatedDecision(Document):
    """A person's decision on a job."""

    at: str
    account: str
    name: str
    role: str
    decision: str
    reason: str | None
    """``None`` in copies of reports that leave it out."""
    pictures_withheld: bool = False
    """Whether the pictures were withheld from the person, who had not opened them before."""
    signs: Annotated[Signs, Field(exclude_if=lambda signs: not signs)] = ()
    """The signs of manipulation that the person saw."""


class Cutout(Document):
    """A place that a reviewer marked, and the picture that is cut out of the frame there."""

    time_s: float | None
    rect: Rect
    """As in the sign."""
    shown: tuple[int, int, int, int]
    """The pixels of the frame that the picture shows: left, top, right and bottom, with a margin
    around the place. It has them as they are, or is reduced to ``MAX_CUTOUT_SIDE``."""
    file: Absent[str] = None
    """The name of the picture, if there is one."""
    left_out: Absent[str] = None
    """Else why not: ``minor``, ``media_deleted`` or ``not_decoded``."""

    @property
    def name(self) -> str:
        """What its file is called, by its place."""
        at = "" if self.time_s is None else f"{self.time_s:.10g}s-"
        return f"places/{at}{'-'.join(f'{edge:.10g}' for edge in self.rect)}.png"


class Medium(Document):
    """What was submitted."""

    sha256: str
    size: int


class _Recorded(Document):
    issuer: str
    organisation: Absent[dict[str, str]] = None
    """Its names and contacts, if they are known."""
    edition: int
    predecessor: str | None
    """SHA-256 of the edition before."""
    created_at: str
    case: StatedCase
    job: StatedJob
    occurrences: tuple[StatedPost, ...]
    reviews: tuple[StatedDecision, ...]
    """Oldest first."""
    finding: str | None


class Records(_Recorded):
    """What an edition has of a job's records. Times are ISO 8601 in UTC."""

    item: Medium
    media_kept: bool = True
    """Whether the file is still stored."""
    custody: Custody


class HashedFrames(Document):
    """How the frames were hashed: see ``hashes.json``."""

    frames: int
    interval_s: float | None
    reason: str | None


class StatedItem(Medium):
    """What was submitted, and what the file says of itself."""

    mime: str | None
    content_credentials: Claims
    perceptual: HashedFrames


class Verbal(Document):
    """The result in words of a verbal scale."""

    text: str
    source: str


class ValuedPicture(FacePicture):
    """A face that is shown, and its value."""

    logit: float
    log_likelihood_ratio: float


class ModelName(Document):
    """Which model examined the item."""

    name: str
    version: str
    sha256: str
    terms: str
    origin: Absent[str] = None
    """Where a network is from that was trained elsewhere."""


class Method(Document):
    """The model and every rule by which it was applied."""

    model: ModelName
    prior: float
    map: str | None
    """What the overlays show; ``None`` of a model without a map."""
    sampling: SamplingSpec
    detector: DetectorSpec
    crop: CropSpec
    input: InputSpec
    tracks: TrackSpec
    aggregation: AggregationSpec
    calibration: LevelCalibrations
    thresholds: Thresholds
    kinds: tuple[str, ...]
    histograms: Histograms | None
    software: dict[str, str]


class VerdictDocument(_Recorded):
    """The content of ``verdict.json``: what is known from a job's records and what its examination
    found."""

    format: Literal["deepfake-service/verdict/1"] = "deepfake-service/verdict/1"
    question: str
    item: StatedItem
    result: Result
    verbal: Verbal | None
    exact: ExactRecord
    examined_s: tuple[float, ...]
    pictures: tuple[ValuedPicture, ...]
    cutouts: Absent[tuple[Cutout, ...]] = None
    """The places that reviewers marked, if they marked any."""
    method: Method
    sandbox: Absent[Sandbox] = None
    error_rates: ErrorRates
    limits: tuple[str, ...]
