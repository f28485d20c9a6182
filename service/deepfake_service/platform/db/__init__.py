"""The database of the service: SQLite by default, or PostgreSQL."""

from deepfake_service.platform.db.access_tables import (
    Account,
    Invitation,
    Key,
    PendingSignIn,
    SecondFactor,
    SignIn,
)
from deepfake_service.platform.db.database import Database, current_time, new_id
from deepfake_service.platform.db.tables import (
    AuditEntry,
    Base,
    Capture,
    CapturedMedium,
    Case,
    Contact,
    Delivery,
    Edition,
    Fact,
    FlaggedHashes,
    Job,
    KnownHashes,
    Lease,
    Listing,
    Look,
    Match,
    Media,
    Notice,
    NoticeEvent,
    Occurrence,
    Protection,
    Review,
    RevokedEdition,
    Secret,
    SigningKey,
    Watch,
)
