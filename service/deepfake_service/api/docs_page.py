"""``/docs``: the OpenAPI description as one page of HTML, without scripts.

FastAPI's own page loads Swagger UI from a content delivery network, which this service must not do.
Swagger UI served from here would need a Content-Security-Policy that allows inline styles, on the
origin where people sign in.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

router = APIRouter(include_in_schema=False)

EXAMPLE_FILES = {
    "files": "picture.jpg",
    "file": "video.mp4",
    "screenshot": "screenshot.png",
    "application/zip": "evidence.zip",
    "application/octet-stream": "video.mp4",
}
"""Names in the examples, by field or, for a body that is one file, by content type."""

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1b1b1b; background: #fff; }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f2f2f2; border-radius: 4px; }
code { padding: 1px 4px; } h2 code { font-size: 1.1rem; }
pre { padding: 0.75rem; overflow-x: auto; }
section { border-top: 1px solid #ccc; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; font-weight: 600; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem 0.3rem 0;
         border-bottom: 1px solid #ddd; }
caption { padding-top: 0.6rem; } th { font-weight: 400; white-space: nowrap; }
@media (prefers-color-scheme: dark) {
  body { color: #eee; background: #161616; } code, pre { background: #2a2a2a; }
  a { color: #8ab4ff; } section, th, td { border-color: #444; } }
"""
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; style-src "
    f"'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)


@router.get("/docs")
def docs(request: Request) -> HTMLResponse:
    """Describe the routes and schemas of this app."""
    page = _page(request.app.openapi(), str(request.base_url).rstrip("/"))
    return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})


def _page(api: dict[str, Any], base: str) -> str:
    info = api["info"]
    components = api.get("components", {}).get("schemas", {})
    routes = [
        _route(f"{method.upper()} {path}", operation, _curl(method, base + path, operation, api))
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [_schema(name, schema) for name, schema in components.items()]
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        f"<p>{escape(info.get('description', ''))}</p>"
        '<p>The same description for programs: <a href="openapi.json">openapi.json</a>. Most '
        "addresses under <code>/v1</code> need a key in the header <code>Authorization: Bearer "
        'KEY</code>. Every error is a <a href="#ProblemOut">ProblemOut</a>. In the examples, set '
        "the variables that begin with <code>$</code>.</p>"
        f"{''.join(routes)}<section><h2>Schemas</h2>{''.join(schemas)}</section>"
        "</main></body></html>"
    )


def _route(name: str, operation: dict[str, Any], example: str) -> str:
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
        f"{_prose(operation.get('description', ''))}</p>"
        + _parameters(operation.get("parameters", []))
        + "".join(_body(kind, content["schema"]) for kind, content in body.items())
        + f"<pre>{escape(example)}</pre>"
        f"<table><caption>Responses</caption>{rows}</table></section>"
    )


def _prose(text: str) -> str:
    """Return a description as HTML, with its `code` marked up."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _parameters(parameters: list[dict[str, Any]]) -> str:
    described = {p["name"]: {**p["schema"], **p} for p in parameters}
    required = [p["name"] for p in parameters if p.get("required")]
    return _fields("Parameters", described, required) if described else ""


def _body(kind: str, schema: dict[str, Any]) -> str:
    if "properties" not in schema:
        return f"<p>Body: <code>{escape(kind)}</code> {_type(schema)}</p>"
    caption = f"Body: <code>{escape(kind)}</code>"
    return _fields(caption, schema["properties"], schema.get("required", []))


def _fields(caption: str, properties: dict[str, dict[str, Any]], required: list[str]) -> str:
    rows = "".join(
        f"<tr><th scope='row'><code>{escape(name)}</code></th><td>{_type(field)}"
        f"{'' if name in required else ' (optional)'}</td>"
        f"<td>{_prose(field.get('description', ''))}</td></tr>"
        for name, field in properties.items()
    )
    return f"<table>{f'<caption>{caption}</caption>' if caption else ''}{rows}</table>"


def _curl(method: str, url: str, operation: dict[str, Any], api: dict[str, Any]) -> str:
    """Return a command that calls the route with what it requires."""
    command = ["curl"]
    if operation.get("security"):
        command.append('-H "Authorization: Bearer $KEY"')
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        kind, described = next(iter(content.items()))
        command.append(_data(kind, described["schema"], api))
    if method != "get" and not (content and method == "post"):
        command.append(f"-X {method.upper()}")
    address = re.sub(r"\{(\w+)\}", lambda match: f"${match[1].upper()}", url)
    return " ".join([*command, f'"{address}"' if address != url else url])


def _data(kind: str, schema: dict[str, Any], api: dict[str, Any]) -> str:
    """Return the options of curl that send an example of a body."""
    if kind == "multipart/form-data":
        fields = schema["properties"]
        files = [name for name, field in fields.items() if _is_file(field)]
        names = schema.get("required") or [next(iter(fields)), *files]
        return " ".join(_form_field(name, fields[name]) for name in names)
    if kind == "application/json":
        example = json.dumps(_example(schema, api), ensure_ascii=False)
        return f"-H {shlex.quote(f'Content-Type: {kind}')} -d {shlex.quote(example)}"
    return f"-H {shlex.quote(f'Content-Type: {kind}')} --data-binary @{EXAMPLE_FILES[kind]}"


def _is_file(schema: dict[str, Any]) -> bool:
    return bool(schema.get("items", schema).get("format") == "binary")


def _form_field(name: str, schema: dict[str, Any]) -> str:
    return f"-F {name}={f'@{EXAMPLE_FILES[name]}' if _is_file(schema) else 'TEXT'}"


def _example(schema: dict[str, Any], api: dict[str, Any]) -> Any:
    """Return a value that a schema describes, with required properties only."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _example(api["components"]["schemas"][name], api)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], api)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        names = schema.get("required") or list(properties)[:1]
        return {name: _example(properties[name], api) for name in names}
    if schema.get("format") == "date-time":
        return "2026-01-31T12:00:00Z"
    plain: dict[str, Any] = {"array": [], "boolean": True, "integer": 1, "number": 1.0}
    return plain.get(schema.get("type", ""), "TEXT")


def _content(kind: str, content: dict[str, Any]) -> str:
    return f"<code>{escape(kind)}</code> {_type(content.get('schema', {}))}"


def _schema(name: str, schema: dict[str, Any]) -> str:
    if "enum" in schema:
        listed = ", ".join(f"<code>{escape(str(v))}</code>" for v in schema["enum"])
        inner = f"<p>One of {listed}</p>"
    else:
        inner = _fields("", schema.get("properties", {}), schema.get("required", []))
    description = f"<p>{_prose(schema.get('description', ''))}</p>"
    return f'<h3 id="{escape(name)}">{escape(name)}</h3>{description}{inner}'


def _type(schema: dict[str, Any]) -> str:
    """Return a schema in a few words, as HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(s) for s in schema["anyOf"])
    if "const" in schema:
        return escape(json.dumps(schema["const"]))
    if "enum" in schema:
        return "one of " + ", ".join(f"<code>{escape(str(v))}</code>" for v in schema["enum"])
    if schema.get("type") == "array" and _is_file(schema):
        return "files"
    if schema.get("type") == "array":
        items: list[dict[str, Any]] = schema.get("prefixItems") or [schema.get("items", {})]
        return f"list of {_type(items[0])}"
    if schema.get("format") == "binary":
        return "file"
    return escape(str(schema.get("format") or schema.get("type", "anything")))
