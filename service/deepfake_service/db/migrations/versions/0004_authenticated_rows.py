"""Authenticated rows, revoked editions"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

AUTHENTICATED = (
    "accounts", "audit", "cases", "editions", "jobs", "keys", "media", "notices", "occurrences",
    "reviews", "sign_ins", "signing_keys",
)  # fmt: skip


def upgrade() -> None:
    # The codes are filled in when the database is opened: a migration has no key.
    for name in AUTHENTICATED:
        with op.batch_alter_table(name, schema=None) as batch_op:
            batch_op.add_column(sa.Column("mac", sa.LargeBinary(), nullable=True))

    op.create_table(
        "revoked_editions",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_revoked_editions")),
    )
    op.execute(
        "INSERT INTO revoked_editions (sha256, state, at) "
        "SELECT e.sha256, 'superseded', MIN(n.created_at) FROM editions e "
        "JOIN editions n ON n.job_id = e.job_id AND n.number = e.number + 1 "
        "GROUP BY e.sha256"
    )
