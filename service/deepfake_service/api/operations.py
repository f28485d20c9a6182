"""``/healthz``, ``/readyz`` and ``/metrics``, for operators. They need no key."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from deepfake_models.decision.fitness import unfit
from deepfake_service.http.dependencies import ContextDep
from deepfake_service.http.middleware import LOOPBACK
from deepfake_service.http.routing import PROBLEM, operation_id
from deepfake_service.http.schemas import HealthOut, ModelOut, ReadyOut, SandboxOut
from deepfake_service.platform.errors import NotFound

router = APIRouter(tags=["operations"], responses=PROBLEM, generate_unique_id_function=operation_id)


# A coroutine: it must answer even while every thread is busy.
@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Check that the process is alive")
async def check_health() -> HealthOut:
    """Answer while the process is alive."""
    return HealthOut()


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Check that requests are accepted")
def check_readiness(context: ContextDep) -> ReadyOut:
    """Answer with the identity and terms of the model once it is loaded and the database is up to
    date. While the disk is nearly full, `accepts_submissions` is false; everything else works."""
    state = context.state
    engine = state.require_engine()
    services = state.require_services()
    # Not the space on the disk: an account that fills it would otherwise take reads and deletions
    # from all others.
    state.database.check()
    confinement = engine.confinement
    return ReadyOut(
        model=ModelOut.model_validate(engine.bundle.model_json()),
        not_for_use=[reason.detail for reason in unfit(engine.bundle.spec)],
        accepts_submissions=services.disk.has_room(),
        epoch_keys=state.settings.database_url is None,
        sandbox=SandboxOut(missing=list(confinement.missing)) if confinement else None,
    )


@router.get(
    "/metrics",
    summary="Read Prometheus metrics",
    response_class=Response,
    responses={
        200: {"content": {CONTENT_TYPE_LATEST: {"schema": {"type": "string"}}}},
    },
)
def get_metrics(context: ContextDep) -> Response:
    """Return counts and durations. They include neither scores nor names. Only the operators'
    listener serves them; without one, so does a service that no other machine reaches."""
    settings = context.state.settings
    own_port = settings.operations_port
    is_own = bool(own_port) and (context.request.scope.get("server") or ("", 0))[1] == own_port
    if not is_own and (own_port or settings.host not in LOOPBACK):
        raise NotFound
    return Response(generate_latest(context.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
