"""Content Credentials (C2PA) of a submitted file: what they claim, and whether they are trusted.

They are read with ``c2pa-python``, an optional dependency, by the C2PA Technical Specification
(https://spec.c2pa.org). Nothing is fetched from the network, so remote manifests are not read, and
only certificates below the configured trust anchors are trusted.

The library is native code that parses hostile bytes and reads whole structures into memory. A
service therefore reads credentials in a confined process, as ``TASK``.
"""

from __future__ import annotations

import io
import json
from enum import StrEnum
from typing import Annotated, Any, BinaryIO

from pydantic import BaseModel, Field

try:
    import c2pa
except ImportError:  # the extra `provenance` is not installed
    c2pa = None

TASK = "deepfake_models.media.credentials:parse"

MAX_PICTURE_BYTES = 512 << 20
"""Largest picture whose credentials are read. The library holds up to three times its size."""

MEMORY_BYTES = 2 << 30
"""Address space of a confined process while it reads credentials. Manifests have some megabytes;
the hash of a video is computed in small blocks."""

MAX_STATED = 20
"""Actions and failures recorded of a manifest, whose size is up to the submitter."""
MAX_CHARS = 200


Text = Annotated[str, Field(max_length=MAX_CHARS)] | None


class CredentialState(StrEnum):
    """State of a file's Content Credentials."""

    ABSENT = "absent"
    INVALID = "invalid"
    """Present, but altered or malformed."""
    VALID = "valid"
    """Intact, but the signer is not below a trust anchor: anyone can make such credentials."""
    TRUSTED = "trusted"
    """Intact, and the signer is below a trust anchor."""
    NOT_READ = "not_read"


class ClaimedAction(BaseModel, extra="forbid"):
    """One thing that a manifest says was done to the file."""

    action: Text
    source_type: Text


class Credentials(BaseModel, extra="forbid"):
    """What a confined process may report: the result of ``read_credentials``, in bounds."""

    state: CredentialState
    reason: Text = None
    issuer: Text = None
    signed_at: Text = None
    generator: Text = None
    actions: Annotated[list[ClaimedAction], Field(max_length=MAX_STATED)] = []
    failures: Annotated[list[Text], Field(max_length=MAX_STATED)] = []

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True)


def read_credentials(
    source: BinaryIO, mime: str | None, anchors: str | None = None
) -> dict[str, Any]:
    """Return the state of the credentials of ``source`` and what they claim.

    What a manifest claims ("made by a camera", "made by an AI model") is its signer's claim alone.
    ``anchors`` are the trusted certificates, in PEM. ``MemoryError`` if reading takes more memory
    than there is.
    """
    reason = reason_not_to_read(source, mime)
    if reason is not None:
        return not_read(reason)
    settings: dict[str, Any] = {"verify": {"verify_trust": True, "remote_manifest_fetch": False}}
    if anchors is not None:
        settings["trust"] = {"user_anchors": anchors}
    try:
        source.seek(0)
        reader = c2pa.Reader.try_create(
            mime, _Readable(source), context=c2pa.Context.from_dict(settings)
        )
        if reader is None:
            return {"state": str(CredentialState.ABSENT)}
        with reader:
            return _claims(reader)
    except MemoryError:
        raise
    except Exception as error:
        if "memory" in str(error).lower():
            raise MemoryError from error
        # The library parses hostile bytes; any error of it means that the credentials are invalid.
        if "jumbf" in str(error).lower() or "manifestnotfound" in type(error).__name__.lower():
            return {"state": str(CredentialState.ABSENT)}
        return {"state": str(CredentialState.INVALID), "reason": "the manifest cannot be read"}


def reason_not_to_read(source: BinaryIO, mime: str | None) -> str | None:
    """Return why the credentials of a file are not read; ``None`` if they are."""
    if c2pa is None:
        return "c2pa-python is not installed where this was examined"
    if mime not in c2pa.Reader.get_supported_mime_types():
        return "Content Credentials are not read from files of this kind"
    picture = mime is not None and mime.startswith("image/")
    if picture and source.seek(0, io.SEEK_END) > MAX_PICTURE_BYTES:
        return "Content Credentials are not read from pictures of this size"
    return None


def not_read(reason: str) -> dict[str, Any]:
    """Return the state of credentials that were not read for ``reason``."""
    return {"state": str(CredentialState.NOT_READ), "reason": reason}


def prepare() -> None:
    """Use the library once, so that it loads nothing later: callbacks of ctypes need executable
    memory, which a confined process cannot get."""
    read_credentials(io.BytesIO(b"\xff\xd8\xff\xd9"), "image/jpeg")


def parse(source: BinaryIO, argument: bytes) -> bytes:
    """Run ``TASK``: ``read_credentials`` with the arguments and the result in JSON."""
    return json.dumps(read_credentials(source, **json.loads(argument))).encode()


class _Readable:
    """A source with the methods that the library asks for; it calls those that read."""

    def __init__(self, source: BinaryIO) -> None:
        self.read, self.seek, self.tell = source.read, source.seek, source.tell

    def write(self, _data: bytes) -> int:
        raise io.UnsupportedOperation("the source is only read")

    def flush(self) -> None:
        """Do nothing."""


def _claims(reader: Any) -> dict[str, Any]:
    state = str(reader.get_validation_state() or "Invalid")
    content = json.loads(reader.json())
    manifest = content.get("manifests", {}).get(content.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    failures = (reader.get_validation_results() or {}).get("activeManifest", {}).get("failure", [])
    return {
        "state": str(
            {"Trusted": CredentialState.TRUSTED, "Valid": CredentialState.VALID}.get(
                state, CredentialState.INVALID
            )
        ),
        "issuer": _short(signature.get("issuer")),
        "signed_at": _short(signature.get("time")),
        "generator": _short(_generator(manifest)),
        "actions": _actions(manifest),
        "failures": [_short(f.get("code")) for f in failures[:MAX_STATED]],
    }


def _generator(manifest: dict[str, Any]) -> object:
    infos = manifest.get("claim_generator_info") or []
    return infos[0].get("name") if infos else manifest.get("claim_generator")


def _actions(manifest: dict[str, Any]) -> list[dict[str, str | None]]:
    actions = [
        {"action": _short(a.get("action")), "source_type": _short(a.get("digitalSourceType"))}
        for assertion in manifest.get("assertions") or []
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for a in (assertion.get("data") or {}).get("actions") or []
    ]
    return actions[:MAX_STATED]


def _short(value: object) -> str | None:
    return None if value is None else str(value)[:MAX_CHARS]
