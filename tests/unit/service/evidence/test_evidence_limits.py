"""Evidence is bounded: its occurrences, decisions, callbacks and chain of custody, and its size."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.cases.cases import MAX_OCCURRENCES
from deepfake_service.evidence.bundle.builder import CUSTODY
from deepfake_service.evidence.bundle.steps import ExitCode
from deepfake_service.evidence.bundle.trust_store import Trust
from deepfake_service.evidence.bundle.verification import verify
from deepfake_service.evidence.bundle.zip_format import MAX_BYTES, MAX_JSON_BYTES, member
from deepfake_service.evidence.chain_of_custody import (
    MAX_OF_AN_ACTION,
    custody_of,
)
from deepfake_service.examination.webhook_deliveries import MAX_CALLBACKS
from deepfake_service.platform.db import AuditEntry, Case, Job, Media, new_id
from deepfake_service.platform.enums import Role
from deepfake_service.review.reviews import MAX_REVIEWS
from tests.support import exhibits
from tests.support.answers import check_problem
from tests.support.jobs import decide, evidence, examined, headers, submit
from tests.unit.service.conftest import Service


async def test_h9_occurrences_of_a_medium_are_limited(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.cases.cases.MAX_OCCURRENCES", 3)
    job = await submit(service, exhibits.video(), source_url="https://example.org/0")
    path = f"/v1/cases/{job['case_id']}/occurrences"
    for number in (1, 2):
        url = f"https://example.org/{number}"
        added = await service.client.post(path, files={"source_url": (None, url)})
        assert added.status_code == 201
    more = {"source_url": (None, "https://example.org/3")}
    assert (await service.client.post(path, files=more)).status_code == 409
    refused = await service.client.post(
        "/v1/videos",
        files={"file": ("v.mp4", exhibits.video())},
        data={"source_url": "https://example.org/3"},
    )
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":too_many_occurrences")
    # What is known already is not refused.
    await submit(service, exhibits.video(), source_url="https://example.org/1")


async def test_a_bundle_that_an_account_may_never_hold_in_memory_is_too_large(
    start: Any,
) -> None:
    async with start(max_buffered_bytes=1 << 20) as service:
        analyst = headers(service, Role.ANALYST)
        fits, exceeds = bytes(1 << 20), bytes((1 << 20) + 1)
        answer = await service.client.post("/v1/verify", content=fits, headers=analyst)
        assert (answer.status_code, answer.json()["result"]) == (200, "failed")
        answer = await service.client.post("/v1/verify", content=exceeds, headers=analyst)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "The body may have at most 1048576 bytes."


async def test_a_bundle_that_is_issued_can_be_verified_here(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    analyst = headers(service, Role.ANALYST)
    large = bytes(64 * 1024 * 1024 + 1)  # more than one of its files may have
    answer = await service.client.post("/v1/verify", content=large, headers=analyst)
    assert (answer.status_code, answer.json()["result"]) == (200, "failed")
    declared = {**analyst, "Content-Length": str(MAX_BYTES + 1)}
    answer = await service.client.post("/v1/verify", content=b"x", headers=declared)
    assert answer.status_code == 413
    job = await examined(service, exhibits.video())
    monkeypatch.setattr("deepfake_service.evidence.bundle.zip_format.MAX_BYTES", 10_000)
    refused = await evidence(service, job)
    assert refused.json()["type"].endswith(":evidence_too_large")


async def test_a_body_that_is_no_bundle_is_refused_rather_than_called_altered(
    service: Service,
) -> None:
    analyst = headers(service, Role.ANALYST)
    content = await evidence(service, await examined(service, exhibits.video()))

    async def send(**body: Any) -> Any:
        return await service.client.post("/v1/verify", **body)

    form = await send(files={"file": ("evidence.zip", content.content)}, headers=analyst)
    refused = check_problem(form, 415, "unsupported_content_type")
    assert "--data-binary @evidence.zip" in refused["detail"]
    packed = {**analyst, "Content-Encoding": "gzip"}
    answer = await send(content=gzip.compress(content.content), headers=packed)
    check_problem(answer, 415, "unsupported_content_type")
    check_problem(await send(content=b"", headers=analyst), 400, "malformed_request")
    # The first is what curl --data-binary says.
    for kind in ("application/x-www-form-urlencoded", "application/zip"):
        answer = await send(content=content.content, headers={**analyst, "Content-Type": kind})
        assert (answer.status_code, answer.json()["result"]) == (200, "verified")


async def test_h9_decisions_of_an_account_are_limited(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.review.reviews.MAX_REVIEWS", 2)
    reviews = service.app.state.shared.services.reviews
    monkeypatch.setattr(reviews, "_create_edition", lambda *_: None)
    job = await examined(service, exhibits.video())
    for _ in range(2):
        assert (await decide(service, job, "rejected")).status_code == 201
    refused = await decide(service, job, "rejected")
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":too_many_reviews")


async def test_h9_reads_do_not_make_the_chain_of_custody_too_large(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.evidence.chain_of_custody.MAX_OF_AN_ACTION", 3)
    job = await submit(service, exhibits.video())
    with service.database.write() as session:
        for number in range(9):
            append_entry(session, SERVICE, Action.EVIDENCE_READ, job["id"], str(number))
        row = session.get_one(Job, job["id"])
        custody = custody_of(
            session, row, session.get_one(Media, row.media_id), session.get_one(Case, row.case_id)
        )
    actions = [(e.action, e.detail) for e in custody.entries]
    assert actions == [
        ("media.submitted", None), *(("evidence.read", n) for n in "678"),
    ]  # fmt: skip


async def test_reads_do_not_push_exports_and_holds_out_of_the_chain_of_custody(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of reads of the evidence hid an export from the next edition, which did not say
    that anything was left out."""
    monkeypatch.setattr("deepfake_service.evidence.chain_of_custody.MAX_OF_AN_ACTION", 3)
    job = await examined(service, exhibits.video())
    kept = [
        (Action.MEDIA_EXPORTED, job["media_id"]),
        (Action.HOLD_SET, job["case_id"]),
        (Action.HOLD_LIFTED, job["case_id"]),
    ]
    with service.database.write() as session:
        for action, subject in kept:
            append_entry(session, SERVICE, action, subject)
        for number in range(9):
            append_entry(session, SERVICE, Action.EVIDENCE_READ, job["id"], str(number))
        read = select(AuditEntry.hash).where(AuditEntry.action == Action.EVIDENCE_READ)
        hashes = session.scalars(read.order_by(AuditEntry.number)).all()[:6]
    bundle = (await evidence(service, job)).content
    custody = json.loads(member(bundle, CUSTODY))
    assert custody["omitted"] == {
        "count": 6,
        "actions": {"evidence.read": 6},
        "sha256": hashlib.sha256("".join(f"{h}\n" for h in hashes).encode()).hexdigest(),
    }
    assert {(e["action"], e["subject"]) for e in custody["entries"]} >= set(kept)
    published = service.app.state.shared.services.evidence_store.keys.published()
    verified = await asyncio.to_thread(verify, bundle, Trust(tuple(published)))
    assert verified.exit_code is ExitCode.VERIFIED


async def test_h9_posts_of_other_files_are_not_in_the_chain_of_custody(service: Service) -> None:
    job = await submit(service, exhibits.video(), case_reference="R", note="1")
    other = await service.client.post(
        "/v1/videos",
        files={"file": ("v", exhibits.video() + b"x")},
        data={"case_reference": "R", "note": "2"},
    )
    assert other.json()["case_id"] == job["case_id"]
    for media_id in (job["media_id"], other.json()["media_id"], other.json()["media_id"]):
        fields = {"note": (None, new_id()), "media_id": (None, media_id)}
        path = f"/v1/cases/{job['case_id']}/occurrences"
        assert (await service.client.post(path, files=fields)).status_code == 201
    with service.database.read() as session:
        row = session.get_one(Job, job["id"])
        custody = custody_of(
            session, row, session.get_one(Media, row.media_id), session.get_one(Case, row.case_id)
        )
    actions = [e.action for e in custody.entries]
    assert actions == ["media.submitted", "occurrence.added"]


async def test_m4_callbacks_of_a_job_are_limited(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.platform.outbound.check", lambda *_, **__: None)
    urls = [f"https://example.org/hook/{n}" for n in range(MAX_CALLBACKS + 1)]
    for url in urls[:-1]:
        await submit(service, exhibits.video(), callback_url=url)
    refused = await service.client.post(
        "/v1/videos", files={"file": ("v", exhibits.video())}, data={"callback_url": urls[-1]}
    )
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":too_many_callbacks")
    await submit(service, exhibits.video(), callback_url=urls[0])


def test_evidence_holds_as_much_as_the_limits_allow() -> None:
    """At every limit, the records take less than a verifier reads."""
    assert MAX_OCCURRENCES * 18_000 + 2 * MAX_REVIEWS * 12_000 < 16 * 1024 * 1024
    assert len(Action) * MAX_OF_AN_ACTION * 400 < MAX_JSON_BYTES
