"""The HTTP application: its routes, what they share, and how that starts and stops."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI
from fastapi.concurrency import contextmanager_in_threadpool

from deepfake_models.sandbox.decoder import Decoder
from deepfake_models.scorer import Scorer
from deepfake_service import program_version
from deepfake_service.accounts.accounts import Accounts
from deepfake_service.api import (
    audit,
    captures,
    cases,
    evidence,
    frames,
    jobs,
    media,
    notices,
    operations,
    removal,
    reviews,
    videos,
)
from deepfake_service.api import docs_page as docs
from deepfake_service.container import Services
from deepfake_service.evidence.bundle.readers import BundleReaders
from deepfake_service.examination.pictures import PictureScorer
from deepfake_service.http import problems
from deepfake_service.http.admission import FailedSignIns, RateLimit, UploadMemory
from deepfake_service.http.dependencies import AppState, Engine
from deepfake_service.http.middleware import RequestMiddleware
from deepfake_service.http.routing import add_routes, describe
from deepfake_service.platform.db import Database
from deepfake_service.platform.metrics import Metrics
from deepfake_service.platform.settings import Settings
from deepfake_service.web import admin as web_admin
from deepfake_service.web import audit as web_audit
from deepfake_service.web import bulk_reviews, items, queue, signing_in
from deepfake_service.web import notice_form as web_notice_form
from deepfake_service.web import notices as web_notices
from deepfake_service.web import posts as web_posts
from deepfake_service.web import submit as web_submit
from deepfake_service.web.pages import answer_unknown_address
from deepfake_service.worker import worker_running

DESCRIPTION = (
    "Estimates whether faces in pictures and videos were manipulated. Bodies, clothes and "
    "surroundings are not examined: a real face does not clear a picture. A score is a calibrated "
    "measurement with published error rates; it is not proof."
)
API = (
    frames, videos, jobs, cases, captures, evidence, media, reviews, notices, removal, audit,
    operations, docs,
)  # fmt: skip
PAGES = (
    signing_in, queue, bulk_reviews, items, web_submit, web_notices,
    web_notice_form, web_posts, web_admin, web_audit,
)  # fmt: skip
"""The modules whose routes the app has, in this order."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
TAGS = {
    "frames": "Pictures that are scored while you wait.",
    "videos": "Videos and pictures that are examined as jobs.",
    "jobs": "Progress and results of jobs.",
    "cases": "Cases, where their media were seen, and the media themselves.",
    "captures": "Pages that other tools or people recorded.",
    "evidence": "Signed evidence, its verification, and reviews.",
    "media": "Frames of media that are kept, for people to look at.",
    "notices": "Notices to platforms and authorities.",
    "removal": "Looks at the posts of notices that were sent, and what became of them.",
    "audit": "Who did what.",
    "operations": "The state of the service, for operators.",
}


def create_app(
    settings: Settings, database: Database, scorer: Scorer, decoder: Decoder, *, worker: bool
) -> FastAPI:
    """Return the application. With ``worker`` it also examines jobs in this process."""
    metrics = Metrics()
    state = AppState(
        settings=settings,
        metrics=metrics,
        database=database,
        accounts=Accounts(database),
        failed_sign_ins=FailedSignIns(database, settings),
        submission_rate=RateLimit(settings.submissions_per_account),
        read_rate=RateLimit(settings.reads_per_account),
        memory=UploadMemory(settings.max_buffered_bytes),
    )

    async def start(stack: contextlib.AsyncExitStack) -> None:
        pictures = PictureScorer(scorer, decoder, slots=settings.jobs_at_once)
        metrics.watch(
            {
                "deepfake_pictures_waiting": pictures.waiting,
                "deepfake_upload_buffered_bytes": lambda: state.memory.bytes_held,
            }
        )
        confinement = await anyio.to_thread.run_sync(decoder.confinement)
        # They start when a bundle is sent: most services verify few.
        readers = BundleReaders(settings.jobs_at_once, require=settings.sandbox == "require")
        stack.callback(readers.close)
        services = Services(settings, database, scorer.bundle.sha256, decoder, metrics)
        stack.callback(services.close)
        if worker:
            examining = worker_running(services, scorer, decoder, metrics)
            # DBOS must be started and stopped in a thread: its calls would block the event loop.
            await stack.enter_async_context(contextmanager_in_threadpool(examining))
        services.watch(metrics)
        state.engine = Engine(pictures, scorer.bundle, confinement, readers)
        state.services = services

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            try:
                await start(stack)
                state.on_start()
            except Exception as error:
                # The server only logs a traceback, whose text the logs leave out.
                state.start_failure = error
                raise
            try:
                yield
            finally:
                state.engine = state.services = None

    app = _described(lifespan, settings.public_url)
    app.state.shared = state
    app.add_middleware(RequestMiddleware, metrics=state.metrics)
    problems.install(app)
    for status in (404, 405):
        app.add_exception_handler(status, answer_unknown_address)
    for module in PAGES:
        add_routes(app, module.router)
    return app


def api_description() -> dict[str, Any]:
    """Return the OpenAPI description of the API, for generators of clients."""
    return _described().openapi()


def _described(lifespan: Lifespan | None = None, public_url: str | None = None) -> FastAPI:
    """Return an application with the routes of the API and their description."""
    app = FastAPI(
        title="Deepfake detection service",
        description=DESCRIPTION,
        version=program_version(),
        servers=[{"url": public_url or "/"}],
        openapi_tags=[{"name": name, "description": text} for name, text in TAGS.items()],
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI would report requests to a collector that the environment names.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    describe(app)
    for module in API:
        add_routes(app, module.router)
    return app


if __name__ == "__main__":
    import json
    import sys
    import tomllib
    from pathlib import Path

    # An environment that was installed before the version changed still has the old one.
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    described = api_description()
    described["info"]["version"] = project["version"]
    sys.stdout.write(json.dumps(described, indent=1, ensure_ascii=False) + "\n")
