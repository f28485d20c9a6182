"""Runs migrations on the connection that ``db.database`` gives.

To write a version: ``python -m deepfake_service.db.migrations "what it changes"``.
"""

from typing import Any, Literal

from alembic import context
from sqlalchemy import Enum

from deepfake_service.db.tables import Base, Moment


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    # A version must not change when the class does.
    if kind == "type" and isinstance(item, Moment):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, Enum):
        return f"sa.String(length={item.length})"
    return False


if hasattr(context, "config"):  # alembic loads this file to run it; anybody else only reads it
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite alters a table by copying it
        compare_type=True,
        render_item=_render,
    )
    context.run_migrations()
