"""The database of the service: SQLite by default, or PostgreSQL."""

from deepfake_service.platform.db.columns import Base
from deepfake_service.platform.db.database import Database, current_time, new_id
from deepfake_service.platform.db.installation_tables import (
    Account,
    AuditEntry,
    Fact,
    Invitation,
    Key,
    Lease,
    Protection,
    RevokedEdition,
    SecondFactor,
    Secret,
    SignIn,
    SigningKey,
)
from deepfake_service.platform.db.notice_tables import (
    Contact,
    Look,
    Notice,
    NoticeEvent,
    Watch,
)
from deepfake_service.platform.db.tables import (
    Capture,
    CapturedMedium,
    Case,
    Delivery,
    Edition,
    FlaggedHashes,
    Job,
    KnownHashes,
    Listing,
    Match,
    Media,
    Occurrence,
    Review,
    Upload,
    UploadPart,
)
