"""The database: opened, brought up to date, read and written in transactions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from deepfake_service.clock import Clock, utc_now
from deepfake_service.errors import DatabaseError, DatabaseUnavailable, InvalidRequest
from deepfake_service.files import private_folder
from deepfake_service.settings import Settings

BUSY_TIMEOUT_S = 15
"""SQLite has one writer at a time; ours hold the lock for milliseconds."""
CHECKPOINT_WAITS_MS = 2000
_MIGRATION_LOCK = 0x6465657066616B65
_CLOCK = "clock"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id() -> str:
    """A random id whose order is that of time: 48 bits of milliseconds, 80 random ones, in
    Crockford's base 32 (as ULIDs are)."""
    value = int(time.time() * 1000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


class Database:
    """A connection pool to ``url``, whose tables are migrated to this version. Close it.

    ``clock`` gives the times that rows are stamped with and compared to: every service reads it
    from here, so that one installation has one clock, which tests can set.

    Raises:
        DatabaseError: the URL is wrong, or the database is newer than this program.
        DatabaseUnavailable: it cannot be reached.
    """

    def __init__(self, url: str, *, migrate: bool = True, clock: Clock = utc_now) -> None:
        self.url = url
        self.clock = clock
        self.engine = _engine(url)
        try:
            with translating():
                if migrate:
                    self._migrate()
        except DBAPIError as error:
            raise DatabaseError("what is there is no database of this program") from error
        self._writing = self.engine.execution_options(writing=True)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads.

        Raises:
            DatabaseUnavailable: the connection failed.
        """
        with translating(), self._session(self.engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that is committed at the end of the block, or rolled back by an error.

        On SQLite it takes the write lock at its start: two that read before they write would
        otherwise refuse each other.

        Raises:
            DatabaseUnavailable: the connection failed; whether all or nothing was written is not
                known, if it failed while committing.
        """
        with (
            translating(),
            self._session(self._writing) as session,
            session.begin(),
        ):
            yield session

    def _session(self, engine: Engine) -> Session:
        return Session(engine, expire_on_commit=False, info={_CLOCK: self.clock})

    def one_at_a_time(self, session: Session, name: str) -> None:
        """Let nobody else into a block for ``name`` until this transaction ends.

        What is read before it is written is then not changed in between. SQLite has one writer
        anyway.
        """
        if self.engine.dialect.name == "postgresql":
            session.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
            )

    def purge_deleted(self) -> None:
        """Bring deletions to the file: SQLite's write-ahead log still holds what was deleted."""
        if self.engine.dialect.name == "sqlite":
            with translating(), self.engine.connect() as connection:
                # While it waits for readers, nobody writes: not for longer than a lease lasts. What
                # is left the next sweep does.
                usual = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {CHECKPOINT_WAITS_MS}")
                try:
                    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                finally:
                    connection.exec_driver_sql(f"PRAGMA busy_timeout = {usual}")

    def check(self) -> None:
        """Raise ``DatabaseUnavailable`` unless the database answers."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def _migrate(self) -> None:
        config = alembic.config.Config()
        config.set_main_option("script_location", str(files("deepfake_service.db") / "migrations"))
        with self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                # Services that start together migrate one after the other.
                connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            try:
                alembic.command.upgrade(config, "head")
            except alembic.util.CommandError as error:
                raise DatabaseError(
                    "the database was made by a newer version of this program"
                ) from error


def current_time(session: Session) -> datetime:
    """Return the time by the clock of the database that ``session`` belongs to."""
    clock: Clock = session.info[_CLOCK]
    return clock()


@contextmanager
def translating() -> Iterator[None]:
    """Raise a lost connection, and whatever else the database refuses, as errors of ours.

    No text of the driver's is kept: it can hold the values of the statement.
    """
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        raise DatabaseUnavailable from error
    except DataError as error:
        raise InvalidRequest("A value holds characters that cannot be stored.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailable from error
        raise


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        if backend == "sqlite":
            return _sqlite(parsed.database)
        if backend == "postgresql":
            return create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                pool_pre_ping=True,
                pool_size=10,
                connect_args={"connect_timeout": 5},
                hide_parameters=True,
            )
    except (ArgumentError, SQLAlchemyError, ValueError) as error:
        raise DatabaseError("the database URL cannot be read") from error
    raise DatabaseError(f"a database of {backend} is not supported; sqlite and postgresql are")


def _sqlite(path: str | None) -> Engine:
    if not path:
        raise DatabaseError("the database URL names no file: sqlite:////folder/records.sqlite")
    Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    Path(path).touch(mode=0o600)  # and so the files that SQLite puts beside it
    engine = create_engine(
        f"sqlite+pysqlite:///{path}",
        connect_args={"timeout": BUSY_TIMEOUT_S},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin_sqlite
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # a job that was accepted survives a power cut
        "foreign_keys = ON",
        "secure_delete = ON",  # a shredded key is overwritten, not only unlinked
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def open_database(settings: Settings, clock: Clock = utc_now) -> Database:
    """Open the database that ``settings`` name, and bring its tables up to date.

    Raises:
        DataDirError: the data directory cannot be made; DatabaseError, DatabaseUnavailable.
    """
    private_folder(settings.data_dir)
    return Database(settings.records_url, clock=clock)
