"""Let captures have webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the capture that a webhook is about. One of a capture has no job."""
    with op.batch_alter_table("deliveries") as table:
        table.alter_column("job_id", existing_type=sa.String(26), nullable=True)
        table.add_column(sa.Column("capture_id", sa.String(26), nullable=True))
        table.create_foreign_key(
            "fk_deliveries_capture_id", "captures", ["capture_id"], ["id"], ondelete="CASCADE"
        )
        table.create_index("ix_deliveries_capture_id", ["capture_id"])
