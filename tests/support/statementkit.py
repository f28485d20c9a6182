"""Statements that databases of one process compile once for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite


@contextmanager
def shared() -> Iterator[None]:
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
