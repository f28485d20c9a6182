"""What the routes of one app share, as FastAPI dependencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, cast

from anyio import CapacityLimiter
from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from deepfake_models.bundle.bundle import Bundle
from deepfake_models.sandbox.confinement import Confinement
from deepfake_service.accounts.accounts import Accounts
from deepfake_service.container import Services
from deepfake_service.evidence.bundle.readers import BundleReaders
from deepfake_service.examination.pictures import PictureScorer
from deepfake_service.http.admission import AccountBudget, FailedSignIns, RateLimit, UploadMemory
from deepfake_service.platform.db import Database
from deepfake_service.platform.errors import Code, Overloaded
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.outbound import RESOLVERS
from deepfake_service.platform.settings import Settings


@dataclass(slots=True)
class Engine:
    """The scoring engine: present from the end of start-up to the beginning of shutdown."""

    pictures: PictureScorer
    bundle: Bundle
    """The model bundle that scores."""
    confinement: Confinement | None
    """What the sandbox of the decoder lacks; ``None`` if it has none."""
    bundle_readers: BundleReaders
    """Read bundles that clients send."""


@dataclass(slots=True)
class AppState:
    """Everything that the routes of one app share. ``engine`` and ``services`` are ``None`` while
    the app starts or stops."""

    settings: Settings
    metrics: Metrics
    database: Database
    accounts: Accounts
    failed_sign_ins: FailedSignIns
    submission_rate: RateLimit
    read_rate: RateLimit
    memory: UploadMemory
    budget: AccountBudget = field(default_factory=AccountBudget)
    resolvers: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(RESOLVERS))
    """Threads that look up the hosts of callbacks."""
    engine: Engine | None = None
    services: Services | None = None
    is_stopping: Callable[[], bool] = lambda: False
    """Whether the server was asked to stop and waits for the requests that it is answering."""
    on_start: Callable[[], None] = lambda: None
    """Called once the app has started."""
    start_failure: Exception | None = None
    """Why the app could not start."""

    def require_engine(self) -> Engine:
        """Return the scoring engine; ``Overloaded`` if the app is starting or stopping."""
        if self.engine is None:
            raise Overloaded(code=Code.NOT_READY)
        return self.engine

    def require_services(self) -> Services:
        """Return the services of the rooms; ``Overloaded`` if the app is starting or stopping."""
        if self.services is None:
            raise Overloaded(code=Code.NOT_READY)
        return self.services


def app_state(connection: HTTPConnection) -> AppState:
    """Return the state of the app that serves ``connection``."""
    return cast(AppState, connection.app.state.shared)


@dataclass(frozen=True)
class RequestContext:
    """A request to an app, with what the routes share."""

    request: Request

    @property
    def state(self) -> AppState:
        """What the routes of the app share."""
        return app_state(self.request)

    @property
    def services(self) -> Services:
        """The services of the rooms; ``Overloaded`` while the app starts or stops."""
        return self.state.require_services()


# A coroutine, because FastAPI runs a plain function in a thread.
async def _context(request: Request) -> RequestContext:
    return RequestContext(request)


ContextDep = Annotated[RequestContext, Depends(_context)]
