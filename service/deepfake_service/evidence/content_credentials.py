"""Content Credentials (C2PA) in a submitted file: what they claim, and whether that can be trusted.

Read by ``c2pa-python``, an extra. Nothing is fetched: a manifest that lies elsewhere is stated as
such, and no certificate is trusted but those of the anchors that are set.
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
"""Actions and ingredients that are stated of a manifest: it is the submitter's to write."""
MAX_CHARS = 200


class CredentialState(StrEnum):
    """What is known of the Content Credentials of a file."""

    ABSENT = "absent"
    INVALID = "invalid"
    """There, and not what was signed."""
    VALID = "valid"
    """Intact, by a signer whom no anchor vouches for: anybody can make such."""
    TRUSTED = "trusted"
    """Intact, by a signer whom an anchor vouches for."""
    NOT_READ = "not_read"


def read_credentials(
    source: BinaryIO, mime: str | None, anchors: Path | None = None
) -> dict[str, Any]:
    """The state of the credentials of ``source`` and what they say; never an exception.

    A claim of a manifest ("made by a camera", "made by an AI model") is its signer's, not ours.
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
            return _stated(reader)
    except Exception as error:
        # The library reads hostile bytes; whatever it makes of them is a state, not a failure.
        if "jumbf" in str(error).lower() or "manifestnotfound" in type(error).__name__.lower():
            return {"state": str(CredentialState.ABSENT)}
        return {"state": str(CredentialState.INVALID), "reason": "the manifest cannot be read"}


def _stated(reader: Any) -> dict[str, Any]:
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
    found = [
        {"action": _short(a.get("action")), "source_type": _short(a.get("digitalSourceType"))}
        for assertion in manifest.get("assertions") or []
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for a in (assertion.get("data") or {}).get("actions") or []
    ]
    return found[:MAX_STATED]


def _short(value: object) -> str | None:
    return None if value is None else str(value)[:MAX_CHARS]


def _not_read(reason: str) -> dict[str, Any]:
    return {"state": str(CredentialState.NOT_READ), "reason": reason}
