"""The keys that evidence is signed with, as they are published."""

from __future__ import annotations

import base64
import contextlib
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)
from sqlalchemy import text
from structlog.testing import capture_logs

from deepfake_service.audit.journal import open_journal
from deepfake_service.audit.records import open_database
from deepfake_service.evidence.signing_keys import SigningKeys
from deepfake_service.platform.db import Database
from deepfake_service.platform.errors import NotFound, SettingsError
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage.envelope import MasterKeys, new_key
from tests.support.certificates import own_certificate
from tests.unit.service.conftest import Service, Starter


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with contextlib.closing(open_database(Settings(data_dir=tmp_path))) as opened:
        yield opened


@pytest.fixture
def keys(database: Database) -> SigningKeys:
    return SigningKeys(database, MasterKeys(new_key()))


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_published_keys_are_those_that_sign(keys: SigningKeys) -> None:
    signers = keys.current()
    (published,) = keys.jwks().model_dump()["keys"]
    (key,) = keys.all()
    raw = signers.statement.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert _bytes(published.pop("x")) == raw
    assert published == {
        "kty": "OKP", "crv": "Ed25519", "kid": key.id, "use": "sig", "alg": "EdDSA",
    }  # fmt: skip


def test_a_retired_key_stays_published_and_a_revoked_one_does_not(keys: SigningKeys) -> None:
    keys.current()
    (first,) = [key.id for key in keys.all()]
    second = keys.rotate()
    assert len(keys.published()) == 2
    keys.revoke(first[:8])
    assert {jwk.kid for jwk in keys.jwks().keys} == {second}
    for unknown in (first[:7], "0" * 8):
        with pytest.raises(NotFound):
            keys.revoke(unknown)


def test_the_end_of_the_certificate_of_reports_is_known(
    keys: SigningKeys, database: Database, tmp_path: Path
) -> None:
    assert keys.certificate_end() is None
    assert keys.current().report_certificates == ()
    files = own_certificate(tmp_path, datetime(2020, 1, 1, tzinfo=UTC))
    own = SigningKeys(database, keys._keys, own=files)
    (certificate,) = own.current().report_certificates
    assert own.certificate_end() == certificate.not_valid_after_utc
    files[0].write_bytes(b"")
    with pytest.raises(SettingsError, match="DEEPFAKE_REPORT_CERTIFICATE"):
        own.certificate_end()


async def test_a_certificate_that_has_expired_is_told_at_the_start_and_in_metrics(
    start: Starter, tmp_path: Path
) -> None:
    files = own_certificate(tmp_path, datetime(2010, 1, 1, tzinfo=UTC))
    given = {"report_certificate": files[0], "report_key": files[1]}
    with capture_logs() as logged:
        async with start(**given) as service:
            expected = datetime(2019, 12, 30, tzinfo=UTC).timestamp()
            assert await certificate_end_s(service) == expected
            files[0].unlink()
            assert await certificate_end_s(service) == 0.0
    assert "report_certificate_expires" in {line["event"] for line in logged}


async def test_metrics_tell_that_a_signing_key_was_altered(service: Service) -> None:
    service.app.state.shared.services.evidence_store.keys.current()
    assert math.isnan(await certificate_end_s(service))
    with service.database.engine.begin() as connection:
        connection.execute(text("UPDATE signing_keys SET certificate_pem = 'x'"))
    assert (await service.client.get("/.well-known/jwks.json")).status_code == 409
    assert "deepfake_records_altered 1.0" in (await service.client.get("/metrics")).text


async def test_a_signing_key_that_was_altered_does_not_stop_a_start(start: Starter) -> None:
    async with start() as service:
        shared = service.app.state.shared
        shared.services.evidence_store.keys.current()
        open_journal(shared.settings, service.database).catch_up()
        with service.database.engine.begin() as connection:
            connection.execute(text("UPDATE signing_keys SET certificate_pem = 'x'"))
    async with start() as service:
        assert (await service.client.get("/readyz")).status_code == 200


async def certificate_end_s(service: Service) -> float:
    """Return what the metrics say."""
    page = (await service.client.get("/metrics")).text
    found = re.search(r"^deepfake_report_certificate_end_seconds (\S+)$", page, re.MULTILINE)
    assert found, page
    return float(found[1])


async def test_a_service_does_not_start_without_the_certificate_that_is_set(
    start: Starter, tmp_path: Path
) -> None:
    missing = {"report_certificate": tmp_path / "no.crt", "report_key": tmp_path / "no.key"}
    with pytest.raises(SettingsError, match="DEEPFAKE_REPORT_CERTIFICATE"):
        async with start(**missing):
            pass
