"""``deepfake migrate``: bring the database to this version before services and workers start."""

from __future__ import annotations

import contextlib

from sqlalchemy import text

from deepfake_service.jobs import JobQueue
from deepfake_service.security.admin_key import ensure_admin_key
from deepfake_service.security.process import protect_process
from deepfake_service.security.records import open_database
from deepfake_service.settings import Settings


def migrate_tables(settings: Settings) -> str:
    """Create or migrate the tables of the service and of its queue, and return their version.

    The key of ``DEEPFAKE_ADMIN_KEY`` is stored as well. Processes that start at once afterwards
    then find nothing left to write.

    Raises:
        DatabaseError, DatabaseUnavailable, DecryptionFailed: see ``open_database``.
    """
    protect_process()
    with contextlib.closing(open_database(settings)) as database:
        JobQueue(database).close()
        if settings.admin_key is not None:
            ensure_admin_key(database, settings, terminal=False)
        with database.read() as session:
            return str(session.scalar(text("SELECT version_num FROM alembic_version")))
