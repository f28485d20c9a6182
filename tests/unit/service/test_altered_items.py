"""One record that an attacker alters in the database must not stop what concerns others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.casework.due import GRACE
from deepfake_service.db import AuditEntry, Case, FlaggedHashes, Job, KnownHashes, Media, new_id
from deepfake_service.db.enums import JobState, Role
from deepfake_service.security.audit_log import Action
from deepfake_service.security.records import accept_row, altered_rows
from deepfake_service.storage import seal_json
from tests.support.submitting import VIDEO, submit

# ``conftest.Service``; conftest modules cannot be imported.
Service = Any


async def submit_three(service: Service) -> list[dict[str, Any]]:
    return [
        await submit(service, VIDEO + bytes([n]), case_reference=f"R-{n}", note=f"note {n}")
        for n in range(3)
    ]


def alter(service: Service, statement: str, **values: Any) -> None:
    with service.database.engine.begin() as connection:
        connection.execute(text(statement), values)


ALTERATIONS = {
    "job": "UPDATE jobs SET bundle_sha256 = 'x' WHERE id = :job",
    "medium": "UPDATE media SET size = 7 WHERE id = :media",
    "case": "UPDATE cases SET held_at = created_at WHERE id = :case",
}


def alter_one(service: Service, job: dict[str, Any], what: str) -> None:
    ids = {"job": job["id"], "media": job["media_id"], "case": job["case_id"]}
    statement = ALTERATIONS[what]
    alter(service, statement, **{k: v for k, v in ids.items() if f":{k}" in statement})


@pytest.mark.parametrize("what", ALTERATIONS)
async def test_one_altered_record_does_not_stop_a_list(service: Service, what: str) -> None:
    jobs = await submit_three(service)
    alter_one(service, jobs[1], what)
    listed = (await service.client.get("/v1/jobs")).json()
    assert [j["id"] for j in listed["jobs"]] == [jobs[2]["id"], jobs[0]["id"]]
    assert (listed["altered"], listed["next"]) == ([jobs[1]["id"]], None)
    pages, cursor = [], ""
    for _ in jobs:
        page = (await service.client.get(f"/v1/jobs?limit=1{cursor}")).json()
        pages.append(([j["id"] for j in page["jobs"]], page["altered"]))
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert pages == [([jobs[2]["id"]], []), ([], [jobs[1]["id"]]), ([jobs[0]["id"]], [])]
    cases = (await service.client.get("/v1/cases")).json()
    assert cases["altered"] == ([jobs[1]["case_id"]] if what == "case" else [])
    assert len(cases["cases"]) == (2 if what == "case" else 3)
    assert (await service.client.get(f"/v1/jobs/{jobs[1]['id']}")).status_code == 500
    assert (await service.client.get("/readyz")).status_code == 200
    assert "deepfake_records_altered 1.0" in (await service.client.get("/metrics")).text


UNREADABLE = {
    "a case key": "UPDATE cases SET wrapped_key = :other WHERE id = :case",
    "a case": "UPDATE cases SET sealed = :other WHERE id = :case",
    "a result": "UPDATE jobs SET result = :other WHERE id = :job",
    "a listing": "UPDATE listings SET sealed = :other WHERE id = :job",
}
"""Alterations that the codes of rows do not show, because what is sealed has one of its own."""


@pytest.mark.parametrize("what", UNREADABLE)
async def test_one_record_that_cannot_be_opened_does_not_stop_a_list(
    service: Service, what: str
) -> None:
    jobs = await submit_three(service)
    vault = service.app.state.shared.services.queries._vault
    with service.database.write() as session:
        for job in jobs:
            row = session.get_one(Job, job["id"])
            key = vault.case_key(session.get_one(Case, job["case_id"]))
            seal_json(key, row, {"score": 0.5, "log_likelihood_ratio": 0.0, "reasons": []})
            row.state = JobState.SUCCEEDED
            row.verdict = VerdictCode.UNABLE_TO_EVALUATE
    ids = {"job": jobs[1]["id"], "case": jobs[1]["case_id"], "other": b"not sealed"}
    statement = UNREADABLE[what]
    alter(service, statement, **{k: v for k, v in ids.items() if f":{k}" in statement})
    left = [jobs[2]["id"], jobs[0]["id"]]
    if what in ("a case key", "a result"):
        listed = (await service.client.get("/v1/jobs")).json()
        assert [j["id"] for j in listed["jobs"]] == left
        assert listed["altered"] == [jobs[1]["id"]]
    if what in ("a case key", "a case"):
        cases = (await service.client.get("/v1/cases")).json()
        assert cases["altered"] == [jobs[1]["case_id"]]
        assert len(cases["cases"]) == 2
    await service.sign_in(Role.PIPELINE)
    del service.client.headers["Authorization"]
    for path in ("/?tab=all", "/submit/jobs?" + "&".join(f"job={job['id']}" for job in jobs)):
        page = await service.client.get(path)
        assert page.status_code == 200, path
        assert all(f"/items/{job_id}" in page.text for job_id in left)
        if what != "a result" or path.startswith("/submit"):
            assert f"<code>{jobs[1]['id']}</code>" in page.text
            assert f"/items/{jobs[1]['id']}" not in page.text
    rows = (await service.client.get("/results.csv")).text
    assert "R-0" in rows
    assert "R-1" not in rows


async def test_an_altered_item_is_named_in_the_queue_without_its_content(service: Service) -> None:
    jobs = await submit_three(service)
    alter_one(service, jobs[1], "case")
    alter(service, "UPDATE accounts SET role = 'admin' WHERE name LIKE 'auditor%'")
    await service.sign_in(Role.ADMIN)
    del service.client.headers["Authorization"]
    page = (await service.client.get("/?tab=all")).text
    assert "deepfake audit verify" in page
    assert f"<code>{jobs[1]['id']}</code>" in page
    assert f"/items/{jobs[1]['id']}" not in page
    assert "R-1" not in page
    assert all(f"/items/{job['id']}" in page for job in (jobs[0], jobs[2]))
    rows = (await service.client.get("/results.csv")).text
    assert "R-0" in rows
    assert "R-1" not in rows


async def test_an_altered_occurrence_does_not_hide_the_others(service: Service) -> None:
    job = await submit(service, note="first")
    path = f"/v1/cases/{job['case_id']}"
    added = await service.client.post(f"{path}/occurrences", files={"note": (None, "second")})
    assert added.status_code == 201
    alter(
        service,
        "UPDATE occurrences SET created_at = '2020-01-01 00:00:00' WHERE id = :id",
        id=added.json()["id"],
    )
    case = (await service.client.get(path)).json()
    assert [o["note"] for o in case["occurrences"]] == ["first"]
    assert case["altered"] == [added.json()["id"]]


@pytest.mark.parametrize("what", ALTERATIONS)
async def test_one_altered_record_does_not_stop_a_sweep(service: Service, what: str) -> None:
    jobs = await submit_three(service)
    for job in jobs:
        with service.database.write() as session:
            session.get_one(Job, job["id"]).state = JobState.SUCCEEDED
            expires_at = service.clock() + timedelta(days=7)
            session.get_one(Media, job["media_id"]).expires_at = expires_at
    alter_one(service, jobs[0], what)
    services = service.app.state.shared.services
    for step in (timedelta(0), timedelta(days=8), GRACE + timedelta(hours=1)):
        service.clock.advance(step)
        services.sweeps.sweep()
    with service.database.engine.connect() as connection:
        kept = set(
            connection.execute(text("SELECT id FROM media WHERE blob IS NOT NULL")).scalars()
        )
    # The medium of an altered job has not been altered itself.
    assert kept == (set() if what == "job" else {jobs[0]["media_id"]})
    assert {table for table, _ in altered_rows(service.database)} == {
        {"job": "jobs", "medium": "media", "case": "cases"}[what]
    }


def known(service: Service, job: dict[str, Any]) -> KnownHashes:
    at = service.clock() - timedelta(days=9)
    return KnownHashes(
        id=new_id(),
        case_id=job["case_id"],
        job_id=job["id"],
        sealed=b"x",
        created_at=at,
        expires_at=at + timedelta(days=8),
    )


async def test_an_altered_case_does_not_keep_the_hashes_of_others(service: Service) -> None:
    jobs = await submit_three(service)
    with service.database.write() as session:
        session.add_all([known(service, job) for job in jobs])
    alter_one(service, jobs[0], "case")
    hash_bank = service.app.state.shared.services.hash_bank
    hash_bank.forget_expired()
    with service.database.read() as session:
        assert {h.case_id for h in session.scalars(select(KnownHashes))} == {jobs[0]["case_id"]}
        expired = select(AuditEntry.subject).where(AuditEntry.action == Action.HASHES_EXPIRED)
        assert set(session.scalars(expired)) == {job["case_id"] for job in jobs[1:]}
    # Another process that chose the same rows finds none, and says nothing.
    hash_bank._forget_expired_of(jobs[1]["case_id"])
    with service.database.read() as session:
        assert len(session.scalars(expired).all()) == 2


async def test_an_altered_flag_does_not_keep_the_hashes_of_others(service: Service) -> None:
    jobs = await submit_three(service)
    for job in jobs[:2]:
        path = f"/v1/cases/{job['case_id']}/minor"
        headers = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
        assert (await service.client.put(path, headers=headers)).status_code == 204
    ended = service.clock() - timedelta(days=1)
    with service.database.write() as session:
        for job in jobs:
            session.add(
                FlaggedHashes(
                    id=new_id(),
                    case_id=job["case_id"],
                    job_id=job["id"],
                    digest="x",
                    flagged_by=None,
                    sealed=b"x",
                    created_at=ended,
                    expires_at=ended,
                )
            )
    alter(
        service,
        "UPDATE flagged_hashes SET digest = 'y' WHERE job_id = :job",
        job=jobs[0]["id"],
    )
    service.app.state.shared.services.minor_flags.forget_expired()
    with service.database.engine.connect() as connection:
        rows = connection.execute(text("SELECT job_id, expires_at FROM flagged_hashes")).all()
    kept = {job: str(at) > str(service.clock()) for job, at in rows}
    assert kept == {jobs[0]["id"]: False, jobs[1]["id"]: True}


async def test_an_altered_case_does_not_keep_the_keys_of_deleted_ones(service: Service) -> None:
    jobs = await submit_three(service)
    alter_one(service, jobs[0], "case")
    assert (await service.client.delete(f"/v1/cases/{jobs[1]['case_id']}")).status_code == 204
    epochs = service.app.state.shared.services.key_epochs
    service.clock.advance(timedelta(hours=2))
    before = {epoch.id for epoch in epochs._keys.all()}
    for _ in range(2):
        epochs.advance()
    assert not before & {epoch.id for epoch in epochs._keys.all()}
    assert (await service.client.get(f"/v1/cases/{jobs[2]['case_id']}")).status_code == 200


HIDING = {
    "a finding": "UPDATE jobs SET state = 'succeeded', finding = 'rejected' WHERE id = :job",
    "a state": "UPDATE jobs SET state = 'expired' WHERE id = :job",
    "a hold": "UPDATE cases SET held_at = created_at WHERE id = :case",
    "a size": "UPDATE media SET size = 7 WHERE id = :media",
    "a post": "UPDATE occurrences SET digest = 'x' WHERE media_id = :media",
}


@pytest.mark.parametrize("what", HIDING)
async def test_an_alteration_is_an_alarm_in_the_default_tab_wherever_it_moves_an_item(
    service: Service, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.casework.altered_records.BUDGET_S", 60.0)
    jobs = await submit_three(service)
    await service.sign_in(Role.ANALYST)
    del service.client.headers["Authorization"]
    assert "deepfake audit verify" not in (await service.client.get("/")).text
    ids = {"job": jobs[1]["id"], "media": jobs[1]["media_id"], "case": jobs[1]["case_id"]}
    alter(service, HIDING[what], **{k: v for k, v in ids.items() if f":{k}" in HIDING[what]})
    page = (await service.client.get("/")).text
    assert "deepfake audit verify" in page
    assert f"<code>{jobs[1]['id']}</code>" in page
    assert f"<code>{jobs[0]['id']}</code>" not in page
    assert "deepfake_records_altered 1.0" in (await service.client.get("/metrics")).text
    # Once a person has accepted the record as it is, there is nothing to be alarmed about.
    for table, row_id in list(altered_rows(service.database)):
        accept_row(service.database, table, row_id)
    assert "deepfake audit verify" not in (await service.client.get("/")).text


async def test_an_alarm_names_only_items_that_the_account_may_see(service: Service) -> None:
    jobs = await submit_three(service)
    alter_one(service, jobs[1], "job")
    stranger = service.accounts.create("stranger", "person", Role.PIPELINE)
    assert stranger
    key = service.accounts.create_key("stranger").text
    del service.client.headers["Authorization"]
    origin = {"Origin": str(service.client.base_url)}
    await service.client.post("/sign-in", data={"key": key}, headers=origin)
    page = await service.client.get("/")
    assert page.status_code == 200
    assert jobs[1]["id"] not in page.text


async def test_records_are_checked_a_few_at_a_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.security.records._BATCH", 1)
    jobs = await submit_three(service)
    alter_one(service, jobs[2], "job")
    records = service.app.state.shared.services.altered_records
    ticks = iter(range(10_000))
    monkeypatch.setattr("deepfake_service.casework.altered_records.BUDGET_S", 2.5)
    monkeypatch.setattr(
        "deepfake_service.casework.altered_records.time.monotonic", lambda: float(next(ticks))
    )
    caller = service.accounts.authenticate(service.keys[Role.ADMIN])
    found = [records.items(caller) for _ in range(8)]
    assert found[0] == []
    assert found[-1] == [jobs[2]["id"]]
