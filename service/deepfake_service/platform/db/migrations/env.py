"""Run migrations on the connection that ``db.database`` passes.

To write a migration: ``python -m tests.support.migration "what it changes"``.
"""

from typing import Literal

from alembic import context

from deepfake_service.platform.db import Base
from deepfake_service.platform.db.columns import Moment, States


def _render(kind: str, item: object, _context: object) -> str | Literal[False]:
    # A migration must not change when a class does.
    if kind == "type" and isinstance(item, Moment):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, States):
        return f"sa.{item.impl_instance!r}"
    return False


if hasattr(context, "config"):  # only alembic runs this file; other tools just import it
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite alters a table by copying it
        compare_type=True,
        render_item=_render,
    )
    context.run_migrations()
