"""Whatever answers with content of a case leaves an entry in the audit log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pyrage
import pytest
from sqlalchemy import func, select

from deepfake_models.media.decoder import InProcessDecoder
from deepfake_service.accounts.read_audit import WINDOW
from deepfake_service.audit.log import Action
from deepfake_service.capture.readers import CaptureReaders
from deepfake_service.platform.db import AuditEntry
from deepfake_service.platform.enums import Role
from tests.support import archives, exhibits
from tests.support.answers import authenticates, browse, routes_of
from tests.support.captures import hand_in, work
from tests.support.jobs import examined, headers, submit
from tests.support.notices import GOOD
from tests.unit.service.conftest import Service, Starter

pytest.importorskip("warcio", reason="warcio writes the WARC file of these tests")
# warcio leaves temporary files open.
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)

SECRET = "only-in-the-content"
"""In every text of the case."""
URL = f"https://example.org/{SECRET}"
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(100)

WITHOUT_CONTENT = {
    "GET /v1/jobs/{job_id}/events": "states, verdict codes, digests and times",
    "GET /v1/jobs/{job_id}/evidence/editions": "numbers, digests and times",
    "GET /v1/statistics/removals": "counts, of platforms with five posts or more",
    "GET /v1/statistics/removals.csv": "the same",
    "GET /v1/notices": "the kinds of notices",
    "GET /v1/organisation": "the organisation",
    "GET /v1/webhook-secret": "a secret of the account that asks",
    "GET /v1/revocations": "public",
    "GET /.well-known/jwks.json": "public",
    "GET /healthz": "public",
    "GET /readyz": "public",
    "GET /metrics": "counts",
}
"""Answers that have nothing of a case, with what they have instead."""
ABOUT_THE_REQUEST = {
    "POST /v1/frames": "verdicts on the pictures that were sent",
    "POST /v1/verify": "the result for the bundle that was sent",
    "POST /v1/uploads/{token}/job": "the answer of POST /v1/videos",
    "POST /v1/jobs/{job_id}/webhooks": "states of webhooks, which the reader has or had",
    "POST /v1/captures/{capture_id}/webhooks": "the same",
    "DELETE /v1/links": "a count; each link that is cancelled has an entry",
    "PUT /v1/organisation": "the organisation that was sent; the change has an entry",
}
PAGES_WITHOUT_CONTENT = {
    "GET /items/{job_id}/progress": "as the events of the job",
    "GET /items/{job_id}/next": "the address of another page",
    "GET /submit": "a form",
    "GET /account": "the account that asks",
    "GET /admin": "accounts and keys",
    "GET /admin/model-card": "the model",
    "GET /admin/organisation": "the organisation",
}
AS = {
    "GET /v1/audit": Role.AUDITOR, "GET /audit": Role.AUDITOR, "GET /admin": Role.ADMIN,
    "GET /admin/model-card": Role.ADMIN, "GET /admin/organisation": Role.ADMIN,
    "GET /submit/jobs": Role.PIPELINE,
}  # fmt: skip
"""Who reads, if that is not an analyst of another account than the case's."""


async def filled(service: Service, readers: CaptureReaders) -> dict[str, str]:
    """Make a case that has one of everything; return the values of the parameters of paths."""
    where = {"case_reference": SECRET, "source_url": URL, "note": SECRET}
    job = await examined(service, exhibits.video(), **where)
    review = {"decision": "confirmed", "reason": SECRET}
    answer = await service.client.post(
        f"/v1/jobs/{job['id']}/reviews", json=review, headers=headers(service, Role.ANALYST)
    )
    assert answer.status_code == 201, answer.text
    case = f"/v1/cases/{job['case_id']}"
    seen = await service.client.post(
        f"{case}/occurrences",
        files={
            "source_url": (None, URL + "/2"), "account": (None, SECRET),
            "screenshot": ("s.png", PICTURE),
        },
    )  # fmt: skip
    assert seen.status_code == 201, seen.text
    notice = await service.client.post(f"{case}/notices", json=notice_about(seen.json()["id"]))
    assert notice.status_code == 201, notice.text
    overdue = service.clock() - timedelta(hours=60)
    sent = {"sent_at": overdue.isoformat(), "sent_reason": SECRET}
    path = f"/v1/notices/{notice.json()['id']}"
    assert (await service.client.patch(path, json=sent)).status_code == 200
    looks = f"{case}/occurrences/{seen.json()['id']}/looks"
    look = await service.client.post(
        looks,
        files={"result": (None, "gone"), "note": (None, SECRET), "screenshot": ("a", PICTURE)},
    )
    assert look.status_code == 201, look.text
    capture = await hand_in(
        service, archives.wacz(archives.page().content()), role=Role.PIPELINE, note=SECRET,
        case_id=job["case_id"], case_reference="",
    )  # fmt: skip
    assert capture.status_code == 202, capture.text
    await work(service, readers)
    choice = capture.headers["Location"] + "/examinations"
    answer = await service.client.post(choice, json={"media": [1]})
    assert answer.status_code == 202, answer.text
    return {
        "case_id": job["case_id"], "job_id": job["id"], "media_id": job["media_id"],
        "occurrence_id": seen.json()["id"], "post_id": seen.json()["id"],
        "look_id": look.json()["looks"][0]["id"], "notice_id": notice.json()["id"],
        "capture_id": capture.json()["id"], "number": "1", "kind_name": "us-take-it-down",
    }  # fmt: skip


def notice_about(occurrence_id: str) -> dict[str, Any]:
    return {
        "kind": "us-take-it-down", "language": "en", "occurrence_ids": [occurrence_id],
        "fields": GOOD["us-take-it-down"], "recipient": SECRET,
    }  # fmt: skip


def requests_of(ids: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Return what routes need besides the parameters of their path."""
    recipient = {"recipient": str(pyrage.x25519.Identity.generate().to_public())}
    same_post = {
        "source_url": (None, URL + "/2"), "account": (None, SECRET),
        "media_id": (None, ids["media_id"]),  # not the one that is examined again
    }  # fmt: skip
    asked = {
        "content": b"--b--\r\n",
        "headers": {"Content-Type": "multipart/form-data; boundary=b"},
    }
    return {
        "GET /v1/captures": {"params": {"case_id": ids["case_id"]}},
        "GET /reviews": {"params": {"job": ids["job_id"]}},
        "GET /submit/jobs": {"params": {"job": ids["job_id"]}},
        "GET /": {"params": {"tab": "all"}},
        "POST /v1/videos": {"files": {"file": ("v.mp4", exhibits.video())}},
        "POST /v1/cases": {"json": {"case_reference": SECRET}},
        "POST /v1/cases/{case_id}/occurrences": {"files": same_post},
        "POST /v1/cases/{case_id}/occurrences/{occurrence_id}/looks": asked,
        "POST /v1/cases/{case_id}/media/{media_id}/export": {"json": recipient},
        "POST /v1/cases/{case_id}/notices": {"json": notice_about(ids["occurrence_id"])},
        "PATCH /v1/notices/{notice_id}": {"json": {"receipt": "7"}},
        "POST /v1/jobs/{job_id}/examinations": {"json": {"frames": 60}},
        "POST /v1/jobs/{job_id}/reviews": {"json": {"decision": "confirmed", "reason": "Yes."}},
        "POST /v1/captures": {"files": {"screenshots": ("s.png", PICTURE)}},
        "POST /v1/links": {"json": {"urls": [{"url": "https://a.example/1"}]}},
        "POST /v1/captures/{capture_id}/examinations": {"json": {"media": [1]}},
        "POST /v1/webhook-secret": {},
    }  # fmt: skip


class Reader:
    """Calls routes as if ten minutes had passed since the call before."""

    def __init__(self, service: Service, ids: dict[str, str]) -> None:
        self._service, self._ids = service, ids
        self._requests = requests_of(ids)

    async def read(self, name: str) -> tuple[httpx.Response, int]:
        """Call a route; return its answer and how many entries there are for it."""
        service, (method, path) = self._service, name.split(" ")
        role = AS.get(name, Role.ANALYST)
        asked = {"headers": {}, **self._requests.get(name, {})}
        service.clock.advance(WINDOW * 1.01)
        if path.startswith(("/v1/", "/.well-known", "/healthz", "/readyz", "/metrics")):
            asked["headers"] = {**headers(service, role), **asked["headers"]}
        else:
            await browse(service, role)
        key = service.accounts.authenticate(service.keys[role]).key_id
        path = re.sub(r"\{(\w+)\}", lambda part: self._ids[part[1]], path)
        before = self._entries(key)
        answer = await service.client.request(method, path, **asked)
        return answer, self._entries(key) - before

    def _entries(self, key: str | None) -> int:
        with self._service.database.read() as session:
            counted = select(func.count()).where(AuditEntry.key_id == key)
            return session.scalar(counted) or 0


def answering(description: dict[str, Any]) -> Iterator[str]:
    """Yield the operations of the API whose answers have a body."""
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            statuses = operation["responses"].items()
            has_body = any(code[0] == "2" and "content" in answer for code, answer in statuses)
            if has_body and method != "head":
                yield f"{method.upper()} {path}"


async def test_every_route_that_answers_with_content_is_audited(
    start: Starter, readers: CaptureReaders
) -> None:
    """A new route needs an entry, or a place in one of the lists with what it answers with.

    One that takes more than the parameters of its path also needs a line in ``requests_of``.
    """
    async with start(looks_from="KR", capture_links=True) as service:
        services = service.app.state.shared.services
        services.media_viewer = replace(services.media_viewer, decoder=InProcessDecoder())
        names = list(answering(service.app.openapi()))
        assert set(names) >= {*WITHOUT_CONTENT, *ABOUT_THE_REQUEST}
        await check(service, readers, names, WITHOUT_CONTENT)
        with service.database.read() as session:
            asked = select(func.count()).where(AuditEntry.action == Action.LOOK_ASKED)
            assert session.scalar(asked) == 1


async def test_every_page_that_shows_content_is_audited(
    service: Service, readers: CaptureReaders
) -> None:
    names = [
        name
        for name, dependant in routes_of(service.app)
        if name.startswith("GET ") and not name.startswith("GET /v1/") and authenticates(dependant)
    ]
    assert set(names) >= set(PAGES_WITHOUT_CONTENT)
    await check(service, readers, names, PAGES_WITHOUT_CONTENT)


async def check(
    service: Service, readers: CaptureReaders, names: list[str], without_content: dict[str, str]
) -> None:
    reader = Reader(service, await filled(service, readers))
    # Those that change something come last.
    for name in sorted(names, key=lambda each: not each.startswith("GET ")):
        if name in ABOUT_THE_REQUEST:
            continue
        answer, entries = await reader.read(name)
        if name in without_content:
            assert answer.status_code in (200, 303), f"{name}: {answer.text}"
            assert SECRET not in answer.text, name
        else:
            assert answer.is_success, f"{name}: {answer.text}"
            assert entries, f"{name} answered without an entry in the audit log"


async def test_the_pages_of_a_list_are_one_entry(service: Service) -> None:
    job = await submit(service)
    path = f"/v1/cases/{job['case_id']}"
    for address in (f"{path}/occurrences", f"{path}/notices", f"{path}/occurrences", path):
        await service.client.get(address, headers=headers(service, Role.ANALYST))
    with service.database.read() as session:
        read = select(AuditEntry.subject).where(AuditEntry.action == Action.CASE_READ)
        assert session.scalars(read).all() == [job["case_id"]]


async def test_a_list_of_results_does_not_hide_the_list_of_cases(service: Service) -> None:
    await examined(service, exhibits.video())
    for path in ("/v1/jobs", "/v1/cases", "/v1/jobs", "/v1/cases"):
        await service.client.get(path, headers=headers(service, Role.ANALYST))
    with service.database.read() as session:
        read = select(AuditEntry.action).where(AuditEntry.detail == "list")
        assert sorted(session.scalars(read)) == ["case.read", "result.read"]
