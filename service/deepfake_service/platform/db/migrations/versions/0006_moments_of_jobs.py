"""Let a part of a video be examined."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the moment around which a video is examined to jobs."""
    op.add_column("jobs", sa.Column("around_s", sa.Float, nullable=True))
