"""Content Credentials (C2PA) of a submitted file: what they claim, and whether they are trusted.

They are read with ``c2pa-python``, an optional dependency, by the C2PA Technical Specification
(https://spec.c2pa.org). Nothing is fetched from the network, so remote manifests are not read, and
only certificates below the configured trust anchors are trusted.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

try:
    import c2pa
except ImportError:  # the extra `provenance` is not installed
    c2pa = None

MAX_STATED = 20
"""Actions and failures recorded of a manifest, whose size is up to the submitter."""
MAX_CHARS = 200


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


def read_credentials(
    source: BinaryIO, mime: str | None, anchors: Path | None = None
) -> dict[str, Any]:
    """Return the state of the credentials of ``source`` and what they claim; never raise.

    ``mime`` is the file's type, and ``anchors`` a PEM file of trusted certificates. What a manifest
    claims ("made by a camera", "made by an AI model") is its signer's claim alone.
    """
    if c2pa is None:
        return _not_read("c2pa-python is not installed where this was examined")
    if mime not in c2pa.Reader.get_supported_mime_types():
        return _not_read("Content Credentials are not read from files of this kind")
    settings: dict[str, Any] = {"verify": {"verify_trust": True, "remote_manifest_fetch": False}}
    if anchors is not None:
        settings["trust"] = {"user_anchors": anchors.read_text(encoding="ascii")}
    try:
        source.seek(0)
        reader = c2pa.Reader.try_create(mime, source, context=c2pa.Context.from_dict(settings))
        if reader is None:
            return {"state": str(CredentialState.ABSENT)}
        with reader:
            return _claims(reader)
    except Exception as error:
        # The library parses hostile bytes; any error of it means that the credentials are invalid.
        if "jumbf" in str(error).lower() or "manifestnotfound" in type(error).__name__.lower():
            return {"state": str(CredentialState.ABSENT)}
        return {"state": str(CredentialState.INVALID), "reason": "the manifest cannot be read"}


def _claims(reader: Any) -> dict[str, Any]:
    """Return what the active manifest claims, and the outcome of its validation."""
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


def _not_read(reason: str) -> dict[str, Any]:
    return {"state": str(CredentialState.NOT_READ), "reason": reason}
