"""The routes of an app, and whom they admit."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from deepfake_service.http.auth import browser_caller, current_caller, signed_in_caller
from deepfake_service.platform.db.enums import Role


def roles_of(dependant: Dependant) -> Iterator[frozenset[Role]]:
    """Yield the roles that each dependency of a route admits."""
    roles = getattr(dependant.call, "roles", None)
    if roles is not None:
        yield roles
    for dependency in dependant.dependencies:
        yield from roles_of(dependency)


def authenticates(dependant: Dependant) -> bool:
    """Return whether a route asks who calls."""
    asks = dependant.call in (current_caller, signed_in_caller, browser_caller)
    return asks or any(map(authenticates, dependant.dependencies))


def has_rate(dependant: Dependant) -> bool:
    """Return whether the requests of a route count against a rate of their account."""
    limits = hasattr(dependant.call, "roles")
    return limits or any(map(has_rate, dependant.dependencies))


def routes_of(app: FastAPI) -> Iterator[tuple[str, Dependant]]:
    """Yield each method and path of an app, and what its route depends on.

    What is mounted as an app of its own has no method, and depends on nothing.
    """
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", Dependant())
        for method in sorted(getattr(route, "methods", None) or {"ANY"}):
            yield f"{method} {route.path}", dependant
