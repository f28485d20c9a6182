"""What a notice rests on: a finding of people, or a statement that nobody consented."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_models.bundle.results import VerdictCode
from deepfake_service.platform.db import Case, Job, Notice, Occurrence
from deepfake_service.platform.enums import Role
from deepfake_service.platform.findings import Decision
from deepfake_service.platform.storage import open_json, seal_json
from tests.support.answers import browse
from tests.support.jobs import headers, submit
from tests.support.notices import GOOD, decide, look_manipulated
from tests.unit.service.conftest import Service, Starter

CONSENT = {"stated_by": "person", "stated_on": "2026-01-02", "record": "Statement 2026-17"}
OPENING = "Outcome of human review: confirmed: body or surroundings generated (reviewers: 1)."
FORM = "kr-tba-22-5"


async def seen(service: Service, verdict: VerdictCode = VerdictCode.LIKELY_MANIPULATED) -> Any:
    """Return a job with that verdict, which nobody has reviewed, and the id of its occurrence."""
    job = await submit(service, source_url="https://example.org/1", platform="Example")
    with service.database.write() as session:
        look_manipulated(service, session, job["id"])
        row = session.get_one(Job, job["id"])
        case = session.get_one(Case, row.case_id)
        key = service.app.state.shared.services.vault.case_key(case)
        row.verdict = verdict
        seal_json(key, row, {**open_json(key, row), "verdict": str(verdict)})
        return job, session.scalars(select(Occurrence.id)).one()


async def requested(service: Service, job: Any, occurrence: str, **changes: Any) -> Any:
    content = {
        "kind": "eu-dsa-16", "occurrence_ids": [occurrence], "fields": GOOD["eu-dsa-16"], **changes,
    }  # fmt: skip
    return await service.client.post(f"/v1/cases/{job['case_id']}/notices", json=content)


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json().get("type", "").rpartition(":")[2]


async def test_a_notice_needs_a_finding_of_a_person_whatever_the_verdict(start: Starter) -> None:
    async with start(two_person_review=True) as service:
        job, occurrence = await seen(service)
        service.accounts.create("robot", "system", Role.ANALYST)
        robot = {"Authorization": f"Bearer {service.accounts.create_key('robot').text}"}
        review = {"decision": "confirmed", "reason": "Computed."}
        refused = await service.client.post(
            f"/v1/jobs/{job['id']}/reviews", json=review, headers=robot
        )
        assert code_of(refused) == (409, "not_reviewable")
        assert code_of(await requested(service, job, occurrence)) == (409, "review_missing")
        decide(service, job["id"], Decision.CONFIRMED)  # which awaits a second person
        assert code_of(await requested(service, job, occurrence)) == (409, "review_missing")
        decide(service, job["id"], Decision.CONFIRMED, Role.ADMIN)
        assert (await requested(service, job, occurrence)).status_code == 201
        decide(service, job["id"], Decision.REJECTED)
        assert code_of(await requested(service, job, occurrence)) == (409, "notice_refused")


async def test_two_people_have_to_confirm_the_same(start: Starter) -> None:
    async with start(two_person_review=True) as service:
        job, occurrence = await seen(service)
        decide(service, job["id"], Decision.CONFIRMED)
        decide(service, job["id"], Decision.BODY_GENERATED, Role.ADMIN)
        assert code_of(await requested(service, job, occurrence)) == (409, "review_missing")
        decide(service, job["id"], Decision.BODY_GENERATED)
        (basis,) = (await requested(service, job, occurrence)).json()["basis"]
        assert (basis["finding"], basis["reviewers"]) == ("body_generated", 2)


async def test_a_notice_counts_the_people_who_state_its_finding(service: Service) -> None:
    job, occurrence = await seen(service)
    decide(service, job["id"], Decision.CONFIRMED)
    decide(service, job["id"], Decision.BODY_GENERATED, Role.ADMIN)
    notice = (await requested(service, job, occurrence)).json()
    assert "confirmed as manipulated (reviewers: 1)." in notice["text"]


async def test_the_finding_opens_a_notice_and_a_contrary_report_is_not_enclosed(
    service: Service,
) -> None:
    job, occurrence = await seen(service, VerdictCode.NO_MANIPULATION_FOUND)
    decide(service, job["id"], Decision.BODY_GENERATED)
    notice = (await requested(service, job, occurrence)).json()
    assert notice["language"] == "en"
    (basis,) = notice["basis"]
    assert (basis["reviewers"], basis["reasons"], basis["report"]) == (1, [], False)
    lines = [line.strip() for line in notice["text"].splitlines()]
    start = lines.index(OPENING)
    assert lines[start + 1].startswith("The automatic examination covers faces only")
    assert start < next(n for n, line in enumerate(lines) if basis["sha256"] in line)
    assert "enclosed report" not in notice["text"]
    assert "Compared." not in notice["text"]
    told = (await requested(service, job, occurrence, review_reasons=True)).json()
    assert told["basis"][0]["reasons"] == ["Compared."]
    assert f"{OPENING}\n  Reason, as written: Compared.\n" in told["text"]
    chosen = await requested(service, job, occurrence, reports="all", language="ko")
    assert chosen.json()["basis"][0]["report"] is True
    assert "검토 결론" in chosen.json()["text"]
    assert "보고서 1부" in chosen.json()["text"]


async def test_a_statement_about_consent_needs_no_finding_and_claims_no_manipulation(
    service: Service,
) -> None:
    job, occurrence = await seen(service, VerdictCode.NO_MANIPULATION_FOUND)
    decide(service, job["id"], Decision.REJECTED)  # it is authentic
    answer = await requested(service, job, occurrence, without_consent=CONSENT)
    assert answer.status_code == 201, answer.text
    notice = answer.json()
    assert (notice["basis"], notice["without_consent"]) == ([], CONSENT)
    text = notice["text"]
    assert "without the consent of the person shown, whether or not it is manipulated" in text
    assert "on 2026-01-02" in text
    for unsaid in ("Statement 2026-17", "review", "examination", "manipulation found", "report"):
        assert unsaid not in text
    assert job["sha256"] in text
    decide(service, job["id"], Decision.UNDECIDED)
    with service.database.read() as session:
        assert session.get_one(Notice, notice["id"]).withdraw_at is None
    tomorrow = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    for wrong, field in (
        ({"kind": FORM, "fields": GOOD[FORM]}, "fields.reason"),
        ({"without_consent": {**CONSENT, "stated_on": tomorrow}}, "without_consent.stated_on"),
        ({"without_consent": {**CONSENT, "record": " "}}, "without_consent.record"),
    ):
        refused = await requested(service, job, occurrence, **{"without_consent": CONSENT, **wrong})
        assert refused.status_code == 422
        assert field in {e["field"].removeprefix("body.") for e in refused.json()["errors"]} | {
            e["field"] for e in refused.json()["errors"]
        }, refused.text


async def test_a_statement_about_consent_is_not_the_standard_one_about_forgery(
    service: Service,
) -> None:
    job, occurrence = await seen(service)
    standard = "A face was put into this video by means of software."
    organisation = {"statements": {"eu-dsa-16.explanation": standard}}
    admin = headers(service, Role.ADMIN)
    answer = await service.client.put("/v1/organisation", json=organisation, headers=admin)
    assert answer.is_success, answer.text
    for text, refused in ((f"{standard}\r\n", True), (f"{standard} Again.", False)):
        fields = {**GOOD["eu-dsa-16"], "explanation": text}
        given = {"fields": fields, "without_consent": CONSENT}
        answer = await requested(service, job, occurrence, **given)
        if refused:
            (error,) = answer.json()["errors"]
            assert error["field"].endswith("fields.explanation")
            assert "for claims that content is manipulated" in error["detail"]
        else:
            assert answer.status_code == 201, answer.text


async def test_a_review_that_begins_at_a_notice_leads_back_to_it(service: Service) -> None:
    job, occurrence = await seen(service)
    csrf = await browse(service, Role.ANALYST)
    form = f"/cases/{job['case_id']}/notices/eu-dsa-16"
    page = (await service.client.get(form)).text
    (review,) = re.findall(r'href="(/items/[^"]+)">Review this item</a>\s*</li>', page)
    page = (await service.client.get(review)).text
    (notice,) = re.findall(r'name="notice" value="([^"]+)"', page)
    values = {**csrf, "notice": notice, "decision": "confirmed", "reason": "Compared."}
    saved = await service.client.post(f"/items/{job['id']}/review", data=values)
    assert (saved.status_code, saved.headers["location"]) == (
        303,
        f"{form}?media={job['media_id']}",
    )
    page = (await service.client.get(saved.headers["location"])).text
    assert re.search(rf'value="{occurrence}"\s+checked', page)
    assert re.search(r'<option value="en" lang="en"\s+selected', page)


@pytest.mark.parametrize("language", ["ko", "en"])
async def test_the_form_takes_a_statement_about_consent(service: Service, language: str) -> None:
    job, occurrence = await seen(service)
    csrf = await browse(service, Role.PIPELINE, language)
    form = f"/cases/{job['case_id']}/notices/eu-dsa-16"
    values = {
        **GOOD["eu-dsa-16"], "good_faith": "yes", **csrf, "occurrences": occurrence,
        "basis": "without_consent", **CONSENT,
    }  # fmt: skip
    for missing in ("stated_on", "record"):
        without = {**values, missing: ""}
        refused = await service.client.post(form, data=without)
        assert refused.status_code == 422
        assert f'<a href="#{missing}">' in refused.text
        assert re.search(r'id="without-consent"\s+checked', refused.text)
    made = await service.client.post(form, data=values)
    assert made.status_code == 303, made.text
    notice = (await service.client.get(f"/v1{made.headers['location']}")).json()
    assert notice["without_consent"] == CONSENT
    assert notice["language"] == "en"
