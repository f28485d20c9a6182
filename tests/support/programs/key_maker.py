"""A process that creates ten keys of an account, in the database that it is given."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import SecretStr

from deepfake_service.accounts.accounts import Accounts
from deepfake_service.audit.records import open_database
from deepfake_service.platform.settings import Settings

KEYS = 10


def main() -> None:
    """Create the keys, given the data directory, the URL (empty: SQLite) and the account."""
    data_dir, url, name = sys.argv[1:]
    settings = Settings(data_dir=Path(data_dir), database_url=SecretStr(url) if url else None)
    accounts = Accounts(open_database(settings))
    for _ in range(KEYS):
        accounts.create_key(name)


if __name__ == "__main__":
    main()
