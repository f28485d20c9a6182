"""A PostgreSQL server for tests, and transactions that wait for one another."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
from dbos import DBOS
from sqlalchemy import Engine, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from deepfake_service.accounts.accounts import Caller
from deepfake_service.platform.db import Database
from deepfake_service.platform.enums import Role
from tests.support.servers import WAIT_S, wait_until

FASTER = "-c fsync=off -c full_page_writes=off -c autovacuum=off"
"""Settings that matter if the machine crashes, or if a database lives long."""
MEMORY = Path("/dev/shm")
MEMORY_BYTES = 2 * 1024**3
"""Free memory that the data of a server wants: a database has 10 MiB in 500 files."""


@dataclass(frozen=True)
class Server:
    """A running server. With ``address`` it also listens there, on the machine that ``prefix``
    names."""

    folder: Path
    address: str = ""
    prefix: tuple[str, ...] = ()

    def _url(self, name: str) -> str:
        return f"postgresql://tester@/{name}?host={self.folder}"

    def new_database(self) -> str:
        """Create a database with the tables of the service and of the queue, and return its URL.

        It is a copy of one that was migrated once, which is faster than migrating each.
        """
        return self.copy_of(self._template)

    def copy_of(self, url: str) -> str:
        """Create a copy of the database at ``url``, which nobody uses, and return its URL."""
        return self._create(_name(url))

    def drop(self, url: str) -> None:
        """Drop the database at ``url``, and end the connections that it has."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {_name(url)} WITH (FORCE)".encode())

    def over_network(self, url: str) -> str:
        """Return the URL by which other machines reach the database at ``url``."""
        return f"postgresql://tester@{self.address}/{_name(url)}"

    def empty_database(self) -> str:
        """Create a database without tables and return its URL."""
        return self._create("template1")

    def _create(self, template: str) -> str:
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            # Copying the files takes half the time of logging every page, the default since 15.
            strategy = "STRATEGY FILE_COPY" if connection.info.server_version >= 150000 else ""
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}".encode())
        return self._url(name)

    @cached_property
    def _template(self) -> str:
        url = self.empty_database()
        Database(url).close()  # PostgreSQL copies no database that has connections
        DBOS.migrate(url)
        return url

    def command(self, *words: str) -> None:
        """Run ``pg_ctl WORDS`` on this server and wait until it is done."""
        _run("pg_ctl", "-D", str(self.folder / "data"), "-w", *words, prefix=self.prefix)

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        self.command("stop", "-m", "immediate")

    def start(self) -> None:
        """Start it on its data."""
        options = f"-k {self.folder} -c listen_addresses='{self.address}' {FASTER}"
        self.command("start", "-l", str(self.folder / "log"), "-o", options)


def _name(url: str) -> str:
    """Return the name of the database at ``url``."""
    return url.partition("@/")[2].partition("?")[0]


def binaries() -> Path | None:
    """Return the folder with PostgreSQL's programs, or ``None`` where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).parent if path else None


@contextmanager
def running(address: str = "", prefix: tuple[str, ...] = ()) -> Iterator[Server]:
    """Start a server and remove it, with its data, at the end of the block; see ``Server``.

    The data are in memory where there is room: on a disk that others use, copying a database takes
    several times as much of the processor.
    """
    is_roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=MEMORY if is_roomy else None))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = Server(folder, address, prefix)
    try:
        _run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "tester", "-E", "UTF8",
             "--locale=C", "-N")  # fmt: skip
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *words: str, prefix: tuple[str, ...] = ()) -> None:
    where = binaries()
    assert where is not None
    # PostgreSQL refuses to run as root.
    as_postgres = (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        if os.geteuid() == 0
        else []
    )
    done = subprocess.run(
        [*prefix, *as_postgres, str(where / program), *words], cwd="/", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()


@contextmanager
def share_statements() -> Iterator[None]:
    """Let all databases that are opened in the block share their compiled statements.

    SQLAlchemy keeps them for each engine. A process has one engine, and compiles a statement once;
    tests open hundreds of databases, and would compile each statement for every one of them, which
    takes longer than all that the database does.
    """
    statements: dict[Any, Any] = {}

    def share(engine: Engine) -> None:
        engine.update_execution_options(compiled_cache=statements)

    with pytest.MonkeyPatch.context() as patch:
        for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
            patch.setattr(dialect, "engine_created", share)
            # The dialect is a part of the key of a statement.
            patch.setattr(dialect, "__eq__", lambda one, other: type(one) is type(other))
            patch.setattr(dialect, "__hash__", lambda one: hash(type(one)))
        yield


# ``conftest.Service`` of the unit tests, which imports these modules itself.
Service = Any


class Meanwhile:
    """Begins a task once another transaction has locked its rows, and waits until it waits."""

    def __init__(self, service: Service, task: Callable[[], object]) -> None:
        self._database = service.database
        self._task = task
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[object] | None = None

    def begin(self) -> None:
        running = self._running = self._pool.submit(self._task)
        wait_until(lambda: self._waits() or running.done())

    def _waits(self) -> bool:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with self._database.read() as session:
            return bool(session.scalar(waiting))

    def before_entry_of(self, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        """Begin the task when ``module`` is about to append its next entry."""
        real = module.append_entry

        def append(session: Any, *arguments: Any, **options: Any) -> Any:
            monkeypatch.setattr(module, "append_entry", real)
            session.flush()
            self.begin()
            return real(session, *arguments, **options)

        monkeypatch.setattr(module, "append_entry", append)

    def end(self) -> None:
        """Wait for the task, and raise its error, if there is one."""
        assert self._running is not None
        with self._pool:
            self._running.result(WAIT_S)


def caller_of(service: Service, role: Role = Role.ANALYST) -> Caller:
    return service.accounts.authenticate(service.keys[role])


def adds_an_occurrence(service: Service, job: dict[str, Any]) -> Callable[[], object]:
    caller, cases = caller_of(service), service.app.state.shared.services.cases
    seen = {"source_url": "https://example.org/2"}
    return lambda: cases.add_occurrence(caller, job["case_id"], None, seen, None)
