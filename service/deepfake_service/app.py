"""The HTTP application: routes, the parts they share, and when those start and stop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager

import anyio
import anyio.to_thread
from fastapi import FastAPI

from deepfake_models.decode.decoder import Decoder
from deepfake_models.decode.sandbox import ProcessDecoder
from deepfake_models.scorer import Scorer
from deepfake_service.api import (
    audit,
    cases,
    evidence,
    frames,
    jobs,
    media,
    notices,
    operations,
    videos,
)
from deepfake_service.api import docs_page as docs
from deepfake_service.container import open_container, open_decoder, open_scorer, program_version
from deepfake_service.db import Database, open_database
from deepfake_service.http import problems
from deepfake_service.http.admission import Admission, RateLimit
from deepfake_service.http.dependencies import AppState, Engine
from deepfake_service.http.middleware import RequestMiddleware
from deepfake_service.inference.batching import Batcher
from deepfake_service.inference.pictures import PictureScorer
from deepfake_service.observability.metrics import Metrics
from deepfake_service.security.accounts import Accounts
from deepfake_service.settings import Settings
from deepfake_service.web import admin as web_admin
from deepfake_service.web import help as web_help
from deepfake_service.web import items, queue, signing_in
from deepfake_service.web import notices as web_notices
from deepfake_service.worker import worker_running

DESCRIPTION = (
    "Scores faces in pictures for manipulation. A score is a calibrated measurement with stated "
    "error rates, never proof."
)


def create_app(
    settings: Settings,
    *,
    scorer: Scorer | None = None,
    decoder: Decoder | None = None,
    database: Database | None = None,
    worker: bool = True,
) -> FastAPI:
    """The application, and with ``worker`` one that examines jobs in its process.

    What is not given is made: the database at once, the scorer and the decoder when the app starts,
    and a decoder made here is closed when it stops.
    """
    metrics = Metrics()
    admission = Admission(
        max_requests=settings.max_pending_requests, max_bytes=settings.max_buffered_bytes
    )
    database = database or open_database(settings)
    state = AppState(
        settings,
        metrics,
        Accounts(database),
        admission,
        RateLimit(settings.submissions_per_account),
        database,
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            judge = scorer
            if judge is None:
                judge = await anyio.to_thread.run_sync(open_scorer, settings)
            pictures_from = decoder
            if pictures_from is None:
                pictures_from = stack.enter_context(contextlib.closing(open_decoder(settings)))
            batcher = await stack.enter_async_context(
                Batcher(
                    judge.classifier.logits,
                    max_size=settings.batch_max_size,
                    max_delay_s=settings.batch_max_delay_ms / 1000,
                    max_queue=settings.batch_max_queue,
                    on_batch=metrics.batch,
                    on_failure=metrics.batch_failed,
                )
            )
            metrics.watch(queue_depth=lambda: batcher.depth, buffered=lambda: admission.bytes_held)
            pictures = PictureScorer(judge, pictures_from, batcher, slots=settings.decode_workers)
            model = judge.bundle.model_json()
            with open_container(settings, state.database, model["sha256"]) as container:
                if worker and isinstance(pictures_from, ProcessDecoder):
                    jobs = worker_running(container, judge, pictures_from, metrics)
                    # DBOS must be started and stopped in a thread: its calls would block the
                    # event loop.
                    await stack.enter_async_context(_in_thread(jobs))
                services = container.services
                metrics.watch_jobs(services.queries.waiting, services.queries.oldest_s)
                metrics.watch_notices(services.notice_desk.count_overdue)
                state.engine, state.services = Engine(pictures, batcher, model), services
                try:
                    yield
                finally:
                    state.engine = state.services = None

    app = FastAPI(
        title="Deepfake detection service",
        description=DESCRIPTION,
        version=program_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # FastAPI can report every request to a collector named in the environment. Nothing
        # leaves this machine.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.shared = state
    app.add_middleware(RequestMiddleware, metrics=metrics, body_timeout_s=settings.upload_timeout_s)
    problems.install(app)
    for web_part in (signing_in, queue, items, web_notices, web_help, web_admin):
        app.include_router(web_part.router)
    for part in (frames, videos, jobs, cases, media, evidence, notices, audit, operations, docs):
        app.include_router(part.router)
    return app


@contextlib.asynccontextmanager
async def _in_thread(context: AbstractContextManager[None]) -> AsyncIterator[None]:
    """Enter and leave a context in a thread."""
    await anyio.to_thread.run_sync(context.__enter__)
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(context.__exit__, None, None, None)
