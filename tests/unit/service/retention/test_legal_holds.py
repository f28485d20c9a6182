"""A legal hold that was acknowledged is never deleted over, whichever path deletes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from deepfake_service.audit.log import Action, verify
from deepfake_service.evidence.chain_of_custody import contradictions
from deepfake_service.platform.db import Capture, Case, Job, KnownHashes, Media, new_id
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import Conflict, NotFound
from deepfake_service.retention import deletion as retention_module
from deepfake_service.retention.due import GRACE
from deepfake_service.retention.orphans import delete_orphans
from tests.support.captures import hand_in
from tests.support.jobs import VIDEO, all_entries, blobs, finish, headers, submit, sweep
from tests.unit.service.conftest import Service


async def hold(service: Service, case_id: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
    answer: httpx.Response = await service.client.put(f"/v1/cases/{case_id}/hold", headers=headers)
    return answer


class Meanwhile:
    """Sets a hold in another thread, as another process would, and remembers what came of it."""

    def __init__(self, service: Service, case_id: str) -> None:
        self._service, self._case_id = service, case_id
        self.refused: Exception | None = None
        self._thread = threading.Thread(target=self._hold)

    def _hold(self) -> None:
        caller = self._service.accounts.authenticate(self._service.keys[Role.ANALYST])
        retention = self._service.app.state.shared.services.retention
        try:
            retention.hold(caller, self._case_id, enabled=True)
        except (Conflict, NotFound) as error:
            self.refused = error

    def start(self) -> None:
        self._thread.start()
        time.sleep(0.3)  # so long that it would be done if no lock held it back

    def join(self) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("path", ["shred", "cancel"])
async def test_m5_a_hold_set_while_a_case_is_deleted_is_not_acknowledged(
    service: Service, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    job = await submit(service)
    retention = service.app.state.shared.services.retention
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    meanwhile = Meanwhile(service, job["case_id"])
    real: Callable[..., None] = retention_module.delete_case_key

    def slow(*args: Any) -> None:
        meanwhile.start()
        real(*args)

    monkeypatch.setattr(retention_module, "delete_case_key", slow)
    if path == "shred":
        retention.shred(job["case_id"], caller)
    else:
        retention.cancel(caller, job["id"], with_case=True)
    meanwhile.join()
    assert meanwhile.refused is not None
    with service.database.read() as session:
        assert session.get(Case, job["case_id"]) is None


async def test_m5_a_hold_set_between_cancelling_and_deleting_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await submit(service, case_reference="R")
    other = await submit(service, VIDEO + b"2", case_reference="R")
    retention = service.app.state.shared.services.retention
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    with monkeypatch.context() as killed:
        killed.setattr(retention, "delete_job", lambda _: None)  # the process stops here
        retention.cancel(caller, job["id"])
    refused = await hold(service, job["case_id"])
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":being_deleted")
    service.app.state.shared.services.sweeps.sweep()
    with service.database.read() as session:
        assert session.get(Job, job["id"]) is None
    assert (await hold(service, job["case_id"])).status_code == 204
    with pytest.raises(Conflict):
        retention.cancel(caller, other["id"])


async def test_m5_every_path_that_deletes_asks_for_the_hold(service: Service) -> None:
    """Each path is called as if it had chosen its rows a moment before the hold was set."""
    job = await submit(service, case_reference="R")
    late = await submit(service, VIDEO + b"2", case_reference="R")
    services = service.app.state.shared.services
    retention, now = services.retention, datetime.now(UTC)
    with service.database.write() as session:
        done = session.get_one(Job, job["id"])
        done.state, done.finished_at = JobState.SUCCEEDED, now - timedelta(days=9000)
        session.get_one(Media, job["media_id"]).expires_at = now - timedelta(days=1)
        session.get_one(Job, late["id"]).created_at = now - timedelta(days=9000)
        session.add(
            KnownHashes(
                id=new_id(),
                case_id=job["case_id"],
                job_id=job["id"],
                sealed=b"x",
                created_at=now - timedelta(days=9),
                expires_at=now - timedelta(days=1),
            )
        )
    assert (await hold(service, job["case_id"])).status_code == 204
    with service.database.write() as session:
        # An earlier version acknowledged holds on cases in which a job was being deleted.
        session.get_one(Job, late["id"]).state = JobState.CANCELLED
    retention.delete_job(late["id"])
    retention.delete_evidence(job["id"], select(Job.id))
    service.app.state.shared.services.sweeps.sweep()
    services.hash_bank.forget_expired()
    service.clock.advance(timedelta(days=9000))
    delete_orphans(services.database, services.vault)
    with service.database.read() as session:
        assert {j.id for j in session.scalars(select(Job))} == {job["id"], late["id"]}
        assert session.get_one(Job, job["id"]).evidence_expired_at is None
        media = session.scalars(select(Media)).all()
        assert all(m.blob for m in media)
        assert session.scalars(select(KnownHashes)).all()
        names = [m.blob for m in media]
    blobs = services.vault.blobs
    assert sorted(blobs.older_than("media/", service.clock())) == sorted(map(str, names))


async def test_who_asked_for_a_hold_is_recorded_until_it_is_lifted(service: Service) -> None:
    job = await submit(service, case_reference="R")
    case = f"/v1/cases/{job['case_id']}"
    analyst = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
    asked = {"asked_by": "서울중앙지방검찰청", "file_number": "2026형제1", "asked_on": "2026-01-02"}
    assert (await service.client.put(f"{case}/hold", json=asked, headers=analyst)).is_success
    shown = (await service.client.get(case)).json()
    assert (shown["legal_hold"], shown["hold"]) == (True, asked)
    with service.database.read() as session:
        sealed = session.get_one(Case, job["case_id"]).sealed
    assert sealed
    assert "2026형제1".encode() not in sealed
    assert (await service.client.delete(f"{case}/hold", headers=analyst)).is_success
    shown = (await service.client.get(case)).json()
    assert (shown["legal_hold"], shown["hold"]) == (False, None)
    assert shown["case_reference"] == "R"


async def test_who_asked_for_a_hold_is_replaced_with_an_entry_and_never_erased(
    service: Service,
) -> None:
    job = await submit(service, case_reference="R")
    finish(service, job["id"])
    case = f"/v1/cases/{job['case_id']}"
    first = {"asked_by": "Prosecutor", "file_number": "1", "asked_on": "2026-01-02"}
    nobody = dict.fromkeys(first)
    court = {**nobody, "asked_by": "Court"}

    async def put(said: dict[str, str | None] | None, role: Role) -> list[tuple[str, str | None]]:
        """Return the actions that were recorded, and by whom."""
        before = len(all_entries(service))
        answer = await service.client.put(f"{case}/hold", json=said, headers=headers(service, role))
        assert answer.status_code == 204
        return [(e.action, e.account_id) for e in all_entries(service)[before:]]

    async def shown() -> Any:
        return (await service.client.get(case)).json()["hold"]

    analyst, admin = (
        service.accounts.authenticate(service.keys[role]).account_id
        for role in (Role.ANALYST, Role.ADMIN)
    )
    assert await put(nobody, Role.ADMIN) == [(Action.HOLD_SET, admin)]
    assert await shown() is None
    assert await put(first, Role.ADMIN) == [(Action.HOLD_SET, admin)]
    for nothing in (None, nobody):
        assert await put(nothing, Role.ANALYST) == []
        assert await shown() == first
    assert await put(court, Role.ANALYST) == [(Action.HOLD_SET, analyst)]
    assert await shown() == court
    with service.database.read() as session:
        verify(session)
    assert list(contradictions(service.database)) == []


@pytest.mark.parametrize("swept", [True, False])
async def test_what_was_marked_before_a_hold_gets_the_grace_period_when_it_is_lifted(
    service: Service, swept: bool
) -> None:
    """The worker ``swept`` under the hold, or did not run meanwhile."""
    job = await submit(service)
    finish(service, job["id"], service.clock() + timedelta(hours=20))
    sweep(service)
    path = f"/v1/cases/{job['case_id']}/hold"
    analyst = headers(service, Role.ANALYST)
    assert (await service.client.put(path, headers=analyst)).status_code == 204
    service.clock.advance(GRACE)
    sweeps = service.app.state.shared.services.sweeps
    assert sweeps.count_marked() == 1
    if swept:
        sweep(service)
        assert sweeps.count_marked() == 0
    assert (await service.client.delete(path, headers=analyst)).status_code == 204
    assert sweeps.count_marked() == 0
    sweep(service)
    assert blobs(service)
    service.clock.advance(GRACE)
    sweep(service)
    assert not blobs(service)


async def test_lifting_a_hold_removes_every_mark_in_the_case_and_no_other(
    service: Service,
) -> None:
    job, other = await submit(service, case_reference="R"), await submit(service, VIDEO + b"2")
    assert (await hand_in(service, VIDEO)).is_success
    services = service.app.state.shared.services
    holder = service.accounts.authenticate(service.keys[Role.ANALYST])
    with service.database.write() as session:
        session.execute(update(Capture).values(case_id=job["case_id"], blob="captures/1"))
        for model in (Capture, Case, Job, Media):
            session.execute(update(model).values(expiring_at=service.clock()))
    marked = services.sweeps.count_marked()
    services.retention.hold(holder, job["case_id"], enabled=False)  # there is none
    assert services.sweeps.count_marked() == marked
    services.retention.hold(holder, job["case_id"], enabled=True)
    services.retention.hold(holder, job["case_id"], enabled=False)
    # The case, its job, its medium and its capture; not those of the others.
    assert services.sweeps.count_marked() == marked - 4
    with service.database.read() as session:
        assert session.get_one(Job, other["id"]).expiring_at is not None
