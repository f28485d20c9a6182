"""Drop the sign-ins whose code is missing: their cookies say all of it."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the table."""
    op.drop_table("pending_sign_ins")
