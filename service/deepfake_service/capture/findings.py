"""What a captured file has. Its reader says so in a confined process, and is not trusted either."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from deepfake_service.platform.answers import Published, Sha256

MAX_MEDIA = 500
MAX_PAGES = 200
MAX_NOTES = 50
"""Of each kind of fault."""
MAX_URL = 4096

Text = Annotated[str, Field(max_length=MAX_URL)]
Count = Annotated[int, Field(ge=0)]
Code = Annotated[str, Field(pattern="^[a-z_]{1,32}$")]
Kind = Literal["wacz", "warc", "mhtml", "picture", "video"]
Role = Literal["medium", "full_page_capture", "view"]


class Finding(Published):
    """Base of what the confined process says: its answer must have these types exactly."""

    model_config = ConfigDict(strict=True)


class Page(Finding):
    """A page that was captured."""

    url: Text
    """Its address."""
    title: Text
    """Its title; empty if none is recorded."""
    at: Text
    """When it was captured, as the file says it; may be empty."""


class FoundMedium(Finding):
    """A picture or a video in a captured file."""

    number: Count
    """By which it is chosen, from 1."""
    role: Role
    """`full_page_capture` and `view` are screenshots that the tool took."""
    mime: Text
    """Type by its first bytes."""
    size: Count
    """Its size in bytes."""
    sha256: Annotated[Sha256, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of its bytes."""
    url: Text
    """Address that it came from; empty if it is the file itself."""
    at: Text
    """When it was fetched; may be empty."""
    page: Count | None
    """Index of its page in `pages`."""


class Location(Finding):
    """Where something is in the files of a capture."""

    file: Count
    """Number of the file, from 1."""
    member: Text | None = None
    """In a WACZ: the name of the WARC file."""
    offset: Count | None = None
    """In a WARC file: the byte where its gzip member begins, or its record if none is packed."""
    skip: Count | None = None
    """Bytes of the member, unpacked, before its record."""
    part: Count | None = None
    """In an MHTML file: the index of its part."""


class CapturedImage(FoundMedium, Location):
    """A picture or a video in a captured file, and where it is there."""


class Integrity(Finding):
    """How the digests that came with a file hold, and who signed it as it says."""

    digests: Literal["verified", "partly", "mismatch", "none"]
    """`verified`; `partly` if records without a digest are beside verified ones; `mismatch` if a
    file or record has another digest than stated; `none` if the file states none."""
    signed_by: Text | None = None
    """Of a WACZ: the domain that signed it, or the digest of the key, as the file says. Neither
    that nor the signature is checked: only that it names the list of files, as `digests` says."""


class Note(Finding):
    """A fault of a file that did not keep the rest from being read."""

    code: Code
    """Its kind."""
    detail: Text
    """What and where."""


class Findings(Finding):
    """What one captured file has."""

    kind: Kind
    integrity: Integrity
    software: Annotated[list[Text], Field(max_length=6)]
    pages: Annotated[list[Page], Field(max_length=MAX_PAGES)]
    media: Annotated[list[CapturedImage], Field(max_length=MAX_MEDIA)]
    records: Count
    html: bool
    kept: Count
    """Records of the text part."""
    counts: dict[Code, Count]
    notes: Annotated[list[Note], Field(max_length=6 * MAX_NOTES)]
    """Of six kinds."""


class Refusal(Finding):
    """Why a file cannot be imported."""

    refused: Code
    detail: Text
