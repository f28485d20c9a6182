"""Let undecided items wait for something until a time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time to jobs."""
    op.add_column("jobs", sa.Column("awaited_until", sa.DateTime(timezone=True), nullable=True))
