"""What is told apart when a database fails, and where its file is."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from deepfake_service.audit.records import open_database
from deepfake_service.cli.backup import back_up
from deepfake_service.cli.restore import copy_backup
from deepfake_service.examination.queue import JobQueue
from deepfake_service.platform.db import Database
from deepfake_service.platform.errors import (
    DatabaseDamaged,
    DatabaseUnavailable,
    DataDirError,
    SettingsError,
)
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.settings import RECORDS_FILE, Settings
from deepfake_service.platform.storage import BLOB_FOLDER, MASTER_KEY_FILE
from deepfake_service.worker import _serve_metrics as serve_metrics
from deepfake_service.worker import run_worker


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with contextlib.closing(open_database(Settings(data_dir=tmp_path))) as database:
        with database.write() as session:
            session.execute(text("PRAGMA max_page_count = 1"))  # SQLite takes the present size
        with pytest.raises(DatabaseUnavailable, match="full"):
            _add_table(database)
        database.check()


def _add_table(database: Database) -> None:
    with database.write() as session:
        session.execute(text("CREATE TABLE more (zeros BLOB)"))


@contextlib.contextmanager
def unreadable(folder: Path) -> Iterator[None]:
    """Keep SQLite from opening the database in ``folder``, as in one that it may not write."""
    obstacle = folder / "records.sqlite-shm"
    obstacle.symlink_to(folder / "nowhere")
    yield
    obstacle.unlink()


def test_a_database_that_cannot_be_read_now_is_not_taken_for_damaged(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    with contextlib.closing(open_database(settings)) as database:
        database.engine.dispose()  # the last connection deletes the file that is in the way
        with unreadable(settings.data_dir):
            with pytest.raises(DatabaseUnavailable, match="cannot be opened"):
                database.check_integrity()
            with pytest.raises(DataDirError, match="cannot be read"):
                back_up(settings, tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        database.check_integrity()
        database.check()


def test_a_worker_closes_a_database_that_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Database] = []

    def damaged(_: Database) -> None:
        raise DatabaseDamaged

    monkeypatch.setattr(Database, "check_integrity", damaged)
    monkeypatch.setattr(Database, "close", lambda database: closed.append(database))
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # those of the tests stay
    with pytest.raises(DatabaseDamaged):
        run_worker(Settings(data_dir=tmp_path / "var"))
    (database,) = closed
    monkeypatch.undo()
    database.close()


def test_a_backup_that_fails_says_why(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "var")
    open_database(settings).close()
    (settings.data_dir / BLOB_FOLDER).mkdir()
    os.mkfifo(settings.data_dir / BLOB_FOLDER / "pipe")
    with pytest.raises(DataDirError, match=r"could not be made: .* is a named pipe"):
        back_up(settings, tmp_path / "backup")


def test_a_backup_on_a_medium_that_cannot_be_written_is_restored(tmp_path: Path) -> None:
    settings, new = Settings(data_dir=tmp_path / "var"), Settings(data_dir=tmp_path / "new")
    open_database(settings).close()
    back_up(settings, tmp_path / "backup")
    new.data_dir.mkdir()
    (new.data_dir / MASTER_KEY_FILE).write_text((settings.data_dir / MASTER_KEY_FILE).read_text())
    with unreadable(tmp_path / "backup"):
        copy_backup(new, tmp_path / "backup")
    open_database(new, restoring=True).close()


@pytest.mark.parametrize("name", ["a#1", "a%41", "a?b", "a b", "가"])
def test_a_data_directory_may_have_any_name(tmp_path: Path, name: str) -> None:
    settings = Settings(data_dir=tmp_path / name / "var")
    with contextlib.closing(open_database(settings)) as database:
        JobQueue(database).close()
    back_up(settings, tmp_path / name / "backup")
    new = Settings(data_dir=tmp_path / name / "new", master_key=_master_key(settings))
    copy_backup(new, tmp_path / name / "backup")
    open_database(new, restoring=True).close()
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert (settings.data_dir / RECORDS_FILE).is_file()


def _master_key(settings: Settings) -> SecretStr:
    return SecretStr((settings.data_dir / MASTER_KEY_FILE).read_text())


def test_a_port_for_metrics_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"port {port}.*DEEPFAKE_OPERATIONS_PORT"):
            serve_metrics(Settings(operations_port=port), Metrics())
