"""The keys that evidence is signed with, as they are published."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deepfake_service.db import Database
from deepfake_service.errors import KeyUnknown
from deepfake_service.security.records import open_database
from deepfake_service.security.signing_keys import SigningKeys
from deepfake_service.settings import Settings
from deepfake_service.storage.envelope import MasterKeys, new_key


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(open_database(Settings(data_dir=tmp_path))) as opened:
        yield opened


@pytest.fixture
def keys(database: Database) -> SigningKeys:
    return SigningKeys(database, MasterKeys(new_key()), issuer="Centre")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_published_keys_are_those_that_sign(keys: SigningKeys) -> None:
    signers = keys.current()
    published = {jwk["kty"]: jwk for jwk in keys.jwks()["keys"]}
    ids = {key.purpose: key.id for key in keys.all()}
    raw = signers.statement.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert _bytes(published["OKP"].pop("x")) == raw
    assert published["OKP"] == {
        "kty": "OKP", "crv": "Ed25519", "kid": ids["statement"], "use": "sig", "alg": "EdDSA",
    }  # fmt: skip
    certificate = x509.load_der_x509_certificate(base64.b64decode(published["EC"].pop("x5c")[0]))
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    numbers = public.public_numbers()
    assert _bytes(published["EC"].pop("x")) == numbers.x.to_bytes(32)
    assert _bytes(published["EC"].pop("y")) == numbers.y.to_bytes(32)
    assert published["EC"] == {
        "kty": "EC", "crv": "P-256", "kid": ids["report"], "use": "sig", "alg": "ES256",
    }  # fmt: skip


def test_a_retired_key_stays_published_and_a_revoked_one_does_not(keys: SigningKeys) -> None:
    keys.current()
    (first,) = [key.id for key in keys.all() if key.purpose == "statement"]
    second = keys.rotate()
    assert len(keys.published()) == 2
    keys.revoke(first[:8])
    assert {jwk["kid"] for jwk in keys.jwks()["keys"] if jwk["kty"] == "OKP"} == {second}
    for unknown in (first[:7], "0" * 8):
        with pytest.raises(KeyUnknown):
            keys.revoke(unknown)
