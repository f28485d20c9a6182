"""Write a new migration from the difference between the tables and the newest one."""

from __future__ import annotations

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

import alembic.command
import alembic.config

from deepfake_service.platform.db import Database


def main() -> None:
    """Run ``python -m tests.support.migration "what it changes"``."""
    config = alembic.config.Config()
    folder_of_migrations = Path(str(files("deepfake_service.platform.db"))) / "migrations"
    config.set_main_option("script_location", str(folder_of_migrations))
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/records.sqlite")
        with database.engine.connect() as connection:
            config.attributes["connection"] = connection
            newest = max((folder_of_migrations / "versions").glob("[0-9]*.py"))
            number = int(newest.name[:4]) + 1
            alembic.command.revision(
                config, message=sys.argv[1], autogenerate=True, rev_id=f"{number:04d}"
            )


if __name__ == "__main__":
    main()
