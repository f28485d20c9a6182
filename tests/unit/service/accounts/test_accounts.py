"""Accounts, keys and roles."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from deepfake_service.accounts.accounts import (
    ENVIRONMENT_ID,
    MAX_KEY_CHARS,
    MAX_SESSIONS,
    MAY_SUBMIT,
    SIGNED_IN_FOR,
    Accounts,
    NewKey,
    authorize,
)
from deepfake_service.accounts.admin_key import (
    ADMIN_KEY_FILE,
    FIRST_ACCOUNT,
    ensure_admin_key,
)
from deepfake_service.audit.records import open_database
from deepfake_service.platform.db import AuditEntry, Database, SignIn
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import (
    Conflict,
    DatabaseError,
    DatabaseUnavailable,
    DataDirError,
    Forbidden,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
)
from deepfake_service.platform.settings import RECORDS_FILE, Settings
from tests.support import forking
from tests.support.programs import key_maker
from tests.support.servers import WAIT_S
from tests.support.stand_ins import AdjustableClock

CHOSEN = "correct-horse-battery-staple"


@pytest.fixture
def clock() -> AdjustableClock:
    return AdjustableClock()


@pytest.fixture
def database(settings: Settings, clock: AdjustableClock) -> Iterator[Database]:
    opened = open_database(settings, clock)
    yield opened
    opened.close()


@pytest.fixture
def accounts(database: Database) -> Accounts:
    return Accounts(database)


def made(accounts: Accounts, role: Role = Role.PIPELINE, name: str = "uploader") -> NewKey:
    accounts.create(name, "system", role)
    return accounts.create_key(name)


def last_uses(accounts: Accounts) -> dict[str, date | None]:
    listed = accounts.keys()
    return {key.id: key.last_used_on for key, _ in listed}


def refused(accounts: Accounts, text: str) -> str:
    with pytest.raises(NotAuthenticated) as caught:
        accounts.authenticate(text)
    return caught.value.message


def _with(settings: Settings, key: str) -> Settings:
    return settings.model_copy(update={"admin_key": SecretStr(key)})


def test_a_key_is_known_by_its_text_alone(accounts: Accounts) -> None:
    new = made(accounts)
    assert new.text.startswith(f"dfk_{new.id}_")
    caller = accounts.authenticate(new.text)
    assert (caller.account_id, caller.key_id) == (new.account_id, new.id)
    assert caller.role is Role.PIPELINE
    assert new.text not in repr(new)


def test_only_the_hash_is_kept_where_only_the_owner_can_read(
    accounts: Accounts, settings: Settings
) -> None:
    new = made(accounts, Role.ADMIN)
    secret = new.text.removeprefix(f"dfk_{new.id}_")  # which may contain underscores
    for path in settings.data_dir.iterdir():
        assert secret.encode() not in path.read_bytes()
    assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o700
    for path in settings.data_dir.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


@pytest.mark.parametrize("change", ["secret", "id", "case", "short", "long", "empty", "huge"])
def test_every_other_text_is_refused_alike(accounts: Accounts, change: str) -> None:
    text, other = made(accounts).text, made(accounts, name="other").text
    last = "A" if text[-1] != "A" else "B"
    wrong = {
        "secret": text[:-1] + last,
        "id": other[:17] + text[17:],
        "case": text.upper(),
        "short": text[:-1],
        "long": text + "A",
        "empty": "",
        "huge": "A" * (MAX_KEY_CHARS + 1),
    }[change]
    assert refused(accounts, wrong) == NotAuthenticated().message


def test_revoked_expired_and_disabled_keys_are_refused_alike(
    accounts: Accounts, clock: AdjustableClock
) -> None:
    revoked, disabled = made(accounts), made(accounts, name="gone")
    accounts.create("brief", "system", Role.PIPELINE)
    expired = accounts.create_key("brief", expires_at=clock() + timedelta(hours=1))
    assert accounts.authenticate(expired.text)
    accounts.revoke(revoked.id)
    accounts.disable("gone")
    clock.advance(timedelta(hours=2))
    for key in (revoked, disabled, expired):
        assert refused(accounts, key.text) == NotAuthenticated().message
    for key in (revoked, expired):
        with pytest.raises(NotFound):
            accounts.revoke(key.id)


def test_a_key_revoked_elsewhere_stops_working_at_once(
    accounts: Accounts, settings: Settings
) -> None:
    new = made(accounts)
    with contextlib.closing(open_database(settings)) as database:
        elsewhere = Accounts(database)
        assert elsewhere.authenticate(new.text)
        accounts.revoke(new.id)
        refused(elsewhere, new.text)


def test_a_key_gets_an_end_and_loses_it_again(
    accounts: Accounts, database: Database, clock: AdjustableClock
) -> None:
    key = made(accounts)
    end = clock() + timedelta(days=1)
    accounts.end(key.id, end)
    assert accounts.authenticate(key.text)
    accounts.end(key.id, None)
    clock.advance(timedelta(days=2))
    assert accounts.authenticate(key.text)
    with pytest.raises(InvalidRequest, match="revoke it"):
        accounts.end(key.id, clock() - timedelta(seconds=1))
    accounts.end(key.id, clock() + timedelta(days=1))
    clock.advance(timedelta(days=1, seconds=1))
    refused(accounts, key.text)
    with pytest.raises(NotFound):  # it has ended, and stays so
        accounts.end(key.id, None)
    with pytest.raises(InvalidRequest, match="past"):
        accounts.create_key("uploader", expires_at=clock())
    with database.read() as session:
        changes = session.scalars(select(AuditEntry).where(AuditEntry.action == "key.changed"))
        details = [entry.detail for entry in changes]
    assert details[:2] == [f"expires={end.isoformat(timespec='seconds')}", "expires=never"]
    assert len(details) == 3


def test_the_day_of_the_last_use_is_noted_with_one_write(
    accounts: Accounts, database: Database, clock: AdjustableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, unused = made(accounts), made(accounts, name="idle")
    writes = []
    write = Database.write

    def counted(database: Database) -> Any:
        writes.append(1)
        return write(database)

    monkeypatch.setattr(Database, "write", counted)
    for _ in range(50):
        accounts.authenticate(key.text)
    assert len(writes) == 1
    Accounts(database).authenticate(key.text)  # another process, on the same day
    assert len(writes) == 1
    refused(accounts, unused.text[:-1] + ("A" if unused.text[-1] != "A" else "B"))
    assert last_uses(accounts) == {key.id: clock().date(), unused.id: None}
    clock.advance(timedelta(days=1))
    accounts.authenticate(key.text)
    assert last_uses(accounts)[key.id] == clock().date()
    assert len(writes) == 2


def test_a_key_works_while_its_use_cannot_be_noted(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = made(accounts)
    tries = []

    def broken(_: Database) -> Any:
        tries.append(1)
        raise DatabaseUnavailable

    monkeypatch.setattr(Database, "write", broken)
    assert accounts.authenticate(key.text)
    assert accounts.authenticate(key.text)
    assert len(tries) == 1


def test_a_browser_is_signed_out_when_its_time_is_over(
    accounts: Accounts, clock: AdjustableClock
) -> None:
    caller, token = accounts.sign_in(made(accounts).text)
    clock.advance(SIGNED_IN_FOR - timedelta(minutes=1))
    assert accounts.signed_in(token) == replace(caller, by_console=True)
    clock.advance(timedelta(minutes=2))
    with pytest.raises(NotAuthenticated):
        accounts.signed_in(token)


def test_names_are_unique_and_unknown_ones_are_named(accounts: Accounts) -> None:
    made(accounts)
    with pytest.raises(Conflict, match="uploader"):
        accounts.create("uploader", "person", Role.ADMIN)
    with pytest.raises(NotFound, match="nobody"):
        accounts.create_key("nobody")


@pytest.mark.slow
def test_processes_that_write_at_once_lose_no_key(
    accounts: Accounts, settings: Settings, tmp_path: Path
) -> None:
    accounts.create("uploader", "system", Role.PIPELINE)
    url = settings.database_url.get_secret_value() if settings.database_url else ""
    words = (str(settings.data_dir), url, "uploader")
    with (tmp_path / "output").open("wb") as file:
        processes = [
            forking.start(words, os.environ, (file, file), program=key_maker.__name__)
            for _ in range(3)
        ]
    assert [p.wait(WAIT_S) for p in processes] == [0, 0, 0], (tmp_path / "output").read_text()
    assert len(accounts.keys()) == 3 * key_maker.KEYS


def test_a_file_that_is_no_database_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    settings.data_dir.mkdir()
    path = settings.data_dir / RECORDS_FILE
    path.write_text("not a database, but 100 bytes of text" * 3)
    before = path.read_bytes()
    with pytest.raises(DatabaseError):
        open_database(settings)
    assert path.read_bytes() == before


def test_a_data_directory_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirError, match="data directory"):
        open_database(Settings(data_dir=tmp_path / "file" / "var"))


def test_only_submitting_roles_submit(accounts: Accounts) -> None:
    for role in Role:
        caller = accounts.authenticate(made(accounts, role, str(role)).text)
        if role is Role.AUDITOR:
            with pytest.raises(Forbidden):
                authorize(caller, MAY_SUBMIT)
        else:
            authorize(caller, MAY_SUBMIT)


def test_the_first_start_on_a_terminal_shows_a_key_once(
    accounts: Accounts, database: Database, settings: Settings
) -> None:
    first = ensure_admin_key(database, settings, terminal=True)
    assert first is not None
    assert accounts.authenticate(first).role is Role.ADMIN
    assert not (settings.data_dir / ADMIN_KEY_FILE).exists()
    assert ensure_admin_key(database, settings, terminal=True) is None


def test_the_first_start_without_a_terminal_writes_a_key_file(
    accounts: Accounts, database: Database, settings: Settings
) -> None:
    first = ensure_admin_key(database, settings, terminal=False)
    path = settings.data_dir / ADMIN_KEY_FILE
    assert path.read_text() == f"{first}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert accounts.authenticate(path.read_text().strip()).role is Role.ADMIN


def test_without_a_working_administrators_key_another_is_made(
    accounts: Accounts, database: Database, settings: Settings, clock: AdjustableClock
) -> None:
    accounts.create(FIRST_ACCOUNT, "person", Role.ADMIN)
    accounts.create_key(FIRST_ACCOUNT, expires_at=clock() + timedelta(hours=1))
    assert ensure_admin_key(database, settings, terminal=True) is None
    clock.advance(timedelta(hours=2))
    again = ensure_admin_key(database, settings, terminal=True)
    assert again is not None
    assert len(accounts.all()) == 1


def test_the_last_administrator_keeps_a_key_and_an_account(
    accounts: Accounts, database: Database
) -> None:
    accounts.create("first", "person", Role.ADMIN)
    only = accounts.create_key("first")
    with pytest.raises(Conflict, match="administrator"):
        accounts.revoke(only.id)
    with pytest.raises(Conflict, match="administrator"):
        accounts.disable("first")
    assert accounts.authenticate(only.text)
    other = accounts.create_key("first")
    accounts.revoke(only.id)
    accounts.create("second", "person", Role.ADMIN)
    with pytest.raises(Conflict, match="administrator"):
        accounts.disable("first")  # the second one has no key
    accounts.create_key("second")
    accounts.disable("first")
    refused(accounts, other.text)
    with database.read() as session:
        refusals = session.scalars(select(AuditEntry).where(AuditEntry.action == "key.revoked"))
        assert [entry.subject for entry in refusals] == [only.id]


def test_the_environment_sets_replaces_and_withdraws_its_key(
    accounts: Accounts, database: Database, settings: Settings
) -> None:
    assert ensure_admin_key(database, _with(settings, CHOSEN), terminal=False) is None
    caller = accounts.authenticate(CHOSEN)
    assert (caller.key_id, caller.role) == (ENVIRONMENT_ID, Role.ADMIN)
    for path in settings.data_dir.iterdir():
        assert CHOSEN.encode() not in path.read_bytes()
    assert ensure_admin_key(database, _with(settings, CHOSEN), terminal=False) is None
    assert accounts.authenticate(CHOSEN) == caller

    ensure_admin_key(database, _with(settings, CHOSEN + "2"), terminal=False)
    refused(accounts, CHOSEN)
    assert accounts.authenticate(CHOSEN + "2").key_id == ENVIRONMENT_ID
    assert len(accounts.keys()) == 1

    first = ensure_admin_key(database, settings, terminal=True)
    assert first is not None
    refused(accounts, CHOSEN + "2")


def test_an_environment_key_may_have_the_form_of_a_made_one(
    accounts: Accounts, database: Database, settings: Settings, tmp_path: Path
) -> None:
    other = Accounts(open_database(Settings(data_dir=tmp_path / "other")))
    text = made(other, Role.ADMIN).text
    ensure_admin_key(database, _with(settings, text), terminal=False)
    assert accounts.authenticate(text).key_id == ENVIRONMENT_ID


def test_hashes_are_compared_in_constant_time(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def watched(a: str, b: str) -> bool:
        compared.append((a, b))
        return a == b

    monkeypatch.setattr("deepfake_service.accounts.accounts.hmac.compare_digest", watched)
    refused(accounts, "dfk_" + "0" * 12 + "_" + "A" * 43)
    ((given, expected),) = compared
    assert len(given) == len(expected) == 64


def test_a_key_signs_in_so_many_browsers_and_no_more(
    database: Database, accounts: Accounts, clock: AdjustableClock
) -> None:
    accounts.create("ana", "person", Role.ANALYST)
    key = accounts.create_key("ana").text
    tokens = []
    for _ in range(MAX_SESSIONS + 2):
        clock.advance(timedelta(seconds=1))
        tokens.append(accounts.sign_in(key)[1])
    for token in tokens[:2]:
        with pytest.raises(NotAuthenticated):
            accounts.signed_in(token)
    assert accounts.signed_in(tokens[2]).role is accounts.signed_in(tokens[-1]).role is Role.ANALYST
    with database.read() as session:
        assert len(session.scalars(select(SignIn)).all()) == MAX_SESSIONS
