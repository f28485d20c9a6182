"""What the answers of an app under test have in common, its routes and its sign-in page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from deepfake_service.audit import log as audit_log
from deepfake_service.audit.log import Action
from deepfake_service.http.auth import api_caller, browser_caller
from deepfake_service.platform.db import AuditEntry
from deepfake_service.platform.enums import Role

MODEL = {"bundle": "small", "version": "1", "sha256": "0" * 64, "terms": "tests-only"}
PROBLEM = ["type", "title", "status", "detail", "instance"]


def check_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer has the shape of every error, and return its body."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    body: dict[str, Any] = response.json()
    assert [k for k in body if k != "errors"] == PROBLEM
    assert body["type"] == f"urn:deepfake-service:problem:{code}"
    assert body["status"] == status
    assert body["instance"] == response.headers["x-request-id"]
    assert body["title"]
    assert body["detail"]
    assert ("errors" not in body) or all(list(e) == ["field", "detail"] for e in body["errors"])
    return body


def one_file(name: str = "files") -> dict[str, Any]:
    return {name: ("a.jpg", b"still 0 0")}


def roles_of(dependant: Dependant) -> Iterator[frozenset[Role]]:
    """Yield the roles that each dependency of a route admits."""
    roles = getattr(dependant.call, "roles", None)
    if roles is not None:
        yield roles
    for dependency in dependant.dependencies:
        yield from roles_of(dependency)


def authenticates(dependant: Dependant) -> bool:
    """Return whether a route asks who calls."""
    asks = dependant.call in (api_caller, browser_caller)
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


# ``conftest.Service`` of the unit tests.
Service = Any

ORIGIN = {"Origin": "http://service"}


def failures(service: Service) -> list[AuditEntry]:
    with service.database.read() as session:
        entries = audit_log.page(session, limit=1000)
    return [e for e in entries if e.action == Action.SIGN_IN_FAILED]


async def browse(service: Service, role: Role, language: str = "en") -> dict[str, str]:
    """Sign the client in as a browser, which has no key; return the field that each form has."""
    service.client.headers.pop("Authorization", None)
    service.client.headers["Accept-Language"] = language
    service.client.cookies.clear()
    await service.sign_in(role)
    return {"csrf": csrf_of((await service.client.get("/help")).text)}


def csrf_of(page: str) -> str:
    token = re.search(r'name="csrf" content="(\w+)"', page)
    assert token
    return token[1]
