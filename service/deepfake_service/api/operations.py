"""``/healthz``, ``/readyz`` and ``/metrics``: for those who run the service. No key is needed."""

from __future__ import annotations

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from deepfake_service.http.dependencies import app_state
from deepfake_service.http.problems import problems
from deepfake_service.http.schemas import HealthOut, ModelOut, ReadyOut

router = APIRouter(tags=["operations"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Is the process alive")
async def healthz() -> HealthOut:
    """Answers as long as the process does."""
    return HealthOut()


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Are requests taken", responses=problems(503))
async def readyz(request: Request) -> ReadyOut:
    """Answers once the model is loaded and the database is up to date, with the model's identity
    and the terms of its use; not while the disk is nearly full."""
    state = app_state(request)
    engine = state.require_engine()
    await anyio.to_thread.run_sync(state.check)
    return ReadyOut(model=ModelOut.model_validate(engine.model))


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """Counts and durations; no score and no name."""
    # In a thread: some are read from the database.
    content = await anyio.to_thread.run_sync(app_state(request).metrics.exposition)
    return Response(content, media_type=CONTENT_TYPE_LATEST)
