"""The tables of the first release. New databases get the newest tables without any migration."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing: ``db.database`` creates the tables."""
