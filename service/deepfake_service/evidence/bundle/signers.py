"""The keys that sign an edition: one for the statement, one with a certificate for reports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from deepfake_service.evidence.bundle.statement import key_id
from deepfake_service.platform.errors import SettingsError

CERTIFICATE_YEARS = 10


@dataclass(frozen=True, slots=True)
class Signers:
    """The keys and certificates that sign one edition."""

    statement: Ed25519PrivateKey
    report_key: ec.EllipticCurvePrivateKey
    report_certificates: tuple[x509.Certificate, ...]
    """The report key's certificate first, then the intermediate certificates of its chain."""

    @property
    def certificates_pem(self) -> bytes:
        """The report certificates in PEM format."""
        return b"".join(c.public_bytes(Encoding.PEM) for c in self.report_certificates)

    @property
    def public_pem(self) -> bytes:
        """The public part of the statement key in PEM format."""
        return public_pem(self.statement.public_key())

    def __repr__(self) -> str:
        return f"Signers(statement={key_id(self.statement.public_key())[:16]!r})"


def public_pem(key: Ed25519PublicKey) -> bytes:
    """Return a public key in PEM format."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


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
    """Read the operator's own report key and its certificate chain from PEM files.

    Raises:
        SettingsError: a file cannot be read, or the key is not the first certificate's.
    """
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
