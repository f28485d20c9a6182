"""The records of a service, running or not, for commands on its machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from deepfake_models.errors import DeepfakeError
from deepfake_service.casework.restoration import merge_journal
from deepfake_service.db import Database
from deepfake_service.security.journal import open_journal
from deepfake_service.security.records import open_existing_database
from deepfake_service.security.signing_keys import open_signing_keys
from deepfake_service.settings import Settings, load_settings
from deepfake_service.storage import open_keys


@contextmanager
def opened_records() -> Iterator[tuple[Settings, Database]]:
    """Open the database as a start does, and journal what the command did, also if it failed.

    Without a service that runs, nobody else would, and a backup that is restored would undo it.

    Raises:
        SettingsError: there is no database, or it has no tables.
    """
    settings = load_settings()
    with closing(open_existing_database(settings)) as database:
        journal = open_journal(settings, database)
        merge_journal(database, journal, open_signing_keys(settings, database, open_keys(settings)))
        try:
            yield settings, database
        except BaseException:
            with suppress(DeepfakeError):  # the first error is the one to show
                journal.catch_up()
            raise
        journal.catch_up()
