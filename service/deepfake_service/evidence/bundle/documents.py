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
