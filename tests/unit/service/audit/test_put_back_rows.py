"""Older rows that somebody puts back, and sealed columns that somebody overwrites.

The audit log has what was decided. Rows without an entry are refused before anything is made of
them; see ``altered_jobs``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.cli.app import app
from deepfake_service.evidence.chain_of_custody import contradictions
from deepfake_service.platform.db import Case, Job
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import RecordAltered
from deepfake_service.platform.findings import Decision
from deepfake_service.platform.storage import seal_json
from tests.support import exhibits
from tests.support.jobs import VIDEO, decide, examined, submit
from tests.support.notices import GOOD, confirmed
from tests.unit.service.conftest import Service, Starter


def write(service: Service, statement: str, **values: Any) -> None:
    """Write to the database as its administrator could."""
    with service.database.engine.begin() as connection:
        connection.execute(text(statement), values)


async def submit_three(service: Service) -> list[dict[str, Any]]:
    return [
        await submit(service, VIDEO + bytes([n]), case_reference=f"R-{n}", note=f"note {n}")
        for n in range(3)
    ]


PUT_BACK = {
    "the earlier finding, without the second review": (
        "DELETE FROM reviews WHERE decision = 'rejected'",
        "UPDATE jobs SET finding = 'confirmed'",
    ),
    "a finding that nobody made": ("UPDATE jobs SET finding = 'confirmed'",),
    "a review that another account made": (
        "UPDATE reviews SET account_id = (SELECT id FROM accounts WHERE role = 'pipeline' LIMIT 1)",
    ),
    "a case without its hold": ("UPDATE cases SET held_at = NULL",),
    "a case without its flag": ("UPDATE cases SET minor_at = NULL, minor_by = NULL",),
    "an earlier edition": ("DELETE FROM editions WHERE number = 3",),
}


async def test_r4_rows_that_were_put_back_are_found_before_anything_is_made_of_them(
    start: Starter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    var, saved = tmp_path / "var", tmp_path / "saved"
    async with start() as service:
        job, keys = await examined(service, exhibits.video()), service.keys
        for decision in (Decision.CONFIRMED, Decision.REJECTED):
            await decide(service, job, decision)
        headers = {"Authorization": f"Bearer {keys[Role.ANALYST]}"}
        case = f"/v1/cases/{job['case_id']}"
        for what in ("hold", "minor"):
            assert (await service.client.put(f"{case}/{what}", headers=headers)).status_code == 204
        assert not list(contradictions(service.database))
    monkeypatch.setenv("DEEPFAKE_DATA_DIR", str(var))
    var.rename(saved)
    for attack, statements in PUT_BACK.items():
        shutil.copytree(saved, var)
        async with start() as service:
            service.keys = keys
            for statement in statements:
                write(service, statement)
            for what in ("evidence", "faces/1.png") if "flag" in attack else ("evidence",):
                answer = await service.client.get(f"/v1/jobs/{job['id']}/{what}", headers=headers)
                assert answer.status_code == 409, attack
                assert answer.json()["type"].endswith(":record_altered"), attack
            review = {"decision": "confirmed", "reason": "Seen again."}
            path = f"/v1/jobs/{job['id']}/reviews"
            again = await service.client.post(path, json=review, headers=headers)
            assert again.status_code == 409, attack
            assert list(contradictions(service.database)) == [job["id"]], attack
            await service.sign_in(Role.ANALYST)
            assert ",record_altered," in (await service.client.get("/results.csv")).text, attack
            metrics = await service.client.get("/metrics")
            assert "deepfake_records_altered 1.0" in metrics.text, attack
        done = CliRunner().invoke(app, ["audit", "verify"])
        assert isinstance(done.exception, RecordAltered), attack
        assert f"differs from the log: job {job['id']}" in done.stdout, attack
        shutil.rmtree(var)


async def test_the_key_of_a_decision_that_was_rewritten_in_the_log_counts_as_one_altered_record(
    service: Service,
) -> None:
    job = await examined(service, exhibits.video())
    await decide(service, job, Decision.CONFIRMED)
    write(service, "UPDATE audit SET key_id = NULL WHERE action = 'case.reviewed'")
    headers = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
    evidence = await service.client.get(f"/v1/jobs/{job['id']}/evidence", headers=headers)
    assert evidence.status_code == 409, evidence.text
    assert list(contradictions(service.database)) == [job["id"]]
    assert service.database.count_altered() == 1


async def test_no_notice_rests_on_a_verdict_that_was_written_into_the_database(
    service: Service,
) -> None:
    case_id, seen = await confirmed(service)
    notice = {"kind": "kr-d4u", "language": "en", "occurrence_ids": [seen],
              "fields": GOOD["kr-d4u"], "recipient": "D4U"}  # fmt: skip
    for verdict, status in (("inconclusive", 409), ("likely_manipulated", 201)):
        write(service, "UPDATE jobs SET verdict = 'likely_manipulated'")
        with service.database.write() as session:
            job = session.query(Job).one()
            vault = service.app.state.shared.services.vault
            seal_json(vault.case_key(session.get_one(Case, case_id)), job, {"verdict": verdict})
        answer = await service.client.post(f"/v1/cases/{case_id}/notices", json=notice)
        assert answer.status_code == status, answer.text


UNREADABLE = {
    "a case key": "UPDATE cases SET wrapped_key = :other WHERE id = :case",
    "a case": "UPDATE cases SET sealed = :other WHERE id = :case",
    "a result": "UPDATE jobs SET result = :other WHERE id = :job",
    "a listing": "UPDATE listings SET sealed = :other WHERE id = :job",
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_one_record_that_cannot_be_opened_does_not_stop_a_list(
    service: Service, what: str
) -> None:
    jobs = await submit_three(service)
    vault = service.app.state.shared.services.vault
    with service.database.write() as session:
        for job in jobs:
            row = session.get_one(Job, job["id"])
            key = vault.case_key(session.get_one(Case, job["case_id"]))
            seal_json(key, row, {"score": 0.5, "log_likelihood_ratio": 0.0, "reasons": []})
            row.state = JobState.SUCCEEDED
            row.verdict = VerdictCode.UNABLE_TO_EVALUATE
    ids = {"job": jobs[1]["id"], "case": jobs[1]["case_id"], "other": b"not sealed"}
    statement = UNREADABLE[what]
    write(service, statement, **{k: v for k, v in ids.items() if f":{k}" in statement})
    left = [jobs[2]["id"], jobs[0]["id"]]
    listed = (await service.client.get("/v1/jobs")).json()
    assert [j["id"] for j in listed["jobs"] if j["id"] in left] == left
    if what in ("a case key", "a case"):
        cases = (await service.client.get("/v1/cases")).json()
        assert len(cases["cases"]) == 2
    await service.sign_in(Role.PIPELINE)
    del service.client.headers["Authorization"]
    for path in ("/?tab=all", "/submit/jobs?" + "&".join(f"job={job['id']}" for job in jobs)):
        page = await service.client.get(path)
        assert page.status_code == 200, path
        assert all(f"/items/{job_id}" in page.text for job_id in left)
        if what != "a result" or path.startswith("/submit"):
            assert f"/items/{jobs[1]['id']}" not in page.text
    rows = (await service.client.get("/results.csv")).text
    assert "R-0" in rows
    assert "R-1" not in rows
