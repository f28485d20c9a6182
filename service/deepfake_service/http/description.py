"""The OpenAPI description of the API: what FastAPI generates, with what it does not know."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from deepfake_service.http.multipart import MULTIPART
from deepfake_service.http.problems import problem_schemas, problems
from deepfake_service.http.submission_form import VideoForm, form_enums

REFERENCE = "#/components/schemas/"


def operation_id(route: APIRoute) -> str:
    """Return the name of the function that answers, after which generators name their own."""
    return route.name


def install(app: FastAPI) -> None:
    """Complete the description of ``app``: problems, and names for the bodies of uploads."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        api = generate()
        schemas = api["components"]["schemas"]
        schemas.update(problem_schemas())
        schemas.update(form_enums(VideoForm))
        # FastAPI's own form of invalid requests, which this service does not send.
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for methods in api["paths"].values():
            for operation in methods.values():
                responses = {**_shared(operation), **operation["responses"]}
                operation["responses"] = dict(sorted(responses.items()))
                _name_upload(operation, schemas)
        return api

    app.openapi = openapi  # type: ignore[method-assign]


def _shared(operation: dict[str, Any]) -> dict[str, Any]:
    """Return the ``responses`` that an operation has because of what it shares with others."""
    statuses = set()
    if "security" in operation:
        statuses |= {401, 403, 429, 503}
        if any(p["in"] == "path" for p in operation.get("parameters", ())):
            statuses |= {404, 409, 410}  # unknown, altered, or deleted meanwhile
    if "requestBody" in operation:
        statuses |= {400, 408, 413}  # the body is malformed, comes too slowly, or is too large
    return {str(status): response for status, response in problems(*sorted(statuses)).items()}


def _name_upload(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Move the schema of a multipart body to ``schemas``, under its title."""
    upload = operation.get("requestBody", {}).get("content", {}).get(MULTIPART)
    if upload is not None and "title" in upload["schema"]:
        schema = upload["schema"]
        schemas[schema["title"]] = schema
        upload["schema"] = {"$ref": REFERENCE + schema["title"]}
