"""Evidence through the store: bounded, and never older than the last decision."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from deepfake_service.app import DOCUMENTS_PER_ACCOUNT
from deepfake_service.casework import evidence_store as store_module
from deepfake_service.casework.core.cases import MAX_OCCURRENCES
from deepfake_service.casework.dossiers import (
    MAX_FLAGS_IN_CUSTODY,
    MAX_OTHERS_IN_CUSTODY,
    MAX_READS_IN_CUSTODY,
    custody_of,
)
from deepfake_service.casework.reviews import MAX_REVIEWS
from deepfake_service.casework.submissions import MAX_CALLBACKS
from deepfake_service.db import AuditEntry, Case, Edition, Job, Media, Occurrence, new_id
from deepfake_service.db.enums import Role
from deepfake_service.errors import EvidenceTooLarge
from deepfake_service.evidence.builder import CUSTODY, VERDICT, verdict_document
from deepfake_service.evidence.timestamps import TimestampFailed
from deepfake_service.evidence.verification import verify
from deepfake_service.evidence.verification_result import ExitCode, Trust
from deepfake_service.evidence.zip_format import MAX_BYTES, member
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import seal_json
from tests.support import evidencekit as kit
from tests.support import mediakit
from tests.support.jobkit import blobs, examined, headers

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any


async def submit(service: Service, **fields: str) -> dict[str, Any]:
    files = {"file": ("v.mp4", kit.video())}
    answer = await service.client.post("/v1/videos", files=files, data=fields)
    assert answer.status_code in (200, 202), answer.text
    job: dict[str, Any] = answer.json()
    return job


async def decide(service: Service, job: dict[str, Any], decision: str) -> httpx.Response:
    answer: httpx.Response = await service.client.post(
        f"/v1/jobs/{job['id']}/reviews",
        json={"decision": decision, "reason": "seen"},
        headers=headers(service, Role.ANALYST),
    )
    return answer


async def evidence(service: Service, job: dict[str, Any], query: str = "") -> httpx.Response:
    answer: httpx.Response = await service.client.get(f"/v1/jobs/{job['id']}/evidence{query}")
    return answer


def document(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    content: dict[str, Any] = json.loads(member(answer.content, VERDICT))
    return content


def flood(service: Service, job: dict[str, Any], count: int, **content: Any) -> None:
    """Record occurrences without a limit, as earlier versions did."""
    vault = service.app.state.shared.services.queries._vault
    with service.database.write() as session:
        key = vault.case_key(session.get_one(Case, job["case_id"]))
        for number in range(count):
            row = Occurrence(
                id=new_id(),
                case_id=job["case_id"],
                media_id=job["media_id"],
                digest=f"{number:064x}",
                created_at=service.clock(),
            )
            fields = {
                **dict.fromkeys(("source_url", "platform", "account", "captured_at", "note")),
                "case_reference": None, "tool": None, "collector": "a" * 26, "screenshot": False,
            }  # fmt: skip
            seal_json(key, row, {**fields, "note": f"{number} ", **content})
            session.add(row)


async def test_h9_occurrences_of_a_medium_are_limited(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.casework.core.cases.MAX_OCCURRENCES", 3)
    job = await submit(service, source_url="https://example.org/0")
    path = f"/v1/cases/{job['case_id']}/occurrences"
    for number in (1, 2):
        url = f"https://example.org/{number}"
        added = await service.client.post(path, files={"source_url": (None, url)})
        assert added.status_code == 201
    more = {"source_url": (None, "https://example.org/3")}
    assert (await service.client.post(path, files=more)).status_code == 409
    refused = await service.client.post(
        "/v1/videos",
        files={"file": ("v.mp4", kit.video())},
        data={"source_url": "https://example.org/3"},
    )
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":too_many_occurrences")
    # What is known already is not refused.
    await submit(service, source_url="https://example.org/1")


async def test_h9_flooded_occurrences_do_not_freeze_the_evidence(service: Service) -> None:
    job = await examined(service, kit.video())
    flood(service, job, MAX_OCCURRENCES + 40, note="x" * 2000)
    first = document(await evidence(service, job))
    assert len(first["occurrences"]) == MAX_OCCURRENCES
    assert first["occurrences_omitted"]["count"] == 41
    assert len(first["occurrences_omitted"]["sha256"]) == 64
    assert (await decide(service, job, "rejected")).status_code == 201
    assert document(await evidence(service, job))["finding"] == "rejected"


async def test_h9_an_edition_older_than_the_last_decision_is_not_the_newest(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, kit.video())
    assert (await decide(service, job, "confirmed")).status_code == 201
    assert document(await evidence(service, job))["finding"] == "confirmed"
    hold = f"/v1/cases/{job['case_id']}/hold"
    assert (await service.client.put(hold, headers=headers(service, Role.ANALYST))).is_success

    def too_large(*_: Any, **__: Any) -> bytes:
        raise EvidenceTooLarge

    with monkeypatch.context() as context:
        context.setattr(store_module, "build", too_large)
        assert (await decide(service, job, "rejected")).status_code == 201
        refused = await evidence(service, job)
        assert refused.status_code == 409
        assert refused.json()["type"].endswith(":evidence_too_large")
        report = await service.client.get(f"/v1/jobs/{job['id']}/report.pdf")
        assert report.status_code == 409
        # It is still there for who asks for it by its number.
        assert document(await evidence(service, job, "?edition=1"))["finding"] == "confirmed"
        services = service.app.state.shared.services
        services.reviews.catch_up()
        service.clock.advance(timedelta(hours=3))
        services.sweeps.sweep()
        services.orphans.delete()
    with service.database.read() as session:
        assert session.get_one(Job, job["id"]).evidence_expired_at is None
    face = f"/v1/jobs/{job['id']}/faces/1.png"
    assert (await service.client.get(face)).status_code == 200
    newest = document(await evidence(service, job))
    assert (newest["edition"], newest["finding"]) == (2, "rejected")


async def test_an_edition_that_is_built_while_the_evidence_expires_is_not_kept(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, kit.video())
    services, real = service.app.state.shared.services, store_module.build

    def build(*arguments: Any, **options: Any) -> bytes:
        built = real(*arguments, **options)
        with service.database.read() as session:
            row = session.get_one(Job, job["id"])
        services.retention.delete_evidence(row, expiring=True)
        return built

    monkeypatch.setattr(store_module, "build", build)
    answer = await evidence(service, job)
    assert answer.status_code == 409
    assert answer.json()["type"].endswith(":evidence_missing")
    with service.database.read() as session:
        assert session.get_one(Job, job["id"]).evidence_expired_at is not None
    assert [path.name for path in blobs(service)] == [job["media_id"]]


async def test_a_bundle_that_an_account_may_never_hold_in_memory_is_too_large(
    start: Any,
) -> None:
    limits = {"max_buffered_bytes": 2 << 20, "max_request_bytes": 1 << 20}
    async with start(**limits, max_picture_bytes=1 << 20) as service:
        analyst = headers(service, Role.ANALYST)
        fits, exceeds = bytes(1 << 20), bytes((1 << 20) + 1)
        answer = await service.client.post("/v1/verify", content=fits, headers=analyst)
        assert (answer.status_code, answer.json()["result"]) == (200, "failed")
        answer = await service.client.post("/v1/verify", content=exceeds, headers=analyst)
        assert answer.status_code == 413
        assert answer.json()["detail"] == "A bundle may have at most 1048576 bytes."


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
    job = await examined(service, kit.video())
    monkeypatch.setattr("deepfake_service.evidence.zip_format.MAX_BYTES", 10_000)
    refused = await evidence(service, job)
    assert refused.json()["type"].endswith(":evidence_too_large")


async def test_an_edition_that_the_store_does_not_have_any_more_is_missing(
    service: Service,
) -> None:
    job = await examined(service, kit.video())
    assert (await evidence(service, job)).status_code == 200
    with service.database.read() as session:
        edition = session.scalars(select(Edition).where(Edition.job_id == job["id"])).one()
    # As when it is deleted after its row was read.
    service.app.state.shared.services.queries._vault.blobs.delete(edition.blob)
    answer = await evidence(service, job)
    assert answer.status_code == 409, answer.text
    assert answer.json()["type"].endswith(":evidence_missing")
    await service.sign_in(Role.ADMIN)
    page = await service.client.get(f"/items/{job['id']}", headers={"Accept-Language": "en"})
    assert "This examination has no evidence." in page.text


async def test_a_flag_creates_the_editions_of_its_case_and_leaves_others_to_the_chore(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    portrait = mediakit.picture(mediakit.grace_hopper(), "PNG")
    flagged = await examined(service, kit.video(), case_reference="A")
    other = await examined(service, portrait, case_reference="B")
    services = service.app.state.shared.services
    for job in (flagged, other):
        assert document(await evidence(service, job))["edition"] == 1
    with monkeypatch.context() as context:
        context.setattr(services.reviews, "_create_edition", lambda *_: None)  # it stops here
        assert (await decide(service, other, "confirmed")).status_code == 201
    path = f"/v1/cases/{flagged['case_id']}/minor"
    answer = await service.client.put(path, headers=headers(service, Role.ANALYST))
    assert answer.status_code == 204
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])

    def editions(job: dict[str, Any]) -> list[int]:
        return [e["edition"] for e in services.evidence_store.editions(caller, job["id"])]

    assert (editions(flagged), editions(other)) == ([2, 1], [1])
    await asyncio.to_thread(services.reviews.catch_up)
    assert (editions(flagged), editions(other)) == ([2, 1], [2, 1])


async def test_h9_a_clock_that_was_set_back_does_not_make_an_old_edition_the_newest(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, kit.video())
    assert document(await evidence(service, job))["finding"] is None
    service.clock.jump(timedelta(days=-2))
    reviews = service.app.state.shared.services.reviews
    monkeypatch.setattr(reviews, "_create_edition", lambda *_: None)  # the process stops here
    assert (await decide(service, job, "rejected")).status_code == 201
    assert document(await evidence(service, job))["finding"] == "rejected"


async def test_h9_a_decision_made_while_an_edition_is_built_is_in_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, kit.video())
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    real = store_module.build

    def slow(*arguments: Any, **options: Any) -> bytes:
        monkeypatch.setattr(store_module, "build", real)
        services.reviews._create_edition = lambda *_: None
        services.reviews.decide(caller, job["id"], "rejected", "seen")
        return real(*arguments, **options)

    monkeypatch.setattr(store_module, "build", slow)
    answer = document(await evidence(service, job))
    assert (answer["edition"], answer["finding"]) == (1, "rejected")
    assert [r["decision"] for r in answer["reviews"]] == ["rejected"]


async def test_two_workers_that_conclude_a_job_create_one_first_edition(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module.EvidenceStore, "create_first", lambda *_: None)
    job = await examined(service, kit.video(), kit.video())
    monkeypatch.undo()
    store = service.app.state.shared.services.evidence_store
    real = store_module.build

    def overtaken(*arguments: Any, **options: Any) -> bytes:
        monkeypatch.setattr(store_module, "build", real)
        store.create_first(job["id"])  # by the other worker
        return real(*arguments, **options)

    monkeypatch.setattr(store_module, "build", overtaken)
    await asyncio.to_thread(store.create_first, job["id"])
    await asyncio.to_thread(store.create_first, job["id"])
    with service.database.read() as session:
        assert session.query(Edition).filter(Edition.job_id == job["id"]).count() == 1


async def test_editions_of_earlier_versions_are_compared_by_time(service: Service) -> None:
    job = await examined(service, kit.video())
    await decide(service, job, "confirmed")
    with service.database.write() as session:
        (edition,) = session.query(Edition).filter_by(job_id=job["id"])
        edition.reviews = None  # as after an upgrade
    assert document(await evidence(service, job))["edition"] == 1
    with service.database.write() as session:
        (edition,) = session.query(Edition).filter_by(job_id=job["id"])
        edition.created_at -= timedelta(days=1)
    assert document(await evidence(service, job))["edition"] == 2


async def test_h2_what_an_earlier_version_mixed_up_is_not_given_to_others(
    service: Service,
) -> None:
    job = await examined(service, kit.video(), case_reference="CASE-A", note="victim A")
    flood(service, job, 1, case_reference="CASE-B", note="victim B lives in Busan")
    answer = document(await evidence(service, job))
    assert [o["note"] for o in answer["occurrences"]] == ["victim A"]
    assert "Busan" not in json.dumps(answer)
    case = (await service.client.get(f"/v1/cases/{job['case_id']}")).json()
    assert len(case["occurrences"]) == 2  # nothing is lost
    foreign = next(o["id"] for o in case["occurrences"] if o["case_reference"] == "CASE-B")
    notice = {"kind": "eu-dsa-16", "language": "en", "occurrence_ids": [foreign], "fields": {}}
    refused = await service.client.post(f"/v1/cases/{job['case_id']}/notices", json=notice)
    assert refused.status_code == 422
    assert [e["field"] for e in refused.json()["errors"]] == ["occurrence_ids"]


async def test_h9_decisions_of_an_account_are_limited(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.casework.reviews.MAX_REVIEWS", 2)
    reviews = service.app.state.shared.services.reviews
    monkeypatch.setattr(reviews, "_create_edition", lambda *_: None)
    job = await examined(service, kit.video())
    for _ in range(2):
        assert (await decide(service, job, "rejected")).status_code == 201
    refused = await decide(service, job, "rejected")
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":too_many_reviews")


async def test_h9_reads_do_not_make_the_chain_of_custody_too_large(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.casework.dossiers.MAX_READS_IN_CUSTODY", 3)
    job = await submit(service)
    with service.database.write() as session:
        for number in range(9):
            append_entry(session, SERVICE, Action.EVIDENCE_READ, job["id"], str(number))
        row = session.get_one(Job, job["id"])
        custody = custody_of(
            session, row, session.get_one(Media, row.media_id), session.get_one(Case, row.case_id)
        )
    actions = [(e["action"], e["detail"]) for e in custody["entries"]]
    assert actions == [
        ("media.submitted", None), *(("evidence.read", n) for n in "678"),
    ]  # fmt: skip


async def test_reads_do_not_push_exports_and_holds_out_of_the_chain_of_custody(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of reads of the evidence hid an export from the next edition, which did not say
    that anything was left out."""
    monkeypatch.setattr("deepfake_service.casework.dossiers.MAX_READS_IN_CUSTODY", 3)
    job = await examined(service, kit.video())
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
    job = await submit(service, case_reference="R", note="1")
    other = await service.client.post(
        "/v1/videos",
        files={"file": ("v", kit.video() + b"x")},
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
    actions = [e["action"] for e in custody["entries"]]
    assert actions == ["media.submitted", "occurrence.added"]


async def test_m4_callbacks_of_a_job_are_limited(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.jobs.webhooks.check", lambda *_, **__: None)
    urls = [f"https://example.org/hook/{n}" for n in range(MAX_CALLBACKS + 1)]
    for url in urls[:-1]:
        await submit(service, callback_url=url)
    refused = await service.client.post(
        "/v1/videos", files={"file": ("v", kit.video())}, data={"callback_url": urls[-1]}
    )
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":too_many_callbacks")
    await submit(service, callback_url=urls[0])


async def test_a_slow_authority_does_not_take_the_threads_of_requests(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty requests of one account for copies waited in all of them for the authority."""
    job = await examined(service, kit.video())
    path = f"/v1/jobs/{job['id']}/report.pdf"
    assert (await service.client.get(path)).status_code == 200
    begun, go_on = threading.Semaphore(0), threading.Event()

    def post(_: bytes) -> bytes:
        begun.release()
        assert go_on.wait(60)
        raise TimestampFailed

    store = service.app.state.shared.services.evidence_store
    monkeypatch.setattr(store, "_stamps", {"post": post})
    copies = [
        asyncio.create_task(service.client.get(f"{path}?{query}"))
        for query in ("faces=false", "signature_line=true")
    ]
    assert len(copies) == DOCUMENTS_PER_ACCOUNT
    for _ in copies:
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    refused = await service.client.get(f"{path}?faces=false")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.json()["type"].endswith(":too_many_documents")
    assert (await service.client.get("/v1/notices/unknown/notice.pdf")).status_code == 429
    assert (await service.client.get(path)).status_code == 200, "it was made before"
    analyst = headers(service, Role.ANALYST)
    answer = await service.client.get("/v1/notices/unknown/notice.pdf", headers=analyst)
    assert answer.status_code == 404
    go_on.set()
    assert [(await task).status_code for task in copies] == [200, 200]
    assert (await service.client.get(f"{path}?faces=false")).status_code == 200


def test_evidence_holds_as_much_as_the_limits_allow() -> None:
    """At every limit, the records take less than a quarter of what a verifier reads."""
    assert MAX_OCCURRENCES * 18_000 + 2 * MAX_REVIEWS * 12_000 < 16 * 1024 * 1024
    assert MAX_OTHERS_IN_CUSTODY * 400 < 16 * 1024 * 1024
    custody = MAX_FLAGS_IN_CUSTODY + MAX_READS_IN_CUSTODY + MAX_OTHERS_IN_CUSTODY
    assert custody * 400 < 16 * 1024 * 1024


def test_evidence_without_omitted_occurrences_has_the_same_bytes_as_before() -> None:
    made = verdict_document(kit.dossier(kit.video()), kit.material(kit.video()))
    assert "occurrences_omitted" not in made


async def test_documents_that_a_browser_opens_cannot_act_on_the_console(service: Service) -> None:
    job = await examined(service, kit.video())
    assert (await evidence(service, job)).status_code == 200
    for name, expected in (("report.pdf", "script-src 'none'"), ("timeline.svg", "sandbox")):
        opened = await service.client.get(f"/v1/jobs/{job['id']}/{name}")
        assert opened.status_code == 200
        assert expected in opened.headers["Content-Security-Policy"]
