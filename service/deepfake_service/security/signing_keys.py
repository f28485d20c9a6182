"""The keys that evidence is signed with: made on first use, rotated, published, never forgotten.

There are two: an Ed25519 key for statements, and an ECDSA P-256 key with a certificate for the
reports' PDF signatures. Their private parts lie in the database, wrapped by the master key, so that
every process of an installation signs with the same. A retired key signs no more and stays
published: what it signed stays verifiable.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from securesystemslib.signer import SSlibKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.db import Database, Secret, SigningKey, current_time
from deepfake_service.errors import KeyUnknown
from deepfake_service.evidence.signers import Signers, own_signer, self_made_certificate
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.settings import Settings
from deepfake_service.storage import secret_context
from deepfake_service.storage.envelope import KeyWrapper

STATEMENT, REPORT = "statement", "report"
MIN_KEY_ID_CHARS = 8
"""Of an id, so many say which key is meant."""
_LOCK = "signing-keys"


class SigningKeys:
    """The signing keys in a database."""

    def __init__(
        self,
        database: Database,
        keys: KeyWrapper,
        *,
        issuer: str,
        own: tuple[Path, Path] | None = None,
    ) -> None:
        """``issuer`` is named in certificates made here; ``own`` are PEM files of a certificate
        chain and its key, used for reports in place of one made here."""
        self._database = database
        self._keys = keys
        self._issuer = issuer
        self._own = own

    def current(self) -> Signers:
        """What to sign with now; made where there is nothing yet.

        Raises:
            SettingsError: one's own certificate or key cannot be used.
        """
        with self._database.read() as session:
            found = self._newest(session)
        if found is None:
            with self._database.write() as session:
                self._database.one_at_a_time(session, _LOCK)
                found = self._newest(session) or self._make(session)
        statement = Ed25519PrivateKey.from_private_bytes(self._private(found[0]))
        if self._own is not None:
            return Signers(statement, *own_signer(*self._own))
        scalar = int.from_bytes(self._private(found[1]))
        assert found[1].certificate_pem is not None
        certificate = x509.load_pem_x509_certificate(found[1].certificate_pem.encode())
        return Signers(statement, ec.derive_private_key(scalar, ec.SECP256R1()), (certificate,))

    def rotate(self) -> str:
        """Make new keys, and retire those that there are; the new statement key's id."""
        with self._database.write() as session:
            self._database.one_at_a_time(session, _LOCK)
            for key in session.scalars(select(SigningKey).where(SigningKey.retired_at.is_(None))):
                self._retire(session, key)
            return self._make(session)[0].id

    @staticmethod
    def _retire(session: Session, key: SigningKey) -> None:
        key.retired_at = key.retired_at or current_time(session)
        # Nothing is signed with it any more, so nobody can steal it either.
        secret = session.get(Secret, _secret_name(key))
        if secret is not None:
            session.delete(secret)

    def revoke(self, key_id: str) -> None:
        """Trust nothing any more that a key signed: somebody else may have it.

        Raises:
            KeyUnknown: there is no such key.
        """
        with self._database.write() as session:
            self._database.one_at_a_time(session, _LOCK)
            found = session.scalars(
                select(SigningKey).where(SigningKey.id.startswith(key_id, autoescape=True))
            ).all()
            if len(found) != 1 or len(key_id) < MIN_KEY_ID_CHARS:
                raise KeyUnknown(f"there is no signing key {key_id!r}")
            self._retire(session, found[0])
            found[0].revoked_at = current_time(session)
            append_entry(session, SERVICE, Action.SIGNING_KEY_REVOKED, detail=found[0].id)
            for key in session.scalars(select(SigningKey).where(SigningKey.retired_at.is_(None))):
                self._retire(session, key)  # they are made in pairs

    def all(self) -> Sequence[SigningKey]:
        """Every key there ever was, the newest first."""
        with self._database.read() as session:
            return session.scalars(
                select(SigningKey).order_by(SigningKey.created_at.desc(), SigningKey.purpose)
            ).all()

    def published(self) -> list[Ed25519PublicKey]:
        """The public statement keys, retired ones included: bundles of ours are by one of them.
        Not those that were revoked."""
        kept = (k for k in self.all() if k.revoked_at is None)
        found = (load_pem_public_key(k.public_pem.encode()) for k in kept)
        return [key for key in found if isinstance(key, Ed25519PublicKey)]

    def jwks(self) -> dict[str, Any]:
        """All public keys as a JWK Set (RFC 7517, RFC 8037)."""
        return {"keys": [_jwk(key) for key in self.all() if key.revoked_at is None]}

    @staticmethod
    def _newest(session: Session) -> tuple[SigningKey, SigningKey] | None:
        active = session.scalars(select(SigningKey).where(SigningKey.retired_at.is_(None))).all()
        found = {key.purpose: key for key in active}
        return (found[STATEMENT], found[REPORT]) if len(found) == 2 else None

    def _make(self, session: Session) -> tuple[SigningKey, SigningKey]:
        statement = Ed25519PrivateKey.generate()
        report = ec.generate_private_key(ec.SECP256R1())
        raw = statement.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        kept = (
            self._keep(session, STATEMENT, statement.public_key(), raw, None),
            self._keep(
                session,
                REPORT,
                report.public_key(),
                report.private_numbers().private_value.to_bytes(32),
                self_made_certificate(report, self._issuer, current_time(session)),
            ),
        )
        append_entry(session, SERVICE, Action.SIGNING_KEYS_MADE, detail=kept[0].id)
        return kept

    def _keep(
        self,
        session: Session,
        purpose: str,
        public: Ed25519PublicKey | ec.EllipticCurvePublicKey,
        private: bytes,
        certificate: x509.Certificate | None,
    ) -> SigningKey:
        key = SigningKey(
            id=SSlibKey.from_crypto(public).keyid,
            purpose=purpose,
            public_pem=public.public_bytes(
                Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
            ).decode(),
            certificate_pem=certificate and certificate.public_bytes(Encoding.PEM).decode(),
            created_at=current_time(session),
        )
        name = _secret_name(key)
        session.add(Secret(name=name, wrapped=self._keys.wrap(private, secret_context(name))))
        session.add(key)
        session.flush()
        return key

    def _private(self, key: SigningKey) -> bytes:
        name = _secret_name(key)
        with self._database.read() as session:
            secret = session.get_one(Secret, name)
        return self._keys.unwrap(secret.wrapped, secret_context(name))


def open_signing_keys(settings: Settings, database: Database, keys: KeyWrapper) -> SigningKeys:
    """The keys that evidence is signed with, or the report's certificate that ``settings`` name."""
    own = None
    if settings.report_certificate and settings.report_key:
        own = (settings.report_certificate, settings.report_key)
    return SigningKeys(database, keys, issuer=settings.issuer, own=own)


def _secret_name(key: SigningKey) -> str:
    return f"sign-{key.id[:24]}"


def _jwk(key: SigningKey) -> dict[str, Any]:
    public = load_pem_public_key(key.public_pem.encode())
    common = {"kid": key.id, "use": "sig"}
    if isinstance(public, Ed25519PublicKey):
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": _base64url(raw), "alg": "EdDSA", **common}
    assert isinstance(public, ec.EllipticCurvePublicKey)
    numbers = public.public_numbers()
    jwk: dict[str, Any] = {
        "kty": "EC",
        "crv": "P-256",
        "x": _base64url(numbers.x.to_bytes(32)),
        "y": _base64url(numbers.y.to_bytes(32)),
        "alg": "ES256",
        **common,
    }
    if key.certificate_pem:
        certificate = x509.load_pem_x509_certificate(key.certificate_pem.encode())
        der = certificate.public_bytes(Encoding.DER)
        jwk["x5c"] = [base64.b64encode(der).decode()]
    return jwk


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
