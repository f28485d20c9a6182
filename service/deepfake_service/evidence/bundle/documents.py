"""The documents of a bundle as frozen types.

Members that a newer version adds are left out when a document is read. Names that this version may
not know, as those of roles and actions, are texts.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import rfc8785
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deepfake_models.bundle.spec import is_none
from deepfake_service.evidence.bundle.steps import Failed

T = TypeVar("T")
Absent = Annotated[T | None, Field(exclude_if=is_none)]
"""A member that is left out where it would be ``None``."""


class Document(BaseModel):
    """Base of documents and their parts."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    def canonical(self) -> bytes:
        """Return the document in canonical JSON (RFC 8785)."""
        return rfc8785.dumps(self.model_dump(mode="json"))


D = TypeVar("D", bound=Document)


def read(kind: type[D], raw: bytes, name: str) -> D:
    """Return the document of a ``kind`` in a file; ``Failed``, naming the file and the member that
    is malformed."""
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise Failed(f"{name}: {where}: {first['msg']}") from error


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


class ThresholdRates(Document):
    """The rates that are stated with the thresholds of the decision."""

    false_positive_rate: float
    false_positive_rate_upper: float
    true_positive_rate: float
    miss_rate: float


class DecisionRates(Document):
    """The rates of the decision."""

    of: Absent[str] = None
    unseen: str
    false_positive_rate: Rate | None
    true_positive_rate: Rate | None
    stated_with_thresholds: ThresholdRates


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
