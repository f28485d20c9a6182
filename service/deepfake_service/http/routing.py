"""Routers of the API, which refuse query parameters that a route does not know, and their use."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.routing import APIRoute

from deepfake_service.http.description import operation_id
from deepfake_service.http.problems import problems
from deepfake_service.platform.errors import FieldError, InvalidRequest


def api_router(tag: str, prefix: str = "/v1") -> APIRouter:
    """Return a router whose routes answer 422 to a query parameter that they do not declare.

    A misspelt filter would otherwise be ignored, and the answer would be about everything.
    """
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[Depends(_check_query)],
        responses=problems(422),
        generate_unique_id_function=operation_id,
    )


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Add the routes of ``router`` to ``app`` as they are.

    ``include_router`` would build each of them again, when the first request arrives.
    """
    app.router.routes.extend(router.routes)


async def _check_query(request: Request) -> None:
    """Check that each query parameter is declared, and is sent once.

    Raises:
        InvalidRequest: naming each parameter that is not.
    """
    if not request.query_params:
        return
    known = _query_names(request.scope["route"])
    expected = f"expected one of {', '.join(sorted(known))}" if known else "there are none here"
    invalid = []
    for name, count in Counter(n for n, _ in request.query_params.multi_items()).items():
        if name not in known:
            invalid.append(FieldError(name[:64], f"unknown query parameter; {expected}"))
        elif count > 1:
            invalid.append(FieldError(name, "sent twice; send it once"))
    if invalid:
        raise InvalidRequest("A query parameter is unknown or was repeated.", errors=invalid)


def _query_names(route: APIRoute) -> frozenset[str]:
    declared = (route.openapi_extra or {}).get("parameters", ())
    extra = {p["name"] for p in declared if p["in"] == "query"}
    return frozenset(extra | _names_of(route.dependant))


def _names_of(dependant: Any) -> set[str]:
    names = {parameter.alias for parameter in dependant.query_params}
    return names.union(*(_names_of(inner) for inner in dependant.dependencies))
