"""Checkpoints of the audit log leave the machine, and reveal a log that was rewritten."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete
from typer.testing import CliRunner

from deepfake_service.audit.checkpoints import Checkpoints, audit_key
from deepfake_service.audit.log import SERVICE, Action, Checkpoint, append_entry, verify
from deepfake_service.audit.records import open_database
from deepfake_service.cli.app import app
from deepfake_service.platform.db import AuditEntry, Database
from deepfake_service.platform.errors import InvalidRequest, RecordAltered, StorageError
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import open_keys


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "var", audit_checkpoints=f"file://{tmp_path}/elsewhere")


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    (settings.data_dir.parent / "elsewhere").mkdir()
    with contextlib.closing(open_database(settings)) as opened:
        yield opened


def append(database: Database, count: int = 1) -> None:
    with database.write() as session:
        for _ in range(count):
            append_entry(session, SERVICE, Action.AUDIT_READ)


def key_of(database: Database, settings: Settings) -> Ed25519PrivateKey:
    return audit_key(database, open_keys(settings))


def test_a_log_rewritten_with_every_key_contradicts_the_checkpoint_that_left(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """M7: 56 entries were taken out and the rest chained anew, and "audit verify" said "holds"."""
    checkpoints = Checkpoints(settings, database, open_keys(settings))
    append(database, 5)
    checkpoints.send()
    checkpoints.send()  # the log has not grown
    (sent,) = (settings.data_dir.parent / "elsewhere").iterdir()
    append(database)
    checkpoints.send()
    assert len(list((settings.data_dir.parent / "elsewhere").iterdir())) == 2
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(settings.data_dir))
    words = ["audit", "verify", "--since", str(sent)]
    assert CliRunner().invoke(app, words).exit_code == 0
    with database.write() as session:  # with the key of the codes, as a thief of the machine
        session.execute(delete(AuditEntry).where(AuditEntry.number > 2))
    append(database, 4)
    with database.read() as session:
        verify(session)
    assert isinstance(CliRunner().invoke(app, words).exception, RecordAltered)


def test_a_checkpoint_is_never_replaced(settings: Settings, database: Database) -> None:
    append(database)
    Checkpoints(settings, database, open_keys(settings)).send()
    (sent,) = (settings.data_dir.parent / "elsewhere").iterdir()
    sent.write_text("locked")
    Checkpoints(settings, database, open_keys(settings)).send()  # by another process
    assert sent.read_text() == "locked"


def test_checkpoints_are_logged(settings: Settings, database: Database) -> None:
    append(database, 3)
    alone = settings.model_copy(update={"audit_checkpoints": None})
    with structlog.testing.capture_logs() as logged:
        for _ in range(2):
            Checkpoints(alone, database, open_keys(settings)).send()
    public = key_of(database, settings).public_key()
    (first, second) = [e["checkpoint"] for e in logged if e["event"] == "audit_checkpoint"]
    assert Checkpoint.opened(first, public).number == 3
    assert Checkpoint.opened(second, public).hash == Checkpoint.opened(first, public).hash


def test_a_destination_that_fails_gets_the_next_checkpoint(
    settings: Settings, database: Database
) -> None:
    sent: list[int] = []

    class Flaky:
        def create_bytes(self, name: str, _: bytes) -> None:
            if not sent:
                sent.append(0)
                raise StorageError
            sent.append(int(name.split("-")[2]))

    append(database)
    checkpoints = Checkpoints(settings, database, open_keys(settings))
    stores: Any = [Flaky()]
    checkpoints._stores = stores
    checkpoints.send()
    checkpoints.send()
    assert sent == [0, 1]


def test_a_destination_that_cannot_be_is_named(settings: Settings, database: Database) -> None:
    for url, error in (("ftp://host", StorageError),):
        wrong = settings.model_copy(update={"audit_checkpoints": url})
        with pytest.raises(error, match="DEEPFAKE_AUDIT_CHECKPOINTS"):
            Checkpoints(wrong, database, open_keys(settings))


def test_a_file_that_is_no_checkpoint_is_refused(
    settings: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(database)
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(settings.data_dir))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "text").write_text("no checkpoint")
    missing = ["audit", "verify", "--since", str(tmp_path / "missing")]
    assert isinstance(CliRunner().invoke(app, missing).exception, FileNotFoundError)
    for name in ("binary", "text"):
        path = tmp_path / name
        error = CliRunner().invoke(app, ["audit", "verify", "--since", str(path)]).exception
        assert isinstance(error, InvalidRequest)
        assert "not a checkpoint" in error.message
