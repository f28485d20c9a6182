"""The records of a service, running or not, for commands on its machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

from deepfake_models.errors import DeepfakeError
from deepfake_service.db import Database
from deepfake_service.security.journal import open_journal
from deepfake_service.security.records import open_existing_database
from deepfake_service.settings import Settings, load_settings


@contextmanager
def opened_records() -> Iterator[tuple[Settings, Database]]:
    """Open the database, and journal what the command did at the end, also if it failed.

    Without a service that runs, nobody else would, and a backup that is restored undoes it.

    Raises:
        SettingsError: there is no database, or it has no tables.
    """
    settings = load_settings()
    with closing(open_existing_database(settings)) as database:
        try:
            yield settings, database
        except BaseException:
            with suppress(DeepfakeError):  # the first error is the one to show
                open_journal(settings, database).catch_up()
            raise
        open_journal(settings, database).catch_up()
