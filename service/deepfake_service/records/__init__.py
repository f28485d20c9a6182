"""What outlives a restart, as tables: SQLite by default, PostgreSQL by URL."""

from deepfake_service.records.database import Database, new_id, open_database
from deepfake_service.records.tables import (
    Account,
    AuditEntry,
    Base,
    Case,
    Delivery,
    Idempotency,
    Job,
    Key,
    Lease,
    Media,
    Occurrence,
    Secret,
)

__all__ = [
    "Account",
    "AuditEntry",
    "Base",
    "Case",
    "Database",
    "Delivery",
    "Idempotency",
    "Job",
    "Key",
    "Lease",
    "Media",
    "Occurrence",
    "Secret",
    "new_id",
    "open_database",
]
