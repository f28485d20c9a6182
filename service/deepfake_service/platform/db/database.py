"""The database: open it, migrate it, and read and write it in transactions."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from ulid import PureRandomPolicy, ULIDGenerator

from deepfake_service.platform.clock import Clock, utc_now
from deepfake_service.platform.db.columns import Base
from deepfake_service.platform.db.postgresql import ServerClock, patient_url
from deepfake_service.platform.db.row_authentication import AUTHENTICATOR, RowAuthenticator
from deepfake_service.platform.db.sqlite import (
    BUSY_TIMEOUT_S,
    clear_log,
    damage_of,
    is_damage,
    is_full,
    is_read_only,
    open_sqlite,
    unavailable,
)
from deepfake_service.platform.errors import (
    DatabaseDamaged,
    DatabaseError,
    DatabaseUnavailable,
    InvalidRequest,
)

RESERVE_BYTES = 8 * 1024**2
"""What is set aside beside an SQLite database: enough to audit and delete some thousand times."""
_MIGRATION_LOCK = 0x6465657066616B65
_CLOCK = "clock"
_ULIDS = ULIDGenerator(policy=PureRandomPolicy())
"""Random in full: ids of the same millisecond must not reveal one another."""


def new_id() -> str:
    """Return a random id that sorts by the time of its creation: a ULID in lower case."""
    return str(_ULIDS.generate()).lower()


class Database:
    """A pool of connections to ``url``, whose tables are migrated to this version. Close it.

    ``clock`` gives the times that are written to rows and compared with them. Every service reads
    it from here, so that an installation has one clock, which tests can set. By default it is the
    clock of the PostgreSQL server, or that of the machine with SQLite. ``DatabaseError`` if the URL
    is invalid, or a newer version of this program made the database; ``DatabaseUnavailable`` if the
    database cannot be reached.
    """

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self.engine = _engine(url)
        self.url = patient_url(url)
        is_file = self.engine.dialect.name == "sqlite"
        self.clock = clock or (utc_now if is_file else ServerClock())
        self._file = Path(self.engine.url.database or "") if is_file else None
        self._reserve = self._file and self._file.with_name(f"{self._file.name}-reserve")
        self.damage: str | None = None
        """What is wrong with an SQLite database; ``None`` as long as nothing was noticed."""
        try:
            with self._noticing():
                self._migrate()
        except DBAPIError as error:
            raise DatabaseError("The file exists but is not a database of this program.") from error
        self.authenticator: RowAuthenticator | None = None
        """Computes and compares the codes of rows, once ``audit.records`` has set it."""
        self._writing = self.engine.execution_options(writing=True)
        # All queries of a reading transaction see the same rows: a list and what is counted about
        # its rows are two. SQLite does so in any case. Writers lock what they read, and must then
        # see it as it is.
        self._reading = (
            self.engine
            if is_file
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )

    def close(self) -> None:
        """Close the connections. SQLite deletes its log then, so that it is overwritten first."""
        self.purge_deleted()
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that only reads, and sees the database as it is at its first query;
        ``DatabaseUnavailable`` if the connection failed."""
        with self._noticing(), self._session(self._reading) as session:
            self._adjust_clock(session)
            yield session

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Translate errors of the driver, and keep in mind that the database is damaged. On a full
        disk the reserve is freed, so that the next try can audit and delete."""
        try:
            with translating():
                yield
        except DatabaseUnavailable as error:
            if self._reserve is not None and is_full(error.__cause__):
                self._reserve.unlink(missing_ok=True)
            raise
        except DatabaseDamaged as error:
            self.damage = error.message
            raise

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block, or rolled back by an error.

        On SQLite it takes the write lock at the start. Otherwise two transactions that both read
        before they write would fail.

        Raises:
            DatabaseUnavailable: the connection failed. If that happened during the commit, it is
                unknown whether the transaction was committed.
        """
        with (
            self._noticing(),
            self._session(self._writing) as session,
            session.begin(),
        ):
            self._adjust_clock(session)
            yield session

    def _session(self, engine: Engine) -> Session:
        info = {_CLOCK: self.clock, AUTHENTICATOR: self.authenticator}
        return Session(engine, expire_on_commit=False, info=info)

    def _adjust_clock(self, session: Session) -> None:
        if isinstance(self.clock, ServerClock):
            self.clock.adjust(session)

    def one_at_a_time(self, session: Session, name: str) -> None:
        """Exclude other transactions that call this with ``name`` until this one ends.

        What this transaction reads then stays unchanged until it writes. SQLite has one writer at a
        time, so that nothing needs to be done there.
        """
        if self.engine.dialect.name == "postgresql":
            session.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name}
            )

    def purge_deleted(self) -> None:
        """Remove deleted rows from SQLite's write-ahead log: merge it, overwrite and truncate it.

        No one can write while this waits for readers, so it must not outlast a lease. The next
        sweep tries again. The reserve for a full disk is set aside again once there is room.
        """
        if self._file is not None:
            clear_log(self._file)
            self._hold_reserve()

    def _hold_reserve(self) -> None:
        assert self._reserve is not None
        room = shutil.disk_usage(self._reserve.parent).free
        if not self._reserve.exists() and room > 4 * RESERVE_BYTES:
            with suppress(OSError), self._reserve.open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)

    def count_altered(self) -> int:
        """Return how many altered rows this process has refused."""
        return len(self.authenticator.refused) if self.authenticator else 0

    def check(self) -> None:
        """Check that the database answers; ``DatabaseUnavailable`` if it does not,
        ``DatabaseDamaged`` if damage was noticed earlier."""
        if self.damage is not None:
            raise DatabaseDamaged
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def check_integrity(self) -> None:
        """Read every page of an SQLite database. PostgreSQL has its own checksums.

        Raises:
            DatabaseDamaged: a page is damaged. From then on ``check`` raises this too.
            DatabaseUnavailable: the file cannot be read now.
        """
        if self._file is None:
            return
        try:
            with closing(sqlite3.connect(self._file, timeout=BUSY_TIMEOUT_S)) as connection:
                damage = damage_of(connection)
        except sqlite3.DatabaseError as error:
            raise unavailable(error) from error
        if damage is not None:
            self.damage = damage
            raise DatabaseDamaged

    def _migrate(self) -> None:
        """Create the tables of a new database, or migrate those of an older one."""
        migrations = files("deepfake_service.platform.db") / "migrations"
        with self.engine.connect() as connection:
            if _version(connection) == _newest_version(migrations):
                return  # importing Alembic takes longer than the rest of a start
        import alembic.command
        import alembic.config

        config = alembic.config.Config()
        config.set_main_option("script_location", str(migrations))
        with self.engine.execution_options(writing=True).begin() as connection:
            if connection.dialect.name == "postgresql":
                # Processes that start at the same time migrate one after the other.
                connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MIGRATION_LOCK})
            config.attributes["connection"] = connection
            try:
                if _version(connection) is None:
                    Base.metadata.create_all(connection)
                    alembic.command.stamp(config, "head")
                else:
                    alembic.command.upgrade(config, "head")
            except alembic.util.CommandError as error:
                raise DatabaseError(
                    "The database was made by a newer version of this program. Upgrade the program."
                ) from error


def has_tables(url: str) -> bool:
    """Return whether the PostgreSQL database at ``url`` has tables. ``DatabaseError`` if the URL is
    invalid, ``DatabaseUnavailable`` if the database cannot be reached."""
    engine = _engine(url)
    try:
        with translating(), engine.connect() as connection:
            return bool(inspect(connection).get_table_names())
    finally:
        engine.dispose()


def _version(connection: Connection) -> str | None:
    """Return the version of the tables, or ``None`` where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return str(versions[0]) if len(versions) == 1 else None


def _newest_version(migrations: Traversable) -> str:
    """Return the version that the last of ``migrations`` makes: each file begins with its own."""
    names = (entry.name for entry in (migrations / "versions").iterdir())
    return max(name for name in names if name[:4].isdigit())[:4]


def current_time(session: Session) -> datetime:
    """Return the time by the clock of the database that ``session`` belongs to."""
    clock: Clock = session.info[_CLOCK]
    return clock()


@contextmanager
def translating() -> Iterator[None]:
    """Translate errors of the database driver into domain errors. The driver's messages are
    dropped, because they can contain values of the statement."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable from error
    except OperationalError as error:
        raise unavailable(error.orig, connecting=error.statement is None) from error
    except DataError as error:
        raise InvalidRequest("A value contains characters that cannot be stored.") from error
    except DBAPIError as error:
        if is_damage(error):
            raise DatabaseDamaged from error
        if error.connection_invalidated or is_read_only(error):
            raise unavailable(error.orig) from error
        raise


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return open_sqlite(parsed.database or "")
        return create_engine(
            make_url(patient_url(url)).set(drivername="postgresql+psycopg"),
            pool_pre_ping=True,
            pool_size=10,
            hide_parameters=True,
        )
    except (ArgumentError, SQLAlchemyError, ValueError) as error:
        raise DatabaseError("The database URL is invalid.") from error
