"""Let webhooks and looks be claimed as captures are."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add who has each in hand, and how often a look was begun."""
    for table in ("deliveries", "watches"):
        op.add_column(table, sa.Column("worker", sa.String(64), nullable=True))
    attempts = sa.Column("attempts", sa.Integer, nullable=False, server_default="0")
    op.add_column("watches", attempts)
