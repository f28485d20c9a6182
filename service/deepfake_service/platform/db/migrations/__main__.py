"""Write a new migration from the difference between the tables and the newest one."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import alembic.command
import alembic.config

from deepfake_service.platform.db import Database


def main() -> None:
    """Run ``python -m deepfake_service.platform.db.migrations "what it changes"``."""
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/records.sqlite")
        with database.engine.connect() as connection:
            config.attributes["connection"] = connection
            number = len(list((Path(__file__).parent / "versions").glob("[0-9]*.py"))) + 1
            alembic.command.revision(
                config, message=sys.argv[1], autogenerate=True, rev_id=f"{number:04d}"
            )


if __name__ == "__main__":
    main()
