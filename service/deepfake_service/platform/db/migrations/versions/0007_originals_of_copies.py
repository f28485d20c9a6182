"""Let copies name their originals, and be found among earlier media."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the original of each match, and when hashes were compared with earlier media."""
    op.add_column("matches", sa.Column("known_job_id", sa.String(26), nullable=True))
    compared_at = sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("known_hashes", compared_at)
