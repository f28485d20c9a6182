"""The keys and certificates that a verification trusts, and the list of what it must not trust.

A bundle verifies offline for ever, so that it cannot say itself that a newer edition replaced it,
that it was withdrawn, or that the key that signed it was stolen. The issuer's public list says so.
It is JSON in canonical form (RFC 8785) in a DSSE envelope, signed with the issuer's current
statement key. It has digests and times only, and expires, so that an attacker cannot present an old
one for long.
"""

from __future__ import annotations

import contextlib
import json
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import Field, PlainSerializer

from deepfake_service.evidence.bundle.documents import Document, Failed, read
from deepfake_service.evidence.bundle.dsse import envelope_in, key_id, sign, signed_by
from deepfake_service.platform.clock import Moment
from deepfake_service.platform.errors import KeyUnreadable
from deepfake_service.platform.outbound import AnswerLimits, UnusableAnswer, fetch_bounded

PAYLOAD_TYPE = "application/vnd.deepfake-service.revocations+json"
VALID_FOR = timedelta(days=7)
CLOCK_SKEW = timedelta(hours=1)
"""How far the clock of a verifier may be behind the issuer's."""
MAX_BYTES = 64 * 1024 * 1024
"""Size limit of a list, which is read before its signature is checked: some 400,000 editions."""
TIMEOUT_S = 30.0
"""Longest pause in an answer."""
DEADLINE_S = 300.0
"""Longest duration of a whole answer: the largest list, at 2 Mbit/s."""


Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


Written = Annotated[Moment, Field(strict=False), PlainSerializer(_iso)]


class RevokedEdition(Document):
    """An edition that was replaced or withdrawn."""

    sha256: Digest
    state: Literal["superseded", "withdrawn"]
    at: Written


class IssuersKey(Document):
    """A key of the issuer, and since when trust in it is withdrawn."""

    id: Digest
    revoked_at: Written | None


class Revocations(Document):
    """A list of revocations. Of what other keys signed, it says nothing."""

    format: Literal["deepfake-service/revocations/1"]
    issuer: str
    issued_at: Written
    expires_at: Written
    editions: tuple[RevokedEdition, ...]
    keys: tuple[IssuersKey, ...]

    @property
    def revoked_at(self) -> dict[str, datetime | None]:
        """Since when trust in each of the issuer's keys is withdrawn, by its id; ``None`` if it is
        not."""
        return {key.id: key.revoked_at for key in self.keys}

    def describe(self, sha256: str) -> tuple[bool, str]:
        """Return whether an edition was superseded, and what the list says of it; ``Failed`` if it
        was withdrawn."""
        listed = {each.sha256: each for each in self.editions}.get(sha256)
        if listed is None:
            return False, f"not on the issuer's list of {_iso(self.issued_at)}"
        if listed.state == "withdrawn":
            raise Failed(f"its issuer withdrew this edition on {_iso(listed.at)}")
        return True, f"its issuer replaced this edition by a newer one on {_iso(listed.at)}"

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """Return the list as a DSSE envelope in canonical JSON, signed with ``key``."""
        return sign(self.canonical(), key, PAYLOAD_TYPE)


def open_revocations(
    envelope: bytes, trusted: Sequence[Ed25519PublicKey], now: datetime
) -> Revocations:
    """Return a list that is signed with one of the ``trusted`` keys and has not expired;
    ``Failed``, whose message says why not."""
    try:
        signed = envelope_in(envelope, PAYLOAD_TYPE)
        listed = read(Revocations, signed.payload, "the list")
    except Failed as error:
        raise Failed("The file is not a list of revocations.") from error
    signers = [key_id(key) for key in trusted if signed_by(signed, key)]
    if not signers:
        raise Failed(
            "The list of revocations is not signed with a trusted key. Give the issuer's current "
            "key with --public-key."
        )
    if all(listed.revoked_at.get(signer) for signer in signers):
        raise Failed("The list of revocations is signed with a key that it revokes.")
    if listed.expires_at <= now:
        raise Failed(
            f"The list of revocations expired on {listed.expires_at:%Y-%m-%d}. Get the issuer's "
            "current one."
        )
    if listed.issued_at > now + CLOCK_SKEW:
        raise Failed(
            "The list of revocations was issued in the future. Check this machine's clock."
        )
    return listed


def read_list(source: str) -> bytes:
    """Return the bytes of a list in a file, or at an ``https://`` or ``http://`` URL.
    ``Failed`` if it cannot be read, or is too large."""
    try:
        if source.startswith(("https://", "http://")):
            return fetch_bounded(source, AnswerLimits(MAX_BYTES, TIMEOUT_S, DEADLINE_S))
        path = Path(source)
        if path.stat().st_size > MAX_BYTES:
            raise Failed("The list of revocations is too large.")
        return path.read_bytes()
    except OSError as error:
        raise Failed(f"{source}: cannot be read ({error.strerror})") from error
    except UnusableAnswer as error:
        raise Failed(f"{source}: cannot be downloaded; the server {error.message}") from error


_PEM = b"-----BEGIN PUBLIC KEY-----"


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys, root certificates and the list of revocations that a verifier trusts. None of them
    come from the bundle."""

    keys: Sequence[Ed25519PublicKey] = ()
    timestamp_roots: Sequence[x509.Certificate] = ()
    revocations: Revocations | None = None
    """The issuer's list, whose signature has been checked."""

    def check_key(self, key: str) -> None:
        """Raise ``Failed`` if the list says that trust in the key with this id was withdrawn."""
        if self.revocations is not None and (at := self.revocations.revoked_at.get(key)):
            raise Failed(f"signed with the key {key}, which its issuer revoked on {_iso(at)}")


def public_keys(path: Path) -> list[Ed25519PublicKey]:
    """Read the Ed25519 public key in a PEM file, or those in a JWK Set (RFC 7517, RFC 8037);
    ``KeyUnreadable`` if the file cannot be read, or holds no such key."""
    content, keys = _read(path).lstrip(), list[object]()
    malformed = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
    with contextlib.suppress(*malformed, UnsupportedAlgorithm):
        if content.startswith(b"{"):
            found = json.loads(content)["keys"]
            xs = [jwk["x"] for jwk in found if jwk.get("crv") == "Ed25519"]
            keys = [Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(x + "==")) for x in xs]
        elif content.startswith(_PEM):
            # Only a file that begins with it: an evidence bundle contains its key as PEM, and must
            # not vouch for itself if a user gives the bundle as the key file.
            keys = [load_pem_public_key(content)]
    usable = [key for key in keys if isinstance(key, Ed25519PublicKey)]
    if not usable:
        raise KeyUnreadable(
            f"{path.name} holds no Ed25519 key, with which evidence is signed. Give the file "
            "statement-*.pem that the issuer published, or its key set (/.well-known/jwks.json), "
            "not the bundle."
        )
    return usable


def pinned_keys(folder: Path | None) -> list[Ed25519PublicKey]:
    """Read the keys in the ``*.pem`` files of a folder; ``KeyUnreadable`` if one holds no key."""
    paths = sorted(folder.glob("*.pem")) if folder else ()
    return [key for path in paths for key in public_keys(path)]


def certificates(path: Path | None) -> list[x509.Certificate]:
    """Read the certificates in a PEM file; none without a path. ``KeyUnreadable`` if the file
    cannot be read, or holds no certificate."""
    if path is None:
        return []
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise KeyUnreadable(
            f"{path.name} holds no certificates in PEM format. Give a file with the root "
            "certificates of the time-stamp authority."
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyUnreadable(
            f"{path.name} cannot be read: {error.strerror}. Check the path and who may read "
            "the file."
        ) from error
