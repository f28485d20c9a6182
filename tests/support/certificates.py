"""Certificates that stand for those of an operator."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def self_made_certificate(
    key: ec.EllipticCurvePrivateKey, issuer: str, now: datetime
) -> x509.Certificate:
    """Return a self-signed certificate of ``key``, as an operator may have one, for ten years."""
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
        .not_valid_after(now + timedelta(days=3650))
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


def own_certificate(folder: Path, made_at: datetime) -> tuple[Path, Path]:
    """Write a certificate that was made at a time, and its key, and return their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    files = folder / "report.crt", folder / "report.key"
    certificate = self_made_certificate(key, "Centre", made_at)
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files[1].write_bytes(pem)
    return files
