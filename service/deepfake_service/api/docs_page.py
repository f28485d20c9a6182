"""``/docs``: Swagger UI for the OpenAPI description, from files of this service alone.

FastAPI's own page loads Swagger UI from a content delivery network and starts it by an inline
script. Here its files come from an installed package, the script that starts it is a file too, and
the Content-Security-Policy allows neither inline scripts nor inline styles, on the origin where
people sign in.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from starlette.responses import FileResponse

router = APIRouter(prefix="/docs", include_in_schema=False)

_OWN = Path(str(files("deepfake_service.api"))) / "static"
_ASSETS = Path(str(files("fastapi_offline"))) / "static"
"""Swagger UI as the package fastapi-offline ships it."""
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"
)
"""Swagger UI draws its icons from ``data:`` addresses in its style sheet."""
_CACHED = {"Cache-Control": "public, max-age=3600"}


@router.get("")
def get_docs() -> FileResponse:
    """Show the routes and schemas of the API, and send requests to it."""
    return FileResponse(_OWN / "docs.html", headers={"Content-Security-Policy": _POLICY})


@router.get("/{name}")
def get_asset(name: Literal["start.js", "swagger-ui-bundle.js", "swagger-ui.css"]) -> FileResponse:
    """Return a file of the page."""
    return FileResponse((_OWN if name == "start.js" else _ASSETS) / name, headers=_CACHED)
