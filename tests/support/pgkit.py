"""A PostgreSQL server of the tests' own, on a socket in a temporary folder."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg


@dataclass(frozen=True)
class Server:
    """A running server."""

    folder: Path

    def _url(self, name: str) -> str:
        return f"postgresql://tester@/{name}?host={self.folder}"

    def new_database(self) -> str:
        """Make an empty database; its URL."""
        name = f"t{secrets.token_hex(6)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def command(self, *words: str) -> None:
        """Run ``pg_ctl`` on it."""
        _run("pg_ctl", "-D", str(self.folder / "data"), "-w", *words)

    def stop(self) -> None:
        self.command("stop", "-m", "immediate")

    def start(self) -> None:
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self.command("start", "-l", str(self.folder / "log"), "-o", options)


def binaries() -> Path | None:
    """The folder with PostgreSQL's programs, if it is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    path = shutil.which("initdb")
    return Path(path).parent if path else None


@contextmanager
def running() -> Iterator[Server]:
    """A fresh server for as long as the context lasts."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    server = Server(folder)
    try:
        _run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "tester", "-E", "UTF8",
             "--locale=C", "-N")  # fmt: skip
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *words: str) -> None:
    where = binaries()
    assert where is not None
    # PostgreSQL refuses to run as root.
    prefix = (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        if os.geteuid() == 0
        else []
    )
    done = subprocess.run(
        [*prefix, str(where / program), *words], cwd="/", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode()
