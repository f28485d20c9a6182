"""The keys that evidence is signed with: created on first use, rotated, and published forever.

There are two: an Ed25519 key for statements, and an ECDSA P-256 key with a certificate for the PDF
signatures of reports. Their private parts are in the database, wrapped by the master key, so that
all processes of an installation sign with the same keys. A retired key no longer signs but stays
published, so that earlier evidence can still be verified.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey, KeyParameters, OKPKey
from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.accounts.organisation import Sender
from deepfake_service.audit.journal import protect
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.evidence.bundle.dsse import Signers, key_id, public_pem
from deepfake_service.platform.db import Database, Secret, SigningKey, current_time
from deepfake_service.platform.errors import KeyUnknown, SettingsError
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import context_of
from deepfake_service.platform.storage.envelope import KeyWrapper
from deepfake_service.platform.timestamps import PostQuery, poster

STATEMENT, REPORT = "statement", "report"
CERTIFICATE_YEARS = 10
MIN_KEY_ID_CHARS = 8
"""The shortest prefix of an id that identifies a key."""
_LOCK = "signing-keys"


@dataclass
class SigningKeys:
    """The signing keys in a database."""

    _database: Database
    _keys: KeyWrapper
    issuer: Callable[[], str]
    """Returns the name for a new self-signed certificate."""
    own: tuple[Path, Path] | None = None
    """PEM files of a certificate chain and its key, which sign reports instead of our own key."""
    authority: PostQuery | None = None
    """Sends queries to a time-stamp authority."""

    def current(self) -> Signers:
        """Return the current signing keys. They are created if there are none. ``SettingsError`` if
        the configured certificate or key cannot be used."""
        with self._database.read() as session:
            pair = self._active(session)
        if pair is None:
            issuer = self.issuer()
            with self._database.write() as session:
                self._database.one_at_a_time(session, _LOCK)
                pair = self._active(session) or self._create(session, issuer)
        for_statements, for_reports = pair
        statement = Ed25519PrivateKey.from_private_bytes(self._private(for_statements))
        if self.own is not None:
            return Signers(statement, *own_signer(*self.own), self.authority)
        scalar = int.from_bytes(self._private(for_reports))
        private = ec.derive_private_key(scalar, ec.SECP256R1())
        return Signers(statement, private, (_certificate_of(for_reports),), self.authority)

    def certificate_end(self) -> datetime | None:
        """Return when the first of the certificates that sign reports expires; ``None`` as
        ``_certificates`` has none."""
        return min((c.not_valid_after_utc for c in self._certificates()), default=None)

    def certified_name(self) -> str | None:
        """Return the name in the certificate that signs reports; ``None`` as ``_certificates`` has
        none."""
        for certificate in self._certificates():
            names = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
            return str(names[0].value) if names else certificate.subject.rfc4514_string()
        return None

    def _certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the chain that signs reports: none before the first evidence if the service makes
        it; ``SettingsError`` if the configured certificate or key cannot be used."""
        if self.own is not None:
            return own_signer(*self.own)[1]
        with self._database.read() as session:
            pair = self._active(session)
        return (_certificate_of(pair[1]),) if pair else ()

    def rotate(self, actor: Actor = SERVICE) -> str:
        """Create new keys, retire the current ones, and return the id of the new statement key."""
        issuer = self.issuer()
        with self._database.write() as session:
            self._database.one_at_a_time(session, _LOCK)
            self._retire_all(session)
            return self._create(session, issuer, actor)[0].id

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
        ``KeyUnknown`` if no key, or more than one, has this id.
        """
        with self._database.write() as session:
            self._database.one_at_a_time(session, _LOCK)
            matches = session.scalars(
                select(SigningKey).where(SigningKey.id.startswith(key_id, autoescape=True))
            ).all()
            if len(matches) != 1 or len(key_id) < MIN_KEY_ID_CHARS:
                raise KeyUnknown(
                    f"There is no signing key {key_id!r}. List them with `deepfake keys signing "
                    "list`."
                )
            (revoked,) = matches
            revoked.revoked_at = current_time(session)
            append_entry(session, SERVICE, Action.SIGNING_KEY_REVOKED, detail=revoked.id)
            protect(session, "revoked_key", revoked.id, "revoked")
            self._retire_all(session)  # keys are created in pairs

    def all(self) -> Sequence[SigningKey]:
        """List all keys ever created, newest first."""
        with self._database.read() as session:
            return session.scalars(
                select(SigningKey).order_by(SigningKey.created_at.desc(), SigningKey.purpose)
            ).all()

    def published(self) -> list[Ed25519PublicKey]:
        """Return the public keys of statements: current and retired ones, but none revoked."""
        trusted = (k for k in self.all() if k.revoked_at is None)
        keys = (load_pem_public_key(k.public_pem.encode()) for k in trusted)
        return [key for key in keys if isinstance(key, Ed25519PublicKey)]

    def jwks(self) -> dict[str, Any]:
        """Return all public keys that are not revoked as a JWK Set (RFC 7517)."""
        return {"keys": [_jwk(key) for key in self.all() if key.revoked_at is None]}

    @staticmethod
    def _active(session: Session) -> tuple[SigningKey, SigningKey] | None:
        active = session.scalars(select(SigningKey).where(SigningKey.retired_at.is_(None))).all()
        by_purpose = {key.purpose: key for key in active}
        return (by_purpose[STATEMENT], by_purpose[REPORT]) if len(by_purpose) == 2 else None

    def _create(
        self, session: Session, issuer: str, actor: Actor = SERVICE
    ) -> tuple[SigningKey, SigningKey]:
        statement, report = Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
        scalar = report.private_numbers().private_value.to_bytes(32)
        certificate = self_made_certificate(report, issuer, current_time(session))
        pair = (
            self._store(session, STATEMENT, statement.public_key(), statement.private_bytes_raw()),
            self._store(session, REPORT, report.public_key(), scalar, certificate),
        )
        append_entry(session, actor, Action.SIGNING_KEYS_MADE, detail=pair[0].id)
        return pair

    def _store(
        self,
        session: Session,
        purpose: str,
        public: Ed25519PublicKey | ec.EllipticCurvePublicKey,
        private: bytes,
        certificate: x509.Certificate | None = None,
    ) -> SigningKey:
        key = SigningKey(
            id=key_id(public),
            purpose=purpose,
            public_pem=public_pem(public).decode(),
            certificate_pem=certificate and certificate.public_bytes(Encoding.PEM).decode(),
            created_at=current_time(session),
        )
        name = _secret_name(key)
        session.add(Secret(name=name, wrapped=self._keys.wrap(private, context_of("secret", name))))
        session.add(key)
        made = {n: getattr(key, n) for n in ("purpose", "public_pem", "certificate_pem")}
        made["created_at"] = key.created_at.isoformat()
        protect(session, "signing_key", key.id, json.dumps(made))
        session.flush()
        return key

    def _private(self, key: SigningKey) -> bytes:
        name = _secret_name(key)
        with self._database.read() as session:
            secret = session.get_one(Secret, name)
        return self._keys.unwrap(secret.wrapped, context_of("secret", name))


def open_signing_keys(settings: Settings, database: Database, keys: KeyWrapper) -> SigningKeys:
    """Open the signing keys, with the certificate for reports and the time-stamp authority that
    ``settings`` name. Certificates that the service makes name the organisation."""
    sender = Sender(database, keys, settings.issuer)
    own = None
    if settings.report_certificate and settings.report_key:
        own = (settings.report_certificate, settings.report_key)
    authority = poster(settings.timestamp_url) if settings.timestamp_url else None
    return SigningKeys(database, keys, sender.certificate_name, own, authority)


def self_made_certificate(
    key: ec.EllipticCurvePrivateKey, issuer: str, now: datetime
) -> x509.Certificate:
    """Return a self-signed certificate of ``key``.

    It does not prove who ``issuer`` is. A verifier trusts it because the statement, which is signed
    with a key that the verifier trusts, names its digest.
    """
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, issuer[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, "Report signer"),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # a verifier's clock may be behind
        .not_valid_after(now + timedelta(days=365 * CERTIFICATE_YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=True,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


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


def _certificate_of(key: SigningKey) -> x509.Certificate:
    assert key.certificate_pem is not None  # as every key for reports has
    return x509.load_pem_x509_certificate(key.certificate_pem.encode())


def _secret_name(key: SigningKey) -> str:
    return f"sign-{key.id[:24]}"


def _jwk(key: SigningKey) -> dict[str, Any]:
    parameters: KeyParameters = {"kid": key.id, "use": "sig"}
    if key.certificate_pem:
        der = _certificate_of(key).public_bytes(Encoding.DER)
        parameters["x5c"] = [base64.b64encode(der).decode()]
    kind, alg = (OKPKey, "EdDSA") if key.purpose == STATEMENT else (ECKey, "ES256")
    public: OKPKey | ECKey = kind.import_key(key.public_pem, {**parameters, "alg": alg})
    return dict(public.as_dict(private=False))
