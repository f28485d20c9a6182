"""``/docs``: the OpenAPI description as a page that loads nothing, neither scripts nor from afar.

FastAPI's own page takes its script from a content delivery network, which a service that holds
this material must not run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1b1b; background: #fff; }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f2f2f2; border-radius: 4px; }
code { padding: 1px 4px; } pre { padding: 0.75rem; overflow-x: auto; }
section { border-top: 1px solid #ccc; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; font-weight: 600; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem 0.3rem 0;
         border-bottom: 1px solid #ddd; }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #161616; } code, pre { background: #2a2a2a; }
  a { color: #8ab4ff; } section, th, td { border-color: #444; } }
"""
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src "
    f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The description of this app's routes and schemas for people."""
    page = _page(request.app.openapi(), str(request.base_url).rstrip("/"))
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})


def _page(api: dict[str, Any], base: str) -> str:
    info = api["info"]
    routes = [
        _route(method, path, operation, base)
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(n, s) for n, s in api.get("components", {}).get("schemas", {}).items()]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        f"<p>{escape(info.get('description', ''))}</p>"
        '<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI). Every address under '
        "<code>/v1</code> wants the header <code>Authorization: Bearer KEY</code>. Every error is "
        "a <code>ProblemOut</code>.</p>"
        f"{''.join(routes)}<section><h2>Schemas</h2>{''.join(schemas)}</section>"
        "</main></body></html>"
    )


def _route(method: str, path: str, operation: dict[str, Any], base: str) -> str:
    name = f"{method.upper()} {path}"
    body = operation.get("requestBody", {}).get("content", {})
    rows = "".join(
        f"<tr><th scope='row'>{escape(status)}</th><td>{escape(answer.get('description', ''))}</td>"
        f"<td>{', '.join(_content(kind, c) for kind, c in answer.get('content', {}).items())}</td>"
        "</tr>"
        for status, answer in operation["responses"].items()
    )
    return (
        f'<section id="{escape(operation["operationId"])}"><h2><code>{escape(name)}</code></h2>'
        f"<p><strong>{escape(operation.get('summary', ''))}.</strong> "
        f"{escape(operation.get('description', ''))}</p>"
        + "".join(f"<p>Takes {_content(kind, c)}</p>" for kind, c in body.items())
        + f"<pre>{escape(_curl(method, base + path, operation))}</pre>"
        f"<table><caption>Answers</caption>{rows}</table></section>"
    )


def _curl(method: str, url: str, operation: dict[str, Any]) -> str:
    command = "curl"
    if operation.get("security"):
        command += ' -H "Authorization: Bearer $KEY"'
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for name in content["schema"].get("properties", {}):
            command += f" -F {name}=@picture.jpg"
    if method != "get" and "requestBody" not in operation:
        command += f" -X {method.upper()}"
    return f"{command} {url}"


def _content(kind: str, content: dict[str, Any]) -> str:
    schema = content.get("schema", {})
    shown = _type(schema)
    properties = ", ".join(
        f"{escape(name)}: {_type(value)}" for name, value in schema.get("properties", {}).items()
    )
    return f"<code>{escape(kind)}</code> {f'with {properties}' if properties else shown}"


def _schema(name: str, schema: dict[str, Any]) -> str:
    if "enum" in schema:
        listed = ", ".join(f"<code>{escape(str(v))}</code>" for v in schema["enum"])
        inner = f"<p>One of {listed}</p>"
    else:
        required = schema.get("required", [])
        inner = "<table>" + "".join(
            f"<tr><th scope='row'><code>{escape(field)}</code></th><td>{_type(value)}"
            f"{'' if field in required else ' (optional)'}</td>"
            f"<td>{escape(value.get('description', ''))}</td></tr>"
            for field, value in schema.get("properties", {}).items()
        )
        inner += "</table>"
    about = f"<p>{escape(schema.get('description', ''))}</p>"
    return f'<h3 id="{escape(name)}">{escape(name)}</h3>{about}{inner}'


def _type(schema: dict[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(s) for s in schema["anyOf"])
    if "const" in schema:
        return escape(json.dumps(schema["const"]))
    if schema.get("type") == "array":
        items: list[dict[str, Any]] = schema.get("prefixItems") or [schema.get("items", {})]
        return f"list of {_type(items[0])}"
    return escape(str(schema.get("format") or schema.get("type", "anything")))
