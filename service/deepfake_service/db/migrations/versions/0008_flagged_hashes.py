"""Hashes of flagged cases, and the case whose flag another follows"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.add_column(sa.Column("minor_from", sa.String(length=26), nullable=True))
    op.create_table(
        "flagged_hashes",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("case_id", sa.String(length=26), nullable=False),
        sa.Column("job_id", sa.String(length=26), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("flagged_by", sa.String(length=26), nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flagged_hashes")),
        sa.UniqueConstraint("job_id", name=op.f("uq_flagged_hashes_job_id")),
    )
    with op.batch_alter_table("flagged_hashes", schema=None) as batch_op:
        for column in ("case_id", "digest", "expires_at"):
            batch_op.create_index(batch_op.f(f"ix_flagged_hashes_{column}"), [column])
