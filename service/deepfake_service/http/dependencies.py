"""What routes share: made by the app, read through ``services``."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from deepfake_service.container import Work
from deepfake_service.db import Database
from deepfake_service.errors import NotReady
from deepfake_service.http.admission import Admission, RateLimit
from deepfake_service.inference.batching import Batcher
from deepfake_service.inference.pictures import PictureScorer
from deepfake_service.observability.metrics import Metrics
from deepfake_service.security.accounts import Accounts
from deepfake_service.settings import Settings


@dataclass(slots=True)
class Engine:
    """What scores: there from the end of start-up to the beginning of shutdown."""

    pictures: PictureScorer
    batcher: Batcher
    model: dict[str, str]
    """Identity and terms of the bundle, as in every result."""


@dataclass(slots=True)
class Services:
    """The parts that one app's routes use."""

    settings: Settings
    metrics: Metrics
    accounts: Accounts
    admission: Admission
    submissions: RateLimit
    database: Database
    engine: Engine | None = None
    work: Work | None = None

    def ready(self) -> Engine:
        """The engine.

        Raises:
            NotReady: while starting or stopping.
        """
        if self.engine is None or not self.engine.batcher.running:
            raise NotReady
        return self.engine

    def working(self) -> Work:
        """What jobs are made with.

        Raises:
            NotReady: while starting or stopping.
        """
        if self.work is None:
            raise NotReady
        return self.work

    def check(self) -> None:
        """See that what requests need is there, beyond the model.

        Raises:
            NotReady, DatabaseUnavailable: what is not.
        """
        self.working()
        self.database.check()
        self.check_space()

    def check_space(self) -> None:
        """Raise ``NotReady`` where the disk is nearly full."""
        free = shutil.disk_usage(self.settings.data_dir).free
        if free < self.settings.min_free_bytes:
            raise NotReady(
                f"The disk of the data directory is nearly full: {free} bytes are free, and "
                f"{self.settings.min_free_bytes} are kept free."
            )


def services(connection: HTTPConnection) -> Services:
    """The parts of the app that ``connection`` came to."""
    return cast(Services, connection.app.state.services)
