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
from starlette.responses import FileResponse, HTMLResponse, Response

router = APIRouter(prefix="/docs", include_in_schema=False)

_ASSETS = Path(str(files("fastapi_offline"))) / "static"
"""Swagger UI as the package fastapi-offline ships it."""
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"
)
"""Swagger UI draws its icons from ``data:`` addresses in its style sheet."""
_CACHED = {"Cache-Control": "public, max-age=3600"}
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>API of the deepfake detection service</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<noscript><p>This page needs scripts. The same description for programs is at
<a href="openapi.json">openapi.json</a>.</p></noscript>
<div id="description"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: new URL("openapi.json", document.baseURI).pathname,
  dom_id: "#description",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  filter: true,
  validatorUrl: null,
});
"""


@router.get("")
def get_docs() -> HTMLResponse:
    """Show the routes and schemas of the API, and send requests to it."""
    return HTMLResponse(_PAGE, headers={"Content-Security-Policy": _POLICY})


@router.get("/{name}")
def get_asset(
    name: Literal["start.js", "swagger-ui-bundle.js", "swagger-ui.css"],
) -> Response:
    """Return a file of the page."""
    if name == "start.js":
        return Response(_START, media_type="text/javascript", headers=_CACHED)
    return FileResponse(_ASSETS / name, headers=_CACHED)
