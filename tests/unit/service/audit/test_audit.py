"""The audit log: every change to it shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, update

from deepfake_service.audit.log import (
    SERVICE,
    START,
    Action,
    Actor,
    Checkpoint,
    append_entry,
    entry_of,
    page,
    verify,
)
from deepfake_service.audit.records import open_database
from deepfake_service.platform.db import AuditEntry, Database
from deepfake_service.platform.errors import InvalidRequest, RecordAltered
from deepfake_service.platform.settings import Settings

KEY = Ed25519PrivateKey.generate()


@pytest.fixture
def database(tmp_path: Path, backend: dict[str, Any]) -> Iterator[Database]:
    opened = open_database(Settings(data_dir=tmp_path, **backend))
    yield opened
    opened.close()


def filled(database: Database, count: int = 5) -> None:
    with database.write() as session:
        for number in range(count):
            append_entry(session, Actor("account", "key"), Action.RESULT_READ, f"job-{number}")


def broken(database: Database, since: Checkpoint | None = None) -> str:
    with database.read() as session, pytest.raises(RecordAltered) as caught:
        verify(session, since)
    return caught.value.message


def test_an_empty_log_holds(database: Database) -> None:
    with database.read() as session:
        assert verify(session).hash == START


def test_a_log_that_nobody_touched_holds_and_reads_in_order(database: Database) -> None:
    filled(database)
    with database.write() as session:
        append_entry(session, SERVICE, Action.MEDIA_EXPIRED, "media-1", "after_verdict")
    with database.read() as session:
        assert verify(session).number == 6
        entries = [entry_of(e) for e in page(session, after=4)]
        assert [e.number for e in entries] == [5, 6]
        assert entries[1].account is None
        assert entries[1].detail == "after_verdict"
        assert [e.number for e in page(session, subject="job-2")] == [3]
        assert len(page(session, limit=2)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"action": "result.unread"},
        {"subject": "job-9"},
        {"account_id": None},
        {"key_id": "other"},
        {"detail": "x"},
        {"hash": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_altered_entry_shows(database: Database, change: dict[str, str | None]) -> None:
    filled(database)
    with database.write() as session:
        session.execute(update(AuditEntry).where(AuditEntry.number == 3).values(**change))
    assert broken(database).startswith("Entry 3")


def test_a_removed_entry_shows(database: Database) -> None:
    filled(database)
    with database.write() as session:
        session.execute(delete(AuditEntry).where(AuditEntry.number == 3))
    assert broken(database) == "Entry 3 of the audit log is missing."


def test_a_cut_or_rewritten_log_shows_against_a_checkpoint_alone(database: Database) -> None:
    filled(database)
    with database.read() as session:
        point = verify(session)
    with database.write() as session:
        session.execute(delete(AuditEntry).where(AuditEntry.number >= 4))
    with database.read() as session:
        assert verify(session).number == 3
    assert "ends at entry 3, but the checkpoint names entry 5" in broken(database, point)
    filled(database, 4)
    assert "Entry 5 of the audit log differs from the one in the checkpoint" in broken(
        database, point
    )


def test_a_checkpoint_still_holds_when_the_log_has_grown(database: Database) -> None:
    filled(database)
    with database.read() as session:
        point = verify(session)
    filled(database)
    with database.read() as session:
        assert verify(session, point).number == 10


def test_what_fails_with_its_change_is_not_logged(database: Database) -> None:
    filled(database, 1)

    def shred() -> None:
        with database.write() as session:
            append_entry(session, SERVICE, Action.CASE_SHREDDED, "case-1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        shred()
    with database.read() as session:
        assert verify(session).number == 1


def test_a_signed_checkpoint_comes_back_and_a_forged_one_does_not() -> None:
    point = Checkpoint(7, "ab" * 32, "2026-01-01T00:00:00.000+00:00")
    document = point.signed(KEY)
    assert Checkpoint.opened(document, KEY.public_key()) == point
    other = Ed25519PrivateKey.generate()
    forged = json.loads(document) | {"number": 8}
    for text, key in (
        (document, other.public_key()),
        (point.signed(other), KEY.public_key()),
        (json.dumps(forged), KEY.public_key()),
        ("{}", KEY.public_key()),
        ("no json", KEY.public_key()),
        (json.dumps(json.loads(document) | {"signature": "!"}), KEY.public_key()),
    ):
        with pytest.raises(InvalidRequest):
            Checkpoint.opened(text, key)
