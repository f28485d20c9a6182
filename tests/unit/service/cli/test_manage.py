"""The operator's commands."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, make_url
from typer.testing import CliRunner, Result

from deepfake_service.accounts.accounts import Accounts
from deepfake_service.accounts.invitations import Invitations
from deepfake_service.audit.records import open_database
from deepfake_service.cases.cases import BlindIndex
from deepfake_service.cli import processes
from deepfake_service.cli.app import app, main
from deepfake_service.platform.db import AuditEntry, Case, Secret
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import (
    DataDirError,
    DecryptionFailed,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    RecordAltered,
    SettingsError,
)
from deepfake_service.platform.settings import Settings, load_settings
from deepfake_service.platform.storage import Vault, open_blobs, open_case_keys, open_keys
from deepfake_service.platform.storage.envelope import new_key
from tests.support import databases


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An installation that was started once."""
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(tmp_path / "var"))
    settings = load_settings()
    open_database(settings).close()
    return settings


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(w) for w in words])


def output(*words: object) -> str:
    done = run(*words)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def test_an_account_and_its_keys_from_the_first_to_the_last(settings: Settings) -> None:
    first = output("accounts", "create", "uploader", "--role", "pipeline", "--kind", "system")
    second = output("keys", "create", "--account", "uploader", "--expires-in", "90d")
    book = Accounts(open_database(settings))
    assert book.authenticate(first).account_id == book.authenticate(second).account_id
    listed = output("keys", "list", "--account", "uploader")
    assert first.split("_")[1] in listed
    assert first[17:] not in listed
    assert isinstance(run("keys", "list", "--account", "nosuch").exception, NotFound)
    third = output("keys", "create", "--account", "uploader")
    for text in (first, second):
        assert output("keys", "revoke", text.split("_")[1]) == "revoked"
    for text in (first, second):
        with pytest.raises(NotAuthenticated):
            book.authenticate(text)
    assert book.authenticate(third)
    (line,) = [x for x in output("accounts", "list", "--json").splitlines() if "uploader" in x]
    assert {"name": "uploader", "kind": "system"}.items() <= json.loads(line).items()
    assert re.search(r"uploader\W+system\W+pipeline", output("accounts", "list"))
    output("accounts", "disable", "uploader")
    with pytest.raises(NotAuthenticated):
        book.authenticate(third)
    assert "disabled" in output("keys", "list")


def test_a_key_has_an_end_and_a_day_of_last_use(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = output("accounts", "create", "uploader", "--role", "pipeline")
    key_id = text.split("_")[1]
    row = r"{}.*uploader.*{}.*{}.*active"
    assert re.search(row.format(key_id, "not noted", "never"), output("keys", "list"))
    ending = output("keys", "create", "--account", "uploader", "--expires-in", "400000d")
    with contextlib.closing(open_database(settings)) as database:
        Accounts(database).authenticate(text)
        today = database.clock()
    listed = output("keys", "list")
    assert re.search(row.format(key_id, today.date().isoformat(), "never"), listed)
    end = f"{today + timedelta(days=400_000):%Y-%m-%d} .*"
    assert re.search(row.format(ending.split("_")[1], "not noted", end), listed)
    past = run("keys", "create", "--account", "uploader", "--expires-in", "0d")
    assert isinstance(past.exception, InvalidRequest)
    link = output("accounts", "invite", "uploader", "--expires-in", "1d")
    with contextlib.closing(open_database(settings)) as database:
        new = Invitations(database).redeem(link.rpartition("/")[2])
        assert new.expires_at is not None
        assert timedelta(0) < new.expires_at - today < timedelta(days=1, minutes=5)


def test_root_writes_nothing_into_the_data_directory_of_another_user(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() == 0:
        output("keys", "list")  # its own
        os.chown(settings.data_dir, 12345, -1)
    before = {file: file.stat() for file in settings.data_dir.rglob("*")}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for command in ("keys list", "backup copy", "restore", "serve", "worker", "migrate"):
        failure = run(*command.split()).exception
        assert isinstance(failure, SettingsError)
        assert f"sudo -u '#{settings.data_dir.stat().st_uid}'" in failure.message
    assert {file: file.stat() for file in settings.data_dir.rglob("*")} == before


@pytest.mark.usefixtures("log_lines")  # which puts the logs back that the command configures
@pytest.mark.parametrize(
    ("command", "runs"), [("serve", "cli.serve.run"), ("worker", "worker.run_worker")]
)
def test_a_process_that_stays_names_misspelt_settings(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, command: str, runs: str
) -> None:
    monkeypatch.setenv("DEEPFAKE_MEDIA_DAYS", "1")
    monkeypatch.setattr(processes, "protect_process", lambda: None)
    monkeypatch.setattr(f"deepfake_service.{runs}", lambda *_, **__: None)
    assert re.search(
        "unknown_setting.*DEEPFAKE_MEDIA_DAYS|DEEPFAKE_MEDIA_DAYS.*unknown_setting",
        run(command).output,
    )


def test_no_command_makes_a_master_key_for_records_that_have_one(settings: Settings) -> None:
    file = settings.data_dir / "master-key"
    kept = file.rename(settings.data_dir / "kept")
    for command in (("keys", "list"), ("backup", str(settings.data_dir / "copy"))):
        failure = run(*command).exception
        assert isinstance(failure, DataDirError)
        assert str(file) in failure.message
        assert not file.exists()
    kept.rename(file)
    output("keys", "list")


def test_wrong_usage_is_named(settings: Settings) -> None:
    output("accounts", "create", "uploader", "--role", "pipeline")
    for lifetime in ("soon", "9999999d"):
        done = run("keys", "create", "--account", "uploader", "--expires-in", lifetime)
        assert "for example 90d" in done.output
    assert isinstance(run("keys", "revoke", "0123456789ab").exception, NotFound)
    assert run("accounts", "create", "x", "--role", "emperor").exit_code == 2


def test_the_log_is_checked_against_a_checkpoint(settings: Settings, tmp_path: Path) -> None:
    output("accounts", "create", "uploader", "--role", "pipeline")
    point = tmp_path / "checkpoint.json"
    assert "2 entries" in output("audit", "checkpoint", "--out", point)
    assert stat.S_IMODE(point.stat().st_mode) == 0o600
    output("keys", "create", "--account", "uploader")
    assert "intact: 3 entries" in output("audit", "verify", "--since", point)
    assert "Pass --since" in run("audit", "verify").output
    with open_database(settings).write() as session:
        session.execute(delete(AuditEntry).where(AuditEntry.number > 1))
    assert "intact: 1 entries" in output("audit", "verify")
    assert isinstance(run("audit", "verify", "--since", point).exception, RecordAltered)
    with open_database(settings).write() as session:
        session.execute(delete(Secret).where(Secret.name == "audit-checkpoints"))
    assert isinstance(run("audit", "verify", "--since", point).exception, InvalidRequest)


def test_keys_are_wrapped_by_the_new_master_key_and_the_old_one_is_forgotten(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (base64.b64encode(new_key()).decode() for _ in range(2))
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(settings.data_dir / "another"))
    monkeypatch.setenv("DEEPFAKE_MASTER_KEY", old)
    open_database(load_settings()).close()
    output("accounts", "create", "uploader", "--role", "pipeline")
    with contextlib.closing(open_database(load_settings())) as database:
        wrapper = open_keys(load_settings())
        digest = BlindIndex(database, wrapper).of("reference", "R-1")
        account = Accounts(database).named("uploader").id
        with database.write() as session:
            case = Case(id="c", account_id=account, created_at=datetime.now(UTC))
            before = open_case_keys(load_settings(), wrapper, database.clock)
            vault = Vault(open_blobs(None, settings.data_dir), before)
            key, case.wrapped_key = vault.new_case_key("c")
            session.add(case)
        monkeypatch.setenv("DEEPFAKE_MASTER_KEY", f"{new},{old}")
        assert output("keys", "rewrap") == "4 keys rewrapped"
        assert output("keys", "rewrap") == "0 keys rewrapped"
        monkeypatch.setenv("DEEPFAKE_MASTER_KEY", new)
        alone = open_keys(load_settings())
        assert BlindIndex(database, alone).of("reference", "R-1") == digest
        with database.read() as session:
            wrapped = session.get_one(Case, "c").wrapped_key
        case_keys = open_case_keys(load_settings(), alone, database.clock)
        assert (
            Vault(open_blobs(None, settings.data_dir), case_keys).case_key(
                Case(id="c", wrapped_key=wrapped)
            )
            == key
        )
        with pytest.raises(DecryptionFailed):
            wrapper.unwrap(wrapped or b"", b"case-key/c")


def test_keys_that_do_not_unwrap_do_not_leave_the_others_under_the_old_master_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (base64.b64encode(new_key()).decode() for _ in range(2))
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(settings.data_dir / "another"))
    monkeypatch.setenv("DEEPFAKE_MASTER_KEY", old)
    with contextlib.closing(open_database(load_settings())) as database:
        account = Accounts(database).create("a", "person", Role.PIPELINE)
        wrapper = open_keys(load_settings())
        digest = BlindIndex(database, wrapper).of("reference", "R-1")
        before = open_case_keys(load_settings(), wrapper, database.clock)
        with database.write() as session:
            for case_id in ("a-damaged", "b"):
                wrapped = before.wrap(new_key(), f"case-key/{case_id}".encode())
                if case_id == "a-damaged":
                    wrapped = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
                session.add(
                    Case(id=case_id, account_id=account.id, wrapped_key=wrapped,
                         created_at=database.clock())
                )  # fmt: skip
            session.add(Secret(name="a-damaged", wrapped=wrapper.wrap(new_key(), b"another")))
        monkeypatch.setenv("DEEPFAKE_MASTER_KEY", f"{new},{old}")
        done = run("keys", "rewrap")
        assert isinstance(done.exception, DecryptionFailed)
        assert "1 keys do not unwrap" in done.exception.message
        assert "secret a-damaged." in done.exception.message
        assert "3 keys rewrapped" in done.stdout
        monkeypatch.setenv("DEEPFAKE_MASTER_KEY", new)
        alone = open_keys(load_settings())
        assert BlindIndex(database, alone).of("reference", "R-1") == digest
        case_keys = open_case_keys(load_settings(), alone, database.clock)
        vault = Vault(open_blobs(None, settings.data_dir), case_keys)
        with database.read() as session:
            assert vault.case_key(session.get_one(Case, "b"))


def test_what_a_command_did_before_it_failed_is_journaled(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output("keys", "signing", "publish", "--out", tmp_path / "keys")
    (key,) = (tmp_path / "keys").glob("statement-*.pem")
    for name in ("CERTIFICATE", "KEY"):
        monkeypatch.setenv(f"DEEPFAKE_REPORT_{name}", str(tmp_path / "missing.pem"))
    done = run("keys", "signing", "revoke", key.stem.removeprefix("statement-"))
    assert isinstance(done.exception, SettingsError)
    journal = (settings.data_dir / "journal.json").read_text()
    assert '"revoked_key"' in journal


def test_a_renewal_says_that_a_key_is_kept_for_a_case_that_does_not_unwrap(
    settings: Settings,
) -> None:
    with contextlib.closing(open_database(settings)) as database:
        account = Accounts(database).create("a", "person", Role.PIPELINE)
        keys = open_case_keys(settings, open_keys(settings), database.clock)
        with database.write() as session:
            for case_id in ("damaged", "kept"):
                wrapped = keys.wrap(new_key(), f"case-key/{case_id}".encode())
                if case_id == "damaged":
                    wrapped = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
                session.add(
                    Case(id=case_id, account_id=account.id, wrapped_key=wrapped,
                         created_at=database.clock())
                )  # fmt: skip
        done = run("keys", "renew-epoch")
        assert isinstance(done.exception, DecryptionFailed)
        assert "1 earlier keys are kept" in done.exception.message
        with database.write() as session:
            session.execute(delete(Case).where(Case.id == "damaged"))
        assert "a new epoch has begun" in output("keys", "renew-epoch")


COMMANDS: tuple[tuple[str, ...], ...] = (
    ("accounts", "create", "uploader", "--role", "pipeline"),
    ("accounts", "list"),
    ("keys", "create", "--account", "administrator"),
    ("keys", "rewrap"),
    ("keys", "renew-epoch"),
    ("keys", "signing", "list"),
    ("audit", "verify"),
    ("audit", "checkpoint", "--out", "checkpoint.json"),
    ("audit", "accept", "cases", "id"),
    ("clock", "confirm"),
    ("evidence", "withdraw", "0" * 64),
    ("backup", "backup"),
    ("restore", "--without-journal"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_on_a_wrong_data_directory_is_refused_and_creates_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(tmp_path / "nowhere"))
    done = run(*command)
    assert isinstance(done.exception, SettingsError)
    assert "has no records.sqlite. Set DEEPFAKE_DATA_DIR" in done.exception.message
    assert not list(tmp_path.iterdir())


@pytest.mark.postgres
def test_a_command_on_a_wrong_database_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: databases.Server
) -> None:
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DEEPFAKE_DATABASE_URL", postgres.empty_database())
    done = run("audit", "verify")
    assert isinstance(done.exception, SettingsError)
    assert "DEEPFAKE_DATABASE_URL has no records" in done.exception.message
    open_database(load_settings()).close()
    assert "intact: 0 entries" in output("audit", "verify")


@pytest.mark.postgres
def test_a_command_says_why_the_database_refuses_the_connection(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    postgres: databases.Server,
) -> None:
    url = make_url(postgres.empty_database()).set(username="stranger", password="not-to-be-told")
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("DEEPFAKE_DATABASE_URL", url.render_as_string(hide_password=False))
    monkeypatch.setattr("sys.argv", ["deepfake", "keys", "list"])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert said.startswith("error: The database is not responding.")
    assert 'role "stranger" does not exist' in said
    assert "not-to-be-told" not in said
