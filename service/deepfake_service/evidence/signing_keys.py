"""The keys that evidence is signed with: created on first use, rotated, and published forever.

They are Ed25519 keys of statements, whose private parts are in the database, wrapped by the master
key, so that all processes of an installation sign with the same key. A retired key no longer signs
but stays published, so that earlier evidence can still be verified. The PDF files of reports and
notices are signed only with a certificate of the operator's own.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.audit.journal import protect
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.evidence.bundle.dsse import Signers, key_id, public_pem
from deepfake_service.platform.answers import Published, Sha256
from deepfake_service.platform.db import Database, Secret, SigningKey, current_time
from deepfake_service.platform.errors import Code, NotFound, SettingsError
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import context_of
from deepfake_service.platform.storage.envelope import KeyWrapper
from deepfake_service.platform.timestamps import PostQuery, poster

STATEMENT = "statement"
MIN_KEY_ID_CHARS = 8
"""The shortest prefix of an id that identifies a key."""
_LOCK = "signing-keys"


class PublicKey(Published):
    """A public key as a JWK (RFC 7517)."""

    kty: Literal["OKP"] = Field(description="Type of the key (RFC 8037).")
    crv: str = Field(description="Its curve.", examples=["Ed25519"])
    x: str = Field(description="The public key in base64url.")
    kid: Sha256 = Field(description="Id of the key, which signatures name.")
    use: Literal["sig"] = Field(description="It signs.")
    alg: str = Field(description="The algorithm of its signatures.", examples=["EdDSA"])


class PublicKeys(Published):
    """Public keys as a JWK Set (RFC 7517)."""

    keys: list[PublicKey] = Field(description="The keys.")


@dataclass
class SigningKeys:
    """The signing keys in a database."""

    _database: Database
    _keys: KeyWrapper
    own: tuple[Path, Path] | None = None
    """PEM files of the operator's certificate chain and its key, which sign reports and notices."""
    authority: PostQuery | None = None
    """Sends queries to a time-stamp authority."""

    def current(self) -> Signers:
        """Return the current signing keys. They are created if there are none. ``SettingsError`` if
        the configured certificate or key cannot be used."""
        with self._database.read() as session:
            key = self._active(session)
        if key is None:
            with self._database.write() as session:
                self._database.one_at_a_time(session, _LOCK)
                key = self._active(session) or self._create(session)
        name = _secret_name(key)
        with self._database.read() as session:
            secret = session.get_one(Secret, name)
        private = self._keys.unwrap(secret.wrapped, context_of("secret", name))
        statement = Ed25519PrivateKey.from_private_bytes(private)
        if self.own is None:
            return Signers(statement, authority=self.authority)
        return Signers(statement, *own_signer(*self.own), self.authority)

    def certificate_end(self) -> datetime | None:
        """Return when the first of the operator's certificates expires; ``None`` without one.
        ``SettingsError`` if the configured certificate or key cannot be used."""
        certificates = own_signer(*self.own)[1] if self.own is not None else ()
        return min((c.not_valid_after_utc for c in certificates), default=None)

    def rotate(self) -> str:
        """Create a new key, retire the current one, and return the id of the new one."""
        with self._database.write() as session:
            self._database.one_at_a_time(session, _LOCK)
            self._retire_all(session)
            return self._create(session).id

    @staticmethod
    def _retire_all(session: Session) -> None:
        for key in session.scalars(select(SigningKey).where(SigningKey.retired_at.is_(None))):
            key.retired_at = current_time(session)
            # A private key that is no longer needed must not be there to be stolen.
            secret = session.get(Secret, _secret_name(key))
            if secret is not None:
                session.delete(secret)

    def revoke(self, key_id: str) -> None:
        """Withdraw trust from everything that a key signed, for instance after a compromise.

        ``key_id`` is the key's id or a unique prefix of it. All current keys are retired.
        ``NotFound`` if no key, or more than one, has this id.
        """
        with self._database.write() as session:
            self._database.one_at_a_time(session, _LOCK)
            matches = session.scalars(
                select(SigningKey).where(SigningKey.id.startswith(key_id, autoescape=True))
            ).all()
            if len(matches) != 1 or len(key_id) < MIN_KEY_ID_CHARS:
                raise NotFound(
                    f"There is no signing key {key_id!r}. List them with `deepfake keys signing "
                    "list`.",
                    code=Code.KEY_UNKNOWN,
                )
            (revoked,) = matches
            revoked.revoked_at = current_time(session)
            append_entry(session, SERVICE, Action.SIGNING_KEY_REVOKED, detail=revoked.id)
            protect(session, "revoked_key", revoked.id, "revoked")
            self._retire_all(session)

    def all(self) -> Sequence[SigningKey]:
        """List all keys ever created, newest first."""
        with self._database.read() as session:
            return session.scalars(
                select(SigningKey)
                .where(SigningKey.purpose == STATEMENT)
                .order_by(SigningKey.created_at.desc(), SigningKey.id)
            ).all()

    def published(self) -> list[Ed25519PublicKey]:
        """Return the public keys of statements: current and retired ones, but none revoked."""
        trusted = (k for k in self.all() if k.revoked_at is None)
        keys = (load_pem_public_key(k.public_pem.encode()) for k in trusted)
        return [key for key in keys if isinstance(key, Ed25519PublicKey)]

    def jwks(self) -> PublicKeys:
        """Return all public keys that are not revoked as a JWK Set (RFC 7517)."""
        raw = ((key_id(key), key.public_bytes_raw()) for key in self.published())
        xs = ((kid, urlsafe_b64encode(x).rstrip(b"=").decode()) for kid, x in raw)
        return PublicKeys(
            keys=[
                PublicKey(kty="OKP", crv="Ed25519", x=x, kid=kid, use="sig", alg="EdDSA")
                for kid, x in xs
            ]
        )

    @staticmethod
    def _active(session: Session) -> SigningKey | None:
        return session.scalar(
            select(SigningKey).where(
                SigningKey.retired_at.is_(None), SigningKey.purpose == STATEMENT
            )
        )

    def _create(self, session: Session) -> SigningKey:
        private = Ed25519PrivateKey.generate()
        key = SigningKey(
            id=key_id(private.public_key()),
            purpose=STATEMENT,
            public_pem=public_pem(private.public_key()).decode(),
            created_at=current_time(session),
        )
        name = _secret_name(key)
        wrapped = self._keys.wrap(private.private_bytes_raw(), context_of("secret", name))
        session.add(Secret(name=name, wrapped=wrapped))
        session.add(key)
        made = {n: getattr(key, n) for n in ("purpose", "public_pem", "certificate_pem")}
        made["created_at"] = key.created_at.isoformat()
        protect(session, "signing_key", key.id, json.dumps(made))
        session.flush()
        append_entry(session, SERVICE, Action.SIGNING_KEYS_MADE, detail=key.id)
        return key


def open_signing_keys(settings: Settings, database: Database, keys: KeyWrapper) -> SigningKeys:
    """Open the signing keys, with the operator's certificate and the time-stamp authority that
    ``settings`` name."""
    own = None
    if settings.report_certificate and settings.report_key:
        own = (settings.report_certificate, settings.report_key)
    authority = poster(settings.timestamp_url) if settings.timestamp_url else None
    return SigningKeys(database, keys, own, authority)


def own_signer(
    certificate: Path, key: Path
) -> tuple[ec.EllipticCurvePrivateKey, tuple[x509.Certificate, ...]]:
    """Read the operator's own report key and its certificate chain from PEM files;
    ``SettingsError`` if a file cannot be read, or the key is not the first certificate's."""
    try:
        chain = x509.load_pem_x509_certificates(certificate.read_bytes())
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(
            "DEEPFAKE_REPORT_CERTIFICATE and DEEPFAKE_REPORT_KEY must be PEM files with a "
            "certificate chain and its unencrypted key"
        ) from error
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise SettingsError("DEEPFAKE_REPORT_KEY must be an elliptic-curve key (P-256)")
    if chain[0].public_key() != private.public_key():
        raise SettingsError(
            "DEEPFAKE_REPORT_CERTIFICATE: the first certificate does not belong to the key"
        )
    return private, tuple(chain)


def _secret_name(key: SigningKey) -> str:
    return f"sign-{key.id[:24]}"
