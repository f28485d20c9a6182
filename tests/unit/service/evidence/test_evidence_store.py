"""Evidence through the store: never older than the last decision, and of one medium alone."""

from __future__ import annotations

import asyncio
import functools
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.audit.log import SERVICE
from deepfake_service.evidence import store as store_module
from deepfake_service.http import admission
from deepfake_service.platform.db import Edition, Job
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import Code, EvidenceMissing, NotFound
from deepfake_service.platform.findings import Decision
from deepfake_service.platform.timestamps import TimestampFailed
from deepfake_service.retention.orphans import delete_orphans
from deepfake_service.review.reviews import Judgement
from tests.support import exhibits, footage
from tests.support.answers import check_problem
from tests.support.certificates import own_certificate
from tests.support.jobs import blobs, decide, document, evidence, examined, headers, post_video
from tests.unit.service.conftest import Service, Starter


async def test_h9_an_edition_older_than_the_last_decision_is_not_the_newest(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, exhibits.video())
    assert (await decide(service, job, "confirmed")).status_code == 201
    assert document(await evidence(service, job))["finding"] == "confirmed"
    hold = f"/v1/cases/{job['case_id']}/hold"
    assert (await service.client.put(hold, headers=headers(service, Role.ANALYST))).is_success

    def too_large(*_: Any, **__: Any) -> bytes:
        raise EvidenceMissing(code=Code.EVIDENCE_TOO_LARGE)

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
        delete_orphans(services.database, services.vault)
    with service.database.read() as session:
        assert session.get_one(Job, job["id"]).evidence_expired_at is None
    face = f"/v1/jobs/{job['id']}/faces/1.png"
    assert (await service.client.get(face)).status_code == 200
    newest = document(await evidence(service, job))
    assert (newest["edition"], newest["finding"]) == (2, "rejected")


async def test_an_edition_that_is_built_while_the_evidence_expires_is_not_kept(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, exhibits.video())
    services, real = service.app.state.shared.services, store_module.build

    def build(*arguments: Any, **options: Any) -> bytes:
        built = real(*arguments, **options)
        services.retention.delete_evidence(job["id"], select(Job.id))
        return built

    monkeypatch.setattr(store_module, "build", build)
    answer = await evidence(service, job)
    assert answer.status_code == 409
    assert answer.json()["type"].endswith(":evidence_missing")
    with service.database.read() as session:
        assert session.get_one(Job, job["id"]).evidence_expired_at is not None
    assert [path.name for path in blobs(service)] == [job["media_id"]]


@pytest.mark.parametrize("state", ["queued", "running", "failed", "expired"])
async def test_who_asks_for_evidence_too_early_is_told_to_ask_again(
    service: Service, state: str
) -> None:
    """A job that still runs was said to be "not completed", as one that has failed."""
    job = (await post_video(service, exhibits.video())).json()
    with service.database.write() as session:
        session.get_one(Job, job["id"]).state = state
    problem = check_problem(await evidence(service, job), 409, "evidence_missing")
    is_early = problem["detail"].startswith("There is no evidence yet.")
    assert is_early is (state in ("queued", "running"))


async def test_an_edition_that_the_store_does_not_have_any_more_is_missing(
    service: Service,
) -> None:
    job = await examined(service, exhibits.video())
    assert (await evidence(service, job)).status_code == 200
    with service.database.read() as session:
        edition = session.scalars(select(Edition).where(Edition.job_id == job["id"])).one()
    # As when it is deleted after its row was read.
    service.app.state.shared.services.vault.blobs.delete(edition.blob)
    answer = await evidence(service, job)
    assert answer.status_code == 409, answer.text
    assert answer.json()["type"].endswith(":evidence_missing")
    await service.sign_in(Role.ADMIN)
    page = await service.client.get(f"/items/{job['id']}", headers={"Accept-Language": "en"})
    assert "This examination has no evidence." in page.text


async def test_a_flag_creates_the_editions_of_its_case_and_leaves_others_to_the_chore(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    portrait = footage.picture(footage.grace_hopper(), "PNG")
    flagged = await examined(service, exhibits.video(), case_reference="A")
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
        return [e.edition for e in services.evidence_store.editions(caller, job["id"])]

    assert (editions(flagged), editions(other)) == ([2, 1], [1])
    await asyncio.to_thread(services.reviews.catch_up)
    assert (editions(flagged), editions(other)) == ([2, 1], [2, 1])


async def test_h9_a_clock_that_was_set_back_does_not_make_an_old_edition_the_newest(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, exhibits.video())
    assert document(await evidence(service, job))["finding"] is None
    service.clock.jump(timedelta(days=-2))
    reviews = service.app.state.shared.services.reviews
    monkeypatch.setattr(reviews, "_create_edition", lambda *_: None)  # the process stops here
    assert (await decide(service, job, "rejected")).status_code == 201
    assert document(await evidence(service, job))["finding"] == "rejected"


async def test_h9_a_decision_made_while_an_edition_is_built_is_in_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, exhibits.video())
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    real = store_module.build

    def slow(*arguments: Any, **options: Any) -> bytes:
        monkeypatch.setattr(store_module, "build", real)
        services.reviews._create_edition = lambda *_: None
        services.reviews.decide(
            caller, job["id"], Judgement(decision=Decision.REJECTED, reason="seen")
        )
        return real(*arguments, **options)

    monkeypatch.setattr(store_module, "build", slow)
    answer = document(await evidence(service, job))
    assert (answer["edition"], answer["finding"]) == (1, "rejected")
    assert [r["decision"] for r in answer["reviews"]] == ["rejected"]


async def test_two_workers_that_conclude_a_job_create_one_first_edition(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, exhibits.video(), exhibits.video())
    store = service.app.state.shared.services.evidence_store
    real = store_module.build
    first = functools.partial(store.issue, job["id"], SERVICE, only_first=True)

    def overtaken(*arguments: Any, **options: Any) -> bytes:
        monkeypatch.setattr(store_module, "build", real)
        first()  # by the other worker
        return real(*arguments, **options)

    monkeypatch.setattr(store_module, "build", overtaken)
    await asyncio.to_thread(first)
    await asyncio.to_thread(first)
    with service.database.read() as session:
        assert session.query(Edition).filter(Edition.job_id == job["id"]).count() == 1


async def test_an_edition_made_while_its_case_is_being_deleted_leaves_no_file(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await examined(service, exhibits.video())
    services = service.app.state.shared.services
    caller = service.accounts.authenticate(service.keys[Role.ADMIN])
    real, retention = store_module.build, services.retention
    monkeypatch.setattr(retention, "finish_shredding", lambda _: None)  # its rows are still there
    before = set(blobs(service))

    def deleted(*arguments: Any, **options: Any) -> bytes:
        retention.shred(job["case_id"], caller)
        return real(*arguments, **options)

    monkeypatch.setattr(store_module, "build", deleted)
    with pytest.raises(NotFound):
        await asyncio.to_thread(services.evidence_store.issue, job["id"], SERVICE)
    assert set(blobs(service)) == before


async def test_a_slow_authority_does_not_take_the_threads_of_requests(
    start: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty requests of one account for copies waited in all of them for the authority."""
    files = own_certificate(tmp_path, datetime.now(UTC))
    async with start(report_certificate=files[0], report_key=files[1]) as service:
        await check_slow_authority(service, monkeypatch)


async def check_slow_authority(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await examined(service, exhibits.video())
    path = f"/v1/jobs/{job['id']}/report.pdf"
    assert (await service.client.get(path)).status_code == 200
    begun, go_on = threading.Semaphore(0), threading.Event()

    def post(_: bytes) -> bytes:
        begun.release()
        assert go_on.wait(60)
        raise TimestampFailed

    store = service.app.state.shared.services.evidence_store
    monkeypatch.setattr(store.keys, "authority", post)
    monkeypatch.setattr(admission, "BUDGET", 2 * admission.HEAVY)
    copies = [
        asyncio.create_task(service.client.get(f"{path}?{query}"))
        for query in ("faces=false", "signature_line=true")
    ]
    for _ in copies:
        assert await asyncio.to_thread(begun.acquire, timeout=60)
    refused = await service.client.get(f"{path}?faces=false")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert refused.json()["type"].endswith(":too_many_at_once")
    assert (await service.client.get("/v1/notices/unknown/notice.pdf")).status_code == 429
    assert (await service.client.get(path)).status_code == 200, "it was made before"
    analyst = headers(service, Role.ANALYST)
    answer = await service.client.get("/v1/notices/unknown/notice.pdf", headers=analyst)
    assert answer.status_code == 404
    go_on.set()
    assert [(await task).status_code for task in copies] == [200, 200]
    assert (await service.client.get(f"{path}?faces=false")).status_code == 200


async def test_documents_that_a_browser_opens_cannot_act_on_the_console(service: Service) -> None:
    job = await examined(service, exhibits.video())
    assert (await evidence(service, job)).status_code == 200
    for name, expected in (("report.pdf", "script-src 'none'"), ("timeline.svg", "sandbox")):
        opened = await service.client.get(f"/v1/jobs/{job['id']}/{name}")
        assert opened.status_code == 200
        assert expected in opened.headers["Content-Security-Policy"]
