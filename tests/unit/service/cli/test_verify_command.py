"""What ``deepfake verify`` says of files that it is given in vain."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner, Result

from deepfake_models.errors import BundleError
from deepfake_service.cli.app import app
from deepfake_service.evidence.bundle.trust_store import public_keys
from deepfake_service.platform.errors import KeyUnreadable


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    path = tmp_path / "evidence.zip"
    path.write_bytes(b"PK")
    return path


def verified(evidence: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(app, ["verify", str(evidence), *map(str, words)])


@pytest.mark.parametrize("option", ["--public-key", "--timestamp-root"])
def test_a_key_that_is_absent_is_not_called_malformed(option: str, evidence: Path) -> None:
    error = verified(evidence, option, evidence.with_name("absent.pem")).exception
    assert isinstance(error, KeyUnreadable)
    assert error.message == (
        "absent.pem cannot be read: No such file or directory. Check the path and who may read the "
        "file."
    )


def test_a_folder_of_trusted_keys_that_is_absent_is_an_error(evidence: Path) -> None:
    done = verified(evidence, "--pinned", evidence.with_name("absent"))
    assert done.exit_code == 2
    assert "--pinned" in done.output


@pytest.mark.parametrize("words", [["--rescore"], ["--media", "clip.mp4"]])
def test_an_incomplete_model_is_named_by_its_folder(words: list[str], evidence: Path) -> None:
    error = verified(evidence, *words, "--bundle", evidence.parent).exception
    assert isinstance(error, BundleError)
    assert error.message.startswith(f"{evidence.parent}: bundle.json: missing")


def jwk(key: Ed25519PublicKey) -> dict[str, str]:
    x = urlsafe_b64encode(key.public_bytes_raw()).decode().rstrip("=")
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "use": "sig", "alg": "EdDSA"}


OF_REPORTS = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}


def test_the_keys_of_evidence_are_read_from_a_key_set(tmp_path: Path) -> None:
    """Who has only the API gets no PEM file: the service publishes its keys as a set."""
    keys = [Ed25519PrivateKey.generate().public_key() for _ in range(2)]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": [jwk(keys[0]), OF_REPORTS, jwk(keys[1])]}))
    assert public_keys(path) == keys
    path.write_text(json.dumps({"keys": [jwk(keys[0])], "issuer": "others are ignored"}))
    assert public_keys(path) == keys[:1]


def test_a_key_is_read_from_a_pipe() -> None:
    """As with ``--public-key <(curl ...)``, where a second reading finds nothing."""
    key = Ed25519PrivateKey.generate().public_key()
    reading, writing = os.pipe()
    os.write(writing, key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    os.close(writing)
    try:
        assert public_keys(Path(f"/dev/fd/{reading}")) == [key]
    finally:
        os.close(reading)


@pytest.mark.parametrize(
    "content",
    ["{", "{}", '{"keys": [1]}', '{"keys": []}', '{"keys": [{"crv": "Ed25519", "x": "AA"}]}',
     '{"keys": [{"crv": "Ed25519", "x": 1}]}', '{"keys": [{"crv": "Ed25519"}]}',
     json.dumps({"keys": [OF_REPORTS]})],
)  # fmt: skip
def test_a_key_set_without_a_key_of_evidence_is_refused(content: str, evidence: Path) -> None:
    path = evidence.with_name("jwks.json")
    path.write_text(content)
    error = verified(evidence, "--public-key", path).exception
    assert isinstance(error, KeyUnreadable)
    assert error.message.startswith("jwks.json holds no Ed25519 key")
