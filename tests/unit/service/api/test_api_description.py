"""What the API's description promises, and that requests which it does not describe are refused."""

from __future__ import annotations

import gzip
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from fastapi.routing import APIRoute

from deepfake_service.app import api_description
from deepfake_service.notices.kinds import KINDS
from deepfake_service.platform.enums import Role
from deepfake_service.platform.findings import Finding
from tests.support.answers import check_problem
from tests.support.documents import DOCS, ROOT
from tests.support.jobs import headers
from tests.unit.service.conftest import Service


@pytest.mark.parametrize(
    ("path", "name", "detail"),
    [
        ("/v1/jobs?case_reference_=X", "case_reference_", "unknown; use one of"),
        ("/v1/cases?stat=queued&limit=1", "stat", "unknown; use one of"),
        ("/v1/jobs?state=queued&state=failed", "state", "sent twice; send it once"),
        ("/v1/jobs/x?lang=ko", "lang", "unknown; leave it out"),
        ("/v1/revocations?since=1", "since", "unknown; leave it out"),
    ],
)
async def test_a_query_parameter_that_is_not_described_is_refused(
    service: Service, path: str, name: str, detail: str
) -> None:
    answer = await service.client.get(path)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == name
    assert error["detail"].startswith(detail)


A_TIME = "must be a time with its zone, such as 2026-01-31T12:00:00Z (in a URL, + is %2B)"


WRONG: list[tuple[str, dict[str, str]]] = [
    ("jobs?limit=x", {"limit": "must be a whole number"}),
    ("jobs?limit=0", {"limit": "must be 1 or more"}),
    ("jobs?limit=999", {"limit": "must be 200 or less"}),
    ("jobs?created_after=today&created_before=2026-01-01",
     dict.fromkeys(("created_after", "created_before"), A_TIME)),
    ("statistics/removals?start=2026-02-30", {"start": "must be a date such as 2026-01-31"}),
    ("statistics/removals?start=1767225600", {"start": "must be a date such as 2026-01-31"}),
    ("statistics/removals?start=0001-01-01&end=9999-12-31",
     {"start": "must be 1970-01-01 or more", "end": "must be 9000-12-31 or less"}),
    ("jobs?created_after=1767225600", {"created_after": A_TIME}),
    ("jobs?created_after=2026-01-31T21:00+09:00", {"created_after": A_TIME}),
    ("jobs?reviewers_disagree=perhaps", {"reviewers_disagree": "must be true or false"}),
    ("jobs?sha256=x", {"sha256": "must match the pattern ^[0-9a-fA-F]{64}$"}),
    ("jobs?finding=x", {"finding": f"use one of {', '.join(Finding)}, none"}),
    ("jobs/x/report.pdf?lang=fr&edition=0",
     {"lang": "use one of ko, en", "edition": "must be 1 or more"}),
]  # fmt: skip


async def test_what_is_wrong_is_said_once_with_what_would_be_right(service: Service) -> None:
    for path, said in WRONG:
        problem = check_problem(await service.client.get(f"/v1/{path}"), 422, "invalid_request")
        assert [(e["field"], e["detail"]) for e in problem["errors"]] == list(said.items())
        whole = " ".join(f'The field "{name}": {detail}.' for name, detail in said.items())
        assert problem["detail"] == whole
        korean = await service.client.get(f"/v1/{path}", headers={"Accept-Language": "ko"})
        for error in korean.json()["errors"]:
            assert re.search("[가-힣]", error["detail"]), error


async def test_a_body_of_another_form_is_told_in_sentences_too(service: Service) -> None:
    wrong: Any = {"kind": "x", "occurrence_ids": "x", "fields": [], "language": 1, "more": 1}
    for body, said in (
        ([], ["must be a JSON object"]),
        (
            wrong,
            [
                f"use one of {', '.join(KINDS)}",
                "use one of ko, en",
                "must be a list",
                "must be a JSON object",
                "unknown; use one of kind, language, occurrence_ids, fields, recipient, captures, "
                "reports, review_reasons, without_consent",
            ],
        ),
        ({"kind": "kr-d4u", "fields": {}, "recipient": 1}, ["missing; add it", "must be text"]),
    ):
        answer = await service.client.post("/v1/cases/x/notices", json=body)
        assert [e["detail"] for e in answer.json()["errors"]] == said
    answer = await service.client.patch("/v1/notices/x", json={"sent_at": 1767225600})
    (error,) = answer.json()["errors"]
    assert error["detail"] == A_TIME
    korean = {"Accept-Language": "ko"}
    answer = await service.client.post("/v1/cases", json={"reference": "A-1"}, headers=korean)
    (error,) = answer.json()["errors"]
    assert error["detail"] == "없는 항목입니다. 다음 중에서 쓰십시오: case_reference"
    answer = await service.client.post("/v1/links", json={"urls": []})
    assert [e["detail"] for e in answer.json()["errors"]] == ["too few; send 1 or more"]


async def test_white_space_is_no_reason_for_a_decision(service: Service) -> None:
    answer = await service.client.post(
        "/v1/jobs/x/reviews",
        json={"decision": "confirmed", "reason": " \n"},
        headers=headers(service, Role.ANALYST),
    )
    problem = check_problem(answer, 422, "invalid_request")
    assert problem["errors"] == [{"field": "reason", "detail": "write why, or choose a sign"}]


async def test_the_note_of_a_link_is_as_printable_as_others(service: Service) -> None:
    link = {"url": "https://example.org/v/1", "note": "a\u202eb"}
    answer = await service.client.post("/v1/links", json={"urls": [link]})
    problem = check_problem(answer, 422, "invalid_request")
    assert problem["errors"][0]["field"] == "urls.0.note"


async def test_an_unknown_parameter_deletes_nothing(service: Service) -> None:
    opened = (await service.client.post("/v1/cases", json={"case_reference": "A-1"})).json()
    address = f"/v1/cases/{opened['id']}"
    assert (await service.client.delete(f"{address}?dry_run=1")).status_code == 422
    assert (await service.client.get(address)).status_code == 200
    assert (await service.client.delete(address)).status_code == 204


async def test_json_that_cannot_be_read_and_fields_that_are_wrong_are_told_apart(
    service: Service,
) -> None:
    kind = {"Content-Type": "application/json"}
    zipped = {**kind, "Content-Encoding": "gzip"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, sent, status, code, said in (
        (b'{"case_ref', kind, 400, "malformed_request", "character 1, from 0"),
        (b'{"case_reference": "\xff"}', kind, 400, "malformed_request", "byte 20"),
        (b"[" * 200_000, kind, 400, "malformed_request", "nested too deeply"),
        (b'{"case_reference": "A-1"}', form, 415, "unsupported_content_type", "application/json"),
        (gzip.compress(b"{}"), zipped, 415, "unsupported_content_type", "Content-Encoding"),
    ):
        answer = await service.client.post("/v1/cases", content=body, headers=sent)
        assert said in check_problem(answer, status, code)["detail"]
    answer = await service.client.post("/v1/cases", json={"case_referenc": "A-1"})
    assert 'The field "case_referenc' in check_problem(answer, 422, "invalid_request")["detail"]
    text = {"Content-Type": "text/plain"}
    answer = await service.client.post("/v1/videos", content=b"x", headers=text)
    assert "multipart" in check_problem(answer, 415, "unsupported_content_type")["detail"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/cases", '{"case_reference": "A-1", "case_reference": "A-2"}', "case_reference"),
        ("/v1/links", '{"urls": [{"url": "https://a.example", "url": "https://b.example"}]}',
         "url"),
    ],
)  # fmt: skip
async def test_a_field_of_a_body_that_is_there_twice_is_refused(
    service: Service, path: str, body: str, field: str
) -> None:
    kind = {"Content-Type": "application/json"}
    answer = await service.client.post(path, content=body, headers=kind)
    problem = check_problem(answer, 422, "invalid_request")
    assert problem["errors"] == [{"field": field, "detail": "sent twice; send it once"}]


async def test_every_method_of_an_address_is_allowed(service: Service) -> None:
    answer = await service.client.put("/v1/jobs/x")
    problem = check_problem(answer, 405, "method_not_allowed")
    assert problem["detail"] == "This address supports DELETE, GET only."
    assert answer.headers["allow"] == "DELETE, GET"


async def test_a_browser_gets_a_page_for_an_address_that_does_not_exist(service: Service) -> None:
    page = {"Accept": "text/html,application/xhtml+xml", "Accept-Language": "ko"}
    answer = await service.client.get("/administration", headers=page)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert 'lang="ko"' in answer.text
    for address, sent in (("/v1/administration", page), ("/administration", {})):
        answer = await service.client.get(address, headers=sent)
        check_problem(answer, 404, "not_found")


@pytest.fixture(scope="module")
def api() -> dict[str, Any]:
    return api_description()


def _operations(api: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_the_committed_description_is_that_of_the_api(api: dict[str, Any]) -> None:
    committed = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    described = {**api, "info": {**api["info"], "version": project["version"]}}
    assert committed == described, "run `make openapi`"


BODIES = {
    "application/json": "application/json",
    "multipart/form-data": "multipart/form-data; boundary=x",
    "application/octet-stream": "application/octet-stream",
    "application/x-www-form-urlencoded": "application/x-www-form-urlencoded",
    "text/csv": "text/csv",
}
"""Media types of bodies, as they are sent."""


async def test_every_body_that_is_accepted_is_described_and_no_other(
    service: Service, api: dict[str, Any]
) -> None:
    for name, operation in _operations(api):
        if "requestBody" not in operation:
            continue
        described = set(operation["requestBody"]["content"])
        method, path = name.split()
        accepted = set()
        for kind, sent in BODIES.items():
            for role in (Role.PIPELINE, Role.ANALYST, Role.ADMIN):
                told = {**headers(service, role), "Content-Type": sent}
                address = re.sub(r"\{\w+\}", "x", path)
                answer = await service.client.request(method, address, content=b"x", headers=told)
                if answer.status_code != 403:
                    break
            if answer.status_code != 415:
                accepted.add(kind)
        if described & accepted == {"application/octet-stream"}:
            continue  # nothing but bytes, which may be called anything
        assert accepted == described & set(BODIES), name


async def test_every_route_with_a_body_is_described(service: Service, api: dict[str, Any]) -> None:
    described = {name for name, operation in _operations(api) if "requestBody" in operation}
    reads = {
        f"{method.lower()} {route.path}"
        for route in service.app.routes
        if isinstance(route, APIRoute) and route.path.startswith("/v1/")
        for method in route.methods
        if route.body_field or getattr(route.endpoint, "streams_body", False)
    }
    assert reads - described == {"patch /v1/uploads/{token}"}, "tus describes its own"
    assert described <= reads


def test_examples_of_answers_and_webhooks_are_such_as_are_sent(api: dict[str, Any]) -> None:
    answers = [a for _, operation in _operations(api) for a in operation["responses"].values()]
    events = [hook["post"]["requestBody"] for hook in api["webhooks"].values()]
    contents = [each.get("content", {}).get("application/json", {}) for each in answers + events]
    examples = [content for content in contents if "example" in content]
    assert len(examples) >= 10 + len(api["webhooks"])
    for content in examples:
        # Within the description, where references lead.
        jsonschema.Draft202012Validator(
            {**content["schema"], "components": api["components"]}
        ).validate(content["example"])
    assert set(api["webhooks"]) == {
        "job.succeeded", "job.failed", "job.expired", "capture.ended", "post.returned",
    }  # fmt: skip


def test_generated_clients_can_leave_out_a_body_that_is_optional(api: dict[str, Any]) -> None:
    for name, operation in _operations(api):
        body = operation.get("requestBody", {"required": True})
        if not body.get("required"):  # of one that may be null, they cannot leave out either
            assert "anyOf" not in body["content"]["application/json"]["schema"], name


def test_everything_in_the_description_is_described(api: dict[str, Any]) -> None:
    silent = []
    for name, schema in api["components"]["schemas"].items():
        if not schema.get("description") and schema.get("title") not in UPLOADS:
            silent.append(name)
        for field, described in schema.get("properties", {}).items():
            if not described.get("description"):
                silent.append(f"{name}.{field}")
    for name, operation in _operations(api):
        parameters = operation.get("parameters", [])
        silent += [f"{name} {p['name']}" for p in parameters if not p.get("description")]
        if not (operation.get("summary") and operation.get("description")):
            silent.append(name)
    assert silent == []


UPLOADS = ("PictureUpload", "VideoUpload", "OccurrenceUpload", "CaptureUpload", "LookUpload")


def test_times_are_marked_as_times_and_parameters_have_examples(api: dict[str, Any]) -> None:
    unmarked, without = [], []
    for name, schema in api["components"]["schemas"].items():
        for field, described in schema.get("properties", {}).items():
            forms = described.get("anyOf", [described])
            is_time = any(form.get("format") == "date-time" for form in forms)
            if field.endswith("_at") != is_time and field not in ("at", "timestamp", "undo_until"):
                unmarked.append(f"{name}.{field}")
    for name, operation in _operations(api):
        for parameter in operation.get("parameters", []):
            if parameter["name"] == "callback_url":
                continue  # who tries the page out would have it called
            schema = parameter["schema"]
            forms = schema.get("anyOf", [schema])
            told = any(f.get("enum") or "$ref" in f or "maximum" in f for f in forms)
            if not (told or "examples" in schema or "default" in schema):
                without.append(f"{name} {parameter['name']}")
    assert unmarked == []
    assert without == []


def test_operations_have_short_and_unique_names(api: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in _operations(api)]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and len(name) <= 24 for name in names)
    assert {"submit_video", "list_jobs", "get_job", "get_evidence"} <= set(names)


def test_every_operation_may_answer_with_a_problem(api: dict[str, Any]) -> None:
    for name, operation in _operations(api):
        answer = operation["responses"]["default"]
        assert list(answer["content"]) == ["application/problem+json"], name
        assert "Retry-After" in answer["headers"]


def test_generated_clients_read_files_as_bytes(api: dict[str, Any]) -> None:
    answers = [a for _, operation in _operations(api) for a in operation["responses"].values()]
    files = [a["content"] for a in answers if "application/octet-stream" in a.get("content", {})]
    assert len(files) > 10
    # What comes first is what they read, and text they would not read as bytes.
    assert {next(iter(content)) for content in files} == {"application/octet-stream"}
