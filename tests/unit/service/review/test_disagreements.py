"""Reviewers who disagree: how pages, tables and answers tell it from an undecided review."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any

import pytest

from deepfake_service.audit.log import Action, append_entry
from deepfake_service.cases.filters import Filters
from deepfake_service.evidence.bundle.builder import verdict_document
from deepfake_service.evidence.report.reading import Reading
from deepfake_service.evidence.report.summary import summary_of
from deepfake_service.platform.db import Case, Job, Review, new_id
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.findings import Decision, Finding
from deepfake_service.platform.storage import seal_json
from deepfake_service.platform.texts.i18n import LANGUAGES, words
from tests.support import exhibits
from tests.support.jobs import headers, submit
from tests.unit.service.conftest import Service

CONFLICT = [("analyst", "confirmed"), ("admin", "rejected")]


async def reviewed(
    service: Service, *decisions: tuple[str, str], reference: str = "R"
) -> dict[str, Any]:
    """Submit a video, end its job, and store reviews by roles, oldest first."""
    video = f"still 1 120 {reference}".encode()
    job = await submit(service, video, case_reference=reference)
    services = service.app.state.shared.services
    # Not within the transaction below: the first use of a key on a day is a write of its own.
    accounts = [service.accounts.authenticate(service.keys[Role(role)]) for role, _ in decisions]
    with service.database.write() as session:
        row = session.get_one(Job, job["id"])
        row.state = JobState.SUCCEEDED
        session.flush()
        for n, (caller, (_, decision)) in enumerate(zip(accounts, decisions, strict=True)):
            review = Review(
                id=new_id(),
                job_id=row.id,
                account_id=caller.account_id,
                decision=Decision(decision),
                created_at=service.database.clock() + timedelta(seconds=n),
            )
            key = services.vault.case_key(session.get_one(Case, row.case_id))
            seal_json(key, review, {"reason": "-"})
            session.add(review)
            session.flush()
            append_entry(
                session, caller.actor, Action.CASE_REVIEWED, row.id, decision, at=review.created_at
            )
        row.finding = services.reviews._finding_of(session, row.id) if decisions else None
    return job


async def test_the_latest_decision_of_each_person_counts(service: Service) -> None:
    admin = headers(service, Role.ADMIN)
    cases: list[tuple[list[tuple[str, str]], str | None, bool]] = [
        (CONFLICT, "undecided", True),
        ([*CONFLICT, ("admin", "undecided")], "confirmed", False),
        ([*CONFLICT, ("analyst", "rejected")], "rejected", False),
        ([*CONFLICT, ("analyst", "undecided")], "rejected", False),
        ([*CONFLICT, ("analyst", "undecided"), ("analyst", "confirmed")], "undecided", True),
        ([("analyst", "undecided")], "undecided", False),
        ([("analyst", "body_generated")] * 2, "body_generated", False),
        ([("analyst", "body_generated"), ("admin", "confirmed")], "confirmed", False),
        ([("analyst", "body_generated"), ("admin", "rejected")], "undecided", True),
        ([("analyst", "undecided"), ("admin", "undecided")], "undecided", False),
        ([], None, False),
    ]
    ids = []
    for n, (decisions, finding, disagree) in enumerate(cases):
        job = await reviewed(service, *decisions, reference=f"R-{n}")
        ids.append(job["id"])
        told = (await service.client.get(f"/v1/jobs/{job['id']}", headers=admin)).json()
        assert (told["finding"], told["reviewers_disagree"]) == (finding, disagree), decisions
        reviews = await service.client.get(f"/v1/jobs/{job['id']}/reviews", headers=admin)
        assert reviews.json()["reviewers_disagree"] is disagree
    for asked in (True, False):
        query = {"reviewers_disagree": asked}
        found = (await service.client.get("/v1/jobs", params=query, headers=admin)).json()
        wanted = {i for i, (*_, disagree) in zip(ids, cases, strict=True) if disagree is asked}
        assert {job["id"] for job in found["jobs"]} == wanted


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_conflict_is_shown_as_one_wherever_people_read(
    service: Service, language: str
) -> None:
    conflict = await reviewed(service, *CONFLICT, reference="conflict")
    open_ = await reviewed(service, ("analyst", "undecided"), reference="open")
    client = service.client
    client.headers.pop("Authorization", None)
    client.headers["Accept-Language"] = language
    await service.sign_in(Role.ADMIN)
    disagree, undecided = (
        words(language, polite=True).of("findings", f) for f in ("disagreement", "undecided")
    )

    async def texts(*paths: str) -> list[str]:
        pages = [(await client.get(path)).text for path in paths]
        return [re.sub(r"(?s)<(select|fieldset|nav).*?</\1>|<[^>]*>", " ", page) for page in pages]

    for text in await texts("/?tab=disagreement", f"/cases/{conflict['case_id']}",
                            f"/reviews?job={conflict['id']}"):  # fmt: skip
        assert disagree in text
        assert undecided not in text
    for text in await texts("/?tab=on_hold", f"/cases/{open_['case_id']}", "/?finding=undecided"):
        assert undecided in text
        assert disagree not in text
    page = (await client.get("/?finding=disagreement")).text
    assert re.findall(r'id="job-(\w+)"', page) == [conflict["id"]]
    assert 'value="disagreement" selected' in page
    table = (await client.get("/results.csv")).text.removeprefix("\ufeff")
    findings = {row["job"]: row["finding"] for row in csv.DictReader(io.StringIO(table))}
    assert findings == {conflict["id"]: "disagreement", open_["id"]: "undecided"}


async def test_an_undecided_finding_is_found_with_and_without_conflicts(service: Service) -> None:
    conflict = await reviewed(service, *CONFLICT, reference="a")
    open_ = await reviewed(service, ("analyst", "undecided"), reference="b")
    unreviewed = await reviewed(service, reference="c")
    queries = service.app.state.shared.services.queries
    caller = service.accounts.authenticate(service.keys[Role.ADMIN])

    def found(**filters: Any) -> set[str]:
        page = queries.jobs(caller, Filters(**filters), queries.plain, limit=10)
        return {job.id for job in page.rows}

    assert found(finding=Finding.UNDECIDED) == {conflict["id"], open_["id"]}
    assert found(finding=Finding.UNDECIDED, disagreement=False) == {open_["id"]}
    assert found(disagreement=False) == {open_["id"], unreviewed["id"]}
    assert found(disagreement=True) == {conflict["id"]}
    counts = service.app.state.shared.services.triage.counts(caller)
    assert (counts["disagreement"], counts["on_hold"], counts["review"]) == (1, 1, 1)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_tells_a_conflict(language: str) -> None:
    at = "2026-01-02T03:04:05.678+00:00"
    video = exhibits.video()
    reviews = [
        {"at": at, "account": account, "name": account, "role": "analyst", "decision": decision,
         "reason": "-", "pictures_withheld": False}
        for account, decision in (("a", "confirmed"), ("b", "rejected"))
    ]  # fmt: skip
    for some, key in ((reviews, "disagreement"), ([{**reviews[0], "decision": "undecided"}],
                                                  "undecided")):  # fmt: skip
        dossier = exhibits.dossier(video, reviews=some, finding="undecided")
        document = verdict_document(dossier, exhibits.material(video))
        last = summary_of(Reading(document, words(language)))["reviews"][-1]
        assert words(language).of("findings", key) in last
        assert document.finding == "undecided"
