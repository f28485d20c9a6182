"""Whether keys of an account need a code

The column stays empty for accounts that have a second factor already, because a migration cannot
authenticate rows; it is set at their next sign-in.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("accounts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("second_factor", sa.Boolean(), server_default="0", nullable=False)
        )
