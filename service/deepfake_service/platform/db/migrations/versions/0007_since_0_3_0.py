"""Bring the tables of 0.3.0 to those of the version after it: no release had those in between."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0001"


def upgrade() -> None:
    """Let captures have webhooks, items be on hold, webhooks and looks be claimed as captures are,
    a part of a video be examined, and copies name their originals and be found among earlier media.
    Cookies say all of a sign-in whose code is missing."""
    with op.batch_alter_table("deliveries") as table:
        table.alter_column("job_id", existing_type=sa.String(26), nullable=True)
        table.add_column(sa.Column("capture_id", sa.String(26), nullable=True))
        table.create_foreign_key(
            "fk_deliveries_capture_id", "captures", ["capture_id"], ["id"], ondelete="CASCADE"
        )
        table.create_index("ix_deliveries_capture_id", ["capture_id"])
    for table_name in ("deliveries", "watches"):
        op.add_column(table_name, sa.Column("worker", sa.String(64), nullable=True))
    attempts = sa.Column("attempts", sa.Integer, nullable=False, server_default="0")
    op.add_column("watches", attempts)
    op.add_column("jobs", sa.Column("awaited_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("jobs", sa.Column("around_s", sa.Float, nullable=True))
    op.add_column("matches", sa.Column("known_job_id", sa.String(26), nullable=True))
    compared_at = sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True)
    op.add_column("known_hashes", compared_at)
    op.drop_table("pending_sign_ins")
