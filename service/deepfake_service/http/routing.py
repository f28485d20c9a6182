"""Routers of the API, which refuse query parameters that a route does not know, and the OpenAPI
description: what FastAPI generates, with what it does not know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import get_args

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Header, Path
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field, TypeAdapter
from pydantic.json_schema import JsonSchemaValue

from deepfake_service.http.answers import JSON
from deepfake_service.http.multipart import urlencoded_fields
from deepfake_service.http.problems import MEDIA_TYPE, BodyRefused, read_json
from deepfake_service.http.submission_form import REF, VideoForm
from deepfake_service.platform.errors import FieldError, InvalidRequest, ServiceError
from deepfake_service.platform.texts.fields import unknown_field
from deepfake_service.platform.webhooks import Event


class FieldErrorOut(BaseModel, extra="forbid"):
    """An invalid field of a request."""

    field: str = Field(description="Name of the field, as it was sent.")
    detail: str = Field(description="What is wrong with it.")


class ProblemOut(BaseModel, extra="forbid"):
    """An error, as RFC 9457 problem details."""

    type: str = Field(description="Identifies the kind of error; stable.")
    title: str = Field(description="The kind of error in a few words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong, and what to do.")
    instance: str = Field(description="The id of the request, as in X-Request-ID and in the log.")
    errors: list[FieldErrorOut] | None = Field(
        default=None, description="Present where fields of the request are invalid."
    )


PROBLEM: dict[int | str, dict[str, object]] = {
    "default": {
        "description": "An error; `type` says which, and `detail` what to do.",
        "headers": {
            "Retry-After": {
                "description": "With 429 and 503: seconds after which the same request may be "
                "sent again.",
                "schema": {"type": "integer", "minimum": 0},
            }
        },
        # Not as ``model``: FastAPI would document that errors come as application/json as well.
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}},
    }
}
"""The ``responses`` of a route that may answer with an error."""


def operation_id(route: APIRoute) -> str:
    """Return the name of the function that answers, after which generators name their own."""
    return route.name


class _JsonRequest(Request):
    async def json(self) -> object:
        try:
            return read_json(await self.body())
        except ServiceError as error:
            raise BodyRefused(error) from error


class _ApiRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[object, object, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle


def api_router(tag: str, prefix: str = "/v1") -> APIRouter:
    """Return a router whose routes answer 422 to a query parameter that they do not declare. A
    misspelt filter would otherwise be ignored, and the answer would be about everything."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=_ApiRoute,
        dependencies=[Depends(_check_query)],
        responses=PROBLEM,
        generate_unique_id_function=operation_id,
    )


def add_routes(app: FastAPI, router: APIRouter) -> None:
    """Add the routes of ``router`` to ``app`` as they are. ``include_router`` would build each of
    them again, when the first request arrives."""
    app.router.routes.extend(router.routes)


async def _check_query(request: Request) -> None:
    """Check that each query parameter is declared, and is sent once; ``InvalidRequest``, naming
    each parameter that is not. ``MalformedRequest``, naming it, if one is not UTF-8."""
    fields = urlencoded_fields(request.scope["query_string"])
    if not fields:
        return
    declared = get_flat_params(request.scope["route"].dependant)
    known = {each.alias for each in declared if not isinstance(each.field_info, Path | Header)}
    invalid = []
    for name, count in Counter(name for name, _ in fields).items():
        if name not in known:
            invalid.append(unknown_field(name[:64], sorted(known)))
        elif count > 1:
            invalid.append(FieldError(name, "sent twice; send it once"))
    if invalid:
        raise InvalidRequest("A query parameter is unknown or was repeated.", errors=invalid)


EXAMPLED = frozenset({
    "submit_video", "submit_upload", "score_frames", "submit_capture", "queue_links", "get_capture",
    "get_job", "list_jobs", "list_cases", "get_case", "get_webhook_secret",
})  # fmt: skip
"""What a pipeline calls. Their answers have an example."""


def _example(schema: JsonSchemaValue, schemas: JsonSchemaValue) -> object:
    """Return an example of a schema, of the examples and limits that its types state."""
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if known := schema.get("examples") or schema.get("enum"):
        return known[0]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], schemas)
    kind = schema.get("type")
    if kind == "object":
        return {n: _example(each, schemas) for n, each in schema.get("properties", {}).items()}
    if kind == "array":
        return [
            _example(each, schemas) for each in schema.get("prefixItems", [schema.get("items")])
        ]
    return schema.get(
        "const", {"integer": 1, "number": 0.5, "boolean": True}.get(str(kind), "text")
    )


def _webhooks(schemas: JsonSchemaValue) -> Iterator[tuple[str, JsonSchemaValue]]:
    """Describe the events that are sent to callback URLs, each with its body."""
    accepted = {"204": {"description": "Any status from 200 to 299 accepts it."}}
    for event in get_args(Event):
        body = {"schema": TypeAdapter(event).json_schema(mode="serialization", ref_template=REF)}
        _name_schema(schemas, body)
        example = _example(body["schema"], schemas)
        assert isinstance(example, dict)
        for name in get_args(event.model_fields["type"].annotation):
            content = {**body, "example": {**example, "type": name}}
            sent = {"required": True, "content": {JSON: content}}
            yield (
                name,
                {"post": {"summary": event.__doc__, "requestBody": sent, "responses": accepted}},
            )


def _name_schema(schemas: JsonSchemaValue, content: JsonSchemaValue) -> None:
    """Move a schema that has a title to the components, with those that it names."""
    if title := content["schema"].get("title"):
        schemas.update(content["schema"].pop("$defs", {}))
        schemas[title] = content["schema"]
        content["schema"] = {"$ref": REF.format(model=title)}


def describe(app: FastAPI) -> None:
    """Complete the description of ``app``: problems, names for bodies, webhooks and examples."""
    generate = app.openapi

    def openapi() -> JsonSchemaValue:
        api = generate()
        schemas = api["components"]["schemas"]
        problem = ProblemOut.model_json_schema(ref_template=REF)
        schemas.update({**problem.pop("$defs"), ProblemOut.__name__: problem})
        schemas.update(VideoForm.model_json_schema()["$defs"])
        for schema in schemas.values():
            for field in schema.get("properties", {}).values():
                if "description" in field:  # which may have the line breaks of the source
                    field["description"] = " ".join(field["description"].split())
        for methods in api["paths"].values():
            for operation in methods.values():
                for parameter in operation.get("parameters", ()):
                    for told in (parameter, parameter["schema"]):
                        told["description"] = " ".join(parameter["description"].split())
                for content in operation.get("requestBody", {}).get("content", {}).values():
                    _name_schema(schemas, content)
                if operation["operationId"] in EXAMPLED:
                    for status in {"200", "202"} & set(operation["responses"]):
                        content = operation["responses"][status]["content"][JSON]
                        content["example"] = _example(content["schema"], schemas)
        api["webhooks"] = dict(_webhooks(schemas))
        return api

    app.openapi = openapi  # type: ignore[method-assign]
