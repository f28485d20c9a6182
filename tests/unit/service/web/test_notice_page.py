"""The page of a notice and the form of one: what is to be done, and what is not provided."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.platform.db import Job, Occurrence
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.findings import Finding
from tests.support import exhibits, footage
from tests.support.jobs import decide, examined, headers
from tests.support.notices import GOOD, confirmed
from tests.unit.service.conftest import Service

FORM = "kr-tba-22-5"
"""The kind of notice whose PDF encloses screenshots."""


async def drafted(service: Service) -> dict[str, Any]:
    """Return a notice whose PDF encloses a screenshot, for a signed-in administrator."""
    case_id, _ = await confirmed(service)
    screenshot = footage.picture(footage.resized(footage.astronaut(), 64, 64), "PNG")
    seen = await service.client.post(
        f"/v1/cases/{case_id}/occurrences",
        data={"source_url": "https://example.org/2"},
        files={"screenshot": ("s.png", screenshot, "image/png")},
    )
    content = {
        "kind": FORM, "language": "ko", "occurrence_ids": [seen.json()["id"]],
        "fields": GOOD[FORM],
    }  # fmt: skip
    made = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert made.status_code == 201, made.text
    service.client.headers.pop("Authorization", None)
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.ADMIN)
    notice: dict[str, Any] = made.json()
    return notice


async def shown(service: Service, path: str) -> str:
    answer = await service.client.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


async def flag(service: Service, case_id: str) -> None:
    admin = {"Authorization": f"Bearer {service.keys[Role.ADMIN]}"}
    answer = await service.client.put(f"/v1/cases/{case_id}/minor", headers=admin)
    assert answer.is_success, answer.text


async def test_the_page_says_that_a_person_has_to_send_the_notice(service: Service) -> None:
    notice = await drafted(service)
    page = await shown(service, f"/notices/{notice['id']}")
    history = page[page.index('id="history"') :]  # rows become cards on a narrow screen
    assert re.search(r'<td data-label="Event"><span>Notice created</span></td>', history)
    form = re.search(r"<h2>Record that it was sent</h2>.*?</form>", page, re.DOTALL)
    assert form
    assert "This service does not send notices. Send the package (ZIP) or the text" in form[0]
    await flag(service, notice["case_id"])  # and the notice is to be withdrawn
    page = await shown(service, f"/notices/{notice['id']}")
    assert "This service does not send notices." in page
    assert "Send the package" not in page


async def test_the_page_offers_no_download_that_would_be_refused(service: Service) -> None:
    notice = await drafted(service)
    path = f"/notices/{notice['id']}"
    downloads = (f"/v1{path}/notice.pdf", f"{path}/package.zip")
    page = await shown(service, path)
    assert all(f'href="{download}"' in page for download in downloads)
    assert "are not provided" not in page
    await flag(service, notice["case_id"])
    for download in downloads:
        assert (await service.client.get(download)).status_code == 403
    page = await shown(service, path)
    assert not any(f'href="{download}"' in page for download in downloads)
    assert "The PDF with its screenshots and the package are not provided" in page
    assert "Withdraw this notice and create a new one." in page


async def test_the_state_of_a_notice_is_one_cell_on_narrow_screens(service: Service) -> None:
    notice = await drafted(service)
    await flag(service, notice["case_id"])
    page = await shown(service, f"/cases/{notice['case_id']}")
    cell = re.search(r'<td data-label="State">(.*?)</td>', page, re.DOTALL)
    assert cell
    assert cell[1].startswith("<span>draft <strong")
    assert cell[1].endswith("</strong></span>")


@pytest.mark.parametrize(
    ("finding", "told"),
    [
        (Finding.AWAITING_SECOND, "A second reviewer has not confirmed the finding yet."),
        (Finding.REJECTED, "The review did not confirm manipulation."),
    ],
)
async def test_a_finding_that_awaits_a_second_reviewer_is_not_called_a_rejection(
    service: Service, finding: Finding, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody made the decision that the row states.
    monkeypatch.setattr("deepfake_service.notices.basis.require_recorded", lambda *_: None)
    case_id, _ = await confirmed(service)
    with service.database.write() as session:
        session.scalars(select(Job)).one().finding = finding
    service.client.headers.pop("Authorization", None)
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.ADMIN)
    page = await shown(service, f"/cases/{case_id}/notices/{FORM}")
    obstacle = re.search(r'id="obstacle">.*?</section>', page, re.DOTALL)
    assert obstacle
    assert told in obstacle[0]


async def test_nobody_is_to_wait_for_the_verdict_of_an_examination_that_failed(
    service: Service,
) -> None:
    case_id, seen = await confirmed(service)
    with service.database.write() as session:
        session.scalars(select(Job)).one().state = JobState.FAILED
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
        "recipient": "D4U",
    }  # fmt: skip
    answer = await service.client.post(f"/v1/cases/{case_id}/notices", json=content)
    assert answer.status_code == 409
    assert "submit it again if its examination has failed" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("language", "example"), [("ko", "예: 신분증 사본, 위임장"), ("en", "copy of an identity card")]
)
async def test_a_proof_of_identity_is_named_and_not_attached(
    service: Service, language: str, example: str
) -> None:
    case_id, _ = await confirmed(service)
    service.client.headers.pop("Authorization", None)
    service.client.headers["Accept-Language"] = language
    await service.sign_in(Role.ADMIN)
    page = await shown(service, f"/cases/{case_id}/notices/kr-d4u")
    field = re.search(r'<input id="f-identity_proof"[^>]*>', page)
    assert field
    assert example in field[0]


async def test_the_page_of_a_rejected_item_says_what_to_do_about_its_notices(
    service: Service,
) -> None:
    place = {"source_url": "https://example.org/1", "platform": "Example"}
    job = await examined(service, exhibits.video(), **place)
    job_id, case_id = job["id"], job["case_id"]
    assert (await decide(service, job, "confirmed")).is_success
    with service.database.read() as session:
        seen = session.scalars(select(Occurrence.id)).one()
    content = {
        "kind": "kr-d4u", "language": "en", "occurrence_ids": [seen], "fields": GOOD["kr-d4u"],
        "recipient": "D4U",
    }  # fmt: skip
    pipeline = headers(service, Role.PIPELINE)
    made = await service.client.post(f"/v1/cases/{case_id}/notices", json=content, headers=pipeline)
    assert made.status_code == 201, made.text
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.ADMIN)
    page = await shown(service, f"/items/{job_id}")
    assert ">Follow up the notices of this case, or create another one.</a>" in page
    assert (await decide(service, job, "rejected")).is_success
    page = await shown(service, f"/items/{job_id}")
    assert '<li><a href="#evidence">Withdraw the notices whose basis has changed.</a></li>' in page
    assert "Nothing has to be done." not in page
    answer = await service.client.patch(
        f"/v1/notices/{made.json()['id']}", json={"outcome": "withdrawn"}, headers=pipeline
    )
    assert answer.status_code == 200, answer.text
    page = await shown(service, f"/items/{job_id}")
    assert "<li>Nothing has to be done.</li>" in page
    assert "Withdraw the notices" not in page
