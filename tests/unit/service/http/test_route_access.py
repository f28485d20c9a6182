"""Each route has an access rule: it is public, or it depends on a role."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import Depends, FastAPI
from starlette.staticfiles import StaticFiles

from deepfake_service.http.auth import Auditor, api_caller
from tests.support.answers import authenticates, has_rate, roles_of, routes_of
from tests.support.stand_ins import unstarted_app

PUBLIC = {
    "GET /.well-known/jwks.json", "GET /v1/revocations", "GET /v1/notices",
    "GET /healthz", "HEAD /healthz", "GET /readyz", "HEAD /readyz", "GET /metrics",
    "GET /docs", "GET /docs/{name}",
    "GET /help", "GET /openapi.json", "HEAD /openapi.json",
    "GET /sign-in", "POST /sign-in", "POST /sign-in/code",
    "GET /invitation/{token}", "POST /invitation/{token}",
    "GET /language/{language}", "GET /static/{name}",
}  # fmt: skip
"""Routes that answer anybody. None of them shows anything of a case."""
ANY_ROLE = {
    "GET /account", "POST /account/second-factor", "POST /sign-out",
}  # fmt: skip
"""Routes about the account that has signed in, whatever its role."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return unstarted_app(tmp_path_factory.mktemp("routes") / "var")


def without_rule(app: FastAPI) -> set[str]:
    """Return the routes that are neither public, nor for signed-in people, nor bound to a role."""
    return {
        name
        for name, dependant in routes_of(app)
        if name not in PUBLIC
        and not (authenticates(dependant) and (any(roles_of(dependant)) or name in ANY_ROLE))
    }


def test_every_route_has_an_access_rule(app: FastAPI) -> None:
    """A new route needs a role (``admits`` in ``http/auth.py``) or a place in ``PUBLIC``."""
    assert without_rule(app) == set()


def test_a_route_without_an_access_rule_is_found(tmp_path: Path) -> None:
    app = unstarted_app(tmp_path / "var")

    @app.get("/v1/everything")
    def everything() -> None: ...

    @app.post("/console/{case_id}")
    def change(case_id: str) -> None: ...

    @app.get("/v1/signed-in", dependencies=[Depends(api_caller)])
    def signed_in() -> None: ...

    @app.get("/v1/audited")
    def audited(_: Auditor) -> None: ...

    app.mount("/files", StaticFiles(directory=tmp_path))
    assert without_rule(app) == {
        "GET /v1/everything", "POST /console/{case_id}", "GET /v1/signed-in", "ANY /files",
    }  # fmt: skip


def test_every_route_that_asks_who_calls_has_a_rate(app: FastAPI) -> None:
    """A new route needs a role of ``http/auth.py`` or ``web/pages.py``, which all have one."""
    routes = list(routes_of(app))
    assert {name for name, d in routes if authenticates(d) and not has_rate(d)} == set()
    assert not any(has_rate(d) for name, d in routes if name in PUBLIC)


def test_lists_of_routes_name_only_routes_that_exist(app: FastAPI) -> None:
    names = {name for name, _ in routes_of(app)}
    assert len(names) > 70
    assert names >= PUBLIC | ANY_ROLE
    assert not PUBLIC & ANY_ROLE
