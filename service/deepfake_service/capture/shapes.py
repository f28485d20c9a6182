"""What is stored of a capture, sealed in its row, and what its signed record says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, Field, JsonValue

from deepfake_service.capture.findings import CapturedImage, Integrity, Kind, Note, Page
from deepfake_service.capture.gate import Connection
from deepfake_service.capture.registries import Operator
from deepfake_service.cases.cases import PostDetails
from deepfake_service.evidence.bundle.capture_format import Text
from deepfake_service.platform.answers import Published
from deepfake_service.platform.db import Capture
from deepfake_service.platform.storage import open_json, seal_json


@dataclass(frozen=True, slots=True, repr=False)
class CollectorNotes:
    """What a person says about a capture (the form of the Berkeley Protocol, annex IV)."""

    post: PostDetails
    title: str | None = None
    captured_by: str | None = None
    device: str | None = None
    reached: str | None = None
    """How the page was reached, such as signed in to an account."""
    full_page: bool = False
    """Whether the first picture shows the page as a whole, with its address and the time."""
    examine_all: bool = False


class NamedFile(Published):
    """A file of a capture as a medium of its case, with the name that its client gave it."""

    media_id: str
    name: str | None


class PagePicture(Published):
    """The picture of a whole page that a browser took."""

    reason: None
    taken_at: str
    width: int
    height: int
    first_connection: int
    limit: str | None
    url: str
    """Of the page that was drawn, after redirects."""
    browser: str
    user_agent: str
    is_cut: bool


class MissingPicture(Published):
    """Why a browser took no picture of a page."""

    reason: str
    detail: str
    first_connection: int
    limit: str | None


class Confinement(Published):
    """How the process that fetched was confined."""

    missing: list[str] = Field(default_factory=list)
    """Nothing: without all of it, nothing is run."""


class Limits(Published):
    """The limits of a fetch, and the one that was reached."""

    bytes: int
    seconds: float
    connections: int
    reached: str | None


class Fetch(Published):
    """How a link was opened."""

    model_config = ConfigDict(populate_by_name=True)

    began_at: str
    ended_at: str
    vantage: str | None = Field(validation_alias="from", serialization_alias="from")
    signed_in: bool = False
    end: str
    tools: dict[str, str]
    user_agent: str
    post: dict[str, str]
    confinement: Confinement = Confinement()
    limits: Limits
    connections: list[Connection]
    operator: Operator | None
    picture: PagePicture | MissingPicture | None


class FileRecord(Published):
    """What a file of a capture is."""

    number: int
    kind: Kind
    sha256: str
    size: int
    records: int
    integrity: Integrity


class Minimum(Published):
    """What a capture lacks of the minimum of the Berkeley Protocol (paragraphs 153 to 155)."""

    berkeley_153: bool
    missing: list[str]


class CaptureFindings(Published):
    """What was found in the files of a capture, numbered through."""

    files: list[FileRecord]
    tools: list[str]
    pages: list[Page]
    media: list[CapturedImage]
    minimum: Minimum
    counts: dict[str, int]
    notes: list[Note]


UNMET = Minimum(berkeley_153=False, missing=[])
UNREAD = CaptureFindings(files=[], tools=[], pages=[], media=[], minimum=UNMET, counts={}, notes=[])
"""Of a capture that was not read."""


class Collector(Published):
    """The account that handed a capture in."""

    account: str
    name: str
    role: str


class CaptureRecord(CaptureFindings):
    """The content of ``capture.json``, apart from who issues it."""

    id: str
    case: str
    method: Literal["by link", "imported", "by hand"]
    fetch: Fetch | None = None
    received_at: str
    created_at: str
    collector: Collector
    handed_in: CollectorNotes
    text: Text
    changes: list[str]

    def document(self) -> dict[str, JsonValue]:
        """Return it as it is signed. Only what was opened by link has a ``fetch``."""
        left_out = {"fetch"} if self.fetch is None else None
        return self.model_dump(mode="json", by_alias=True, exclude=left_out)

    def found(self) -> CaptureFindings:
        """Return the part that is stored to be shown."""
        return CaptureFindings.model_validate(
            {name: getattr(self, name) for name in CaptureFindings.model_fields}
        )


class Content(Published):
    """What is stored of a capture."""

    handed_in: CollectorNotes
    files: list[NamedFile]
    fetch: Fetch | None = None
    found: CaptureFindings | None = None
    detail: str | None = None
    """Why it was refused, or has no picture or video, as a sentence."""

    @property
    def is_by_link(self) -> bool:
        """Whether a link was opened, or is to be."""
        return self.fetch is not None or not self.files

    @classmethod
    def opened(cls, key: bytes, capture: Capture) -> Content:
        """Return the content of a capture. Raises as ``open_json``."""
        return cls.model_validate(open_json(key, capture))

    def seal(self, key: bytes, capture: Capture) -> None:
        """Seal it into the row of a capture."""
        seal_json(key, capture, self.model_dump(mode="json", by_alias=True))
