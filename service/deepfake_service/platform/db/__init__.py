"""The database of the service: SQLite by default, or PostgreSQL."""

from deepfake_service.platform.db.access_tables import Invitation, PendingSignIn, SecondFactor
from deepfake_service.platform.db.contact_tables import Contact
from deepfake_service.platform.db.database import Database, current_time, new_id
from deepfake_service.platform.db.hash_tables import FlaggedHashes, KnownHashes, Match
from deepfake_service.platform.db.notice_tables import Notice, NoticeEvent
from deepfake_service.platform.db.tables import (
    Account,
    AuditEntry,
    Base,
    Case,
    Delivery,
    Edition,
    Fact,
    Idempotency,
    Job,
    Key,
    Lease,
    Listing,
    Media,
    Occurrence,
    Protection,
    Review,
    RevokedEdition,
    Secret,
    SignIn,
    SigningKey,
)

__all__ = [
    "Account",
    "AuditEntry",
    "Base",
    "Case",
    "Contact",
    "Database",
    "Delivery",
    "Edition",
    "Fact",
    "FlaggedHashes",
    "Idempotency",
    "Invitation",
    "Job",
    "Key",
    "KnownHashes",
    "Lease",
    "Listing",
    "Match",
    "Media",
    "Notice",
    "NoticeEvent",
    "Occurrence",
    "PendingSignIn",
    "Protection",
    "Review",
    "RevokedEdition",
    "SecondFactor",
    "Secret",
    "SignIn",
    "SigningKey",
    "current_time",
    "new_id",
]
