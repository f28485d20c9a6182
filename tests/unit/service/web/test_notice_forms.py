"""The forms of notices keep what was typed, and have the limits of the API."""

from __future__ import annotations

import re
from typing import Any

import pytest

from deepfake_service.accounts.accounts import Caller
from deepfake_service.notices.states import NoticeUpdate
from deepfake_service.platform.db import new_id
from deepfake_service.platform.enums import NoticeState, Role
from tests.support.answers import browse
from tests.support.notices import GOOD, confirmed, drafted
from tests.unit.service.conftest import Service


async def test_an_impossible_update_on_the_page_keeps_what_was_typed(service: Service) -> None:
    notice = await drafted(service)
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    answer = await service.client.get(f"/notices/{notice['id']}")
    assert answer.status_code == 200
    page = answer.text
    form = {
        "csrf": re.findall(r'name="csrf" value="([^"]+)"', page)[0],
        "what": "sent", "sent_at": "2001-01-01T00:00", "offset": "0", "sent_reason": "",
    }  # fmt: skip
    answer = await service.client.post(
        f"/notices/{notice['id']}", data=form, headers={"Origin": str(service.client.base_url)}
    )
    assert answer.status_code == 422
    assert 'value="2001-01-01T00:00"' in answer.text
    assert 'id="sent_reason-problem"' in answer.text
    for sent_at in ("2999-01-01T00:00", "soon"):
        answer = await service.client.post(
            f"/notices/{notice['id']}",
            data={**form, "sent_at": sent_at, "sent_reason": "by telephone"},
            headers={"Origin": str(service.client.base_url)},
        )
        assert answer.status_code == 422
        assert f'value="{sent_at}"' in answer.text
        assert 'value="by telephone"' in answer.text
        assert 'aria-describedby="sent_at-problem"' in answer.text


@pytest.mark.parametrize(
    ("language", "few_characters", "few_posts"),
    [
        ("en", "at most {} characters are allowed", "too many; at most 200 are allowed"),
        ("ko", "{}자까지 쓸 수 있습니다", "너무 많습니다. 200개까지 보낼 수 있습니다"),
    ],
)
async def test_the_forms_of_a_notice_have_the_limits_of_the_api(
    service: Service, language: str, few_characters: str, few_posts: str
) -> None:
    notice = await drafted(service)
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    address = f"/notices/{notice['id']}"
    page = (await service.client.get(address)).text
    csrf = {"csrf": re.findall(r'name="csrf" value="([^"]+)"', page)[0]}
    headers = {"Origin": str(service.client.base_url), "Accept-Language": language}

    async def refused(path: str, **values: Any) -> str:
        answer = await service.client.post(path, data={**csrf, **values}, headers=headers)
        assert answer.status_code == 422, path
        return answer.text

    told = await refused(address, what="receipt", receipt="1" * 2001)
    assert f'id="receipt-problem">{few_characters.format(2000)}<' in told
    assert f'value="{"1" * 2001}"' in told
    told = await refused(address, what="sent", sent_at="2001-01-01T00:00", sent_reason="x" * 501)
    assert f'id="sent_reason-problem">{few_characters.format(500)}<' in told
    form = f"/cases/{notice['case_id']}/notices/kr-d4u"
    fields = {**GOOD["kr-d4u"], "occurrences": notice["occurrence_ids"]}
    told = await refused(form, **fields, recipient="D" * 201)
    assert '<a href="#recipient">' in told
    assert f"</a>: {few_characters.format(200)}</li>" in told
    told = await refused(form, **{**fields, "occurrences": [new_id() for _ in range(201)]})
    assert f"</a>: {few_posts}</li>" in told
    read = (await service.client.get(f"/v1{address}")).json()
    assert (read["receipt"], read["state"]) == (None, "drafted")
    listed = (await service.client.get(f"/v1/cases/{notice['case_id']}/notices")).json()
    assert [n["id"] for n in listed["notices"]] == [notice["id"]]


async def test_a_notice_whose_draft_was_withdrawn_meanwhile_is_answered_as_made(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = await drafted(service)
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)
    desk = service.app.state.shared.services.notice_desk
    real = desk.create
    form = f"/cases/{draft['case_id']}/notices/kr-d4u?like={draft['id']}"
    page = (await service.client.get(form)).text
    fields = {
        **GOOD["kr-d4u"], "occurrences": draft["occurrence_ids"],
        "csrf": re.findall(r'name="csrf" value="([^"]+)"', page)[0],
    }  # fmt: skip

    def create(caller: Caller, *arguments: Any) -> dict[str, Any]:
        desk.update(caller, draft["id"], NoticeUpdate(outcome=NoticeState.WITHDRAWN))
        made: dict[str, Any] = real(caller, *arguments)
        return made

    monkeypatch.setattr(desk, "create", create)  # as when the form is sent twice
    headers = {"Origin": str(service.client.base_url)}
    answer = await service.client.post(form, data=fields, headers=headers)
    assert answer.status_code == 303, answer.text
    notice_id = answer.headers["location"].rpartition("/")[2]
    made = (await service.client.get(f"/v1/notices/{notice_id}")).json()
    assert made["state"] == "drafted"


async def test_the_form_shows_the_reasons_and_sends_them_only_if_that_is_ticked(
    service: Service,
) -> None:
    case_id, seen = await confirmed(service)
    csrf = await browse(service, Role.PIPELINE)
    form = f"/cases/{case_id}/notices/kr-d4u"
    page = (await service.client.get(form)).text
    assert ">Compared.</blockquote>" in page
    assert re.search(r'name="review_reasons" value="yes"\s*>', page)
    for ticked in (False, True):
        fields = {**csrf, **GOOD["kr-d4u"], "occurrences": seen}
        fields |= {"review_reasons": "yes"} if ticked else {}
        made = await service.client.post(form, data=fields)
        assert made.status_code == 303, made.text
        notice = (await service.client.get(f"/v1{made.headers['location']}")).json()
        assert ("Compared." in notice["text"]) == ticked


async def test_another_notice_of_a_case_begins_with_the_same_recipient(service: Service) -> None:
    notice = await drafted(
        service, kind="eu-dsa-16", fields=GOOD["eu-dsa-16"], recipient="Telegram"
    )
    await browse(service, Role.PIPELINE)
    page = (await service.client.get(f"/cases/{notice['case_id']}/notices/eu-dsa-16")).text
    assert re.search(r'name="recipient"[^>]*value="Telegram"', page)
