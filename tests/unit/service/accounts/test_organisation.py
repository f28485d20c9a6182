"""The organisation: stored sealed, audited, shown in forms and reports."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sqlalchemy import select

from deepfake_service.accounts.organisation import Organisation
from deepfake_service.evidence.bundle.builder import build, verdict_document
from deepfake_service.platform.db import AuditEntry, Contact
from deepfake_service.platform.enums import Role
from deepfake_service.platform.texts.i18n import words
from tests.support import exhibits, footage
from tests.support.documents import report_texts
from tests.support.jobs import headers
from tests.support.notices import confirmed
from tests.unit.service.conftest import Service

CENTRE = {
    "name_ko": "서울지원센터", "name_en": "Seoul Centre", "address": "서울 중구 1",
    "phone": "02-815-0382", "email": "help@example.org", "contact": "삭제지원팀",
    "address_en": "1 Jung-gu, Seoul", "contact_en": "Takedown team", "statements": {},
}  # fmt: skip


async def put(service: Service, role: Role = Role.ADMIN, **changes: Any) -> Any:
    return await service.client.put(
        "/v1/organisation", json={**CENTRE, **changes}, headers=headers(service, role)
    )


async def post_page(service: Service, path: str, fields: dict[str, str]) -> Any:
    """Send the form of a page, as a browser does."""
    page = (await service.client.get("/account")).text
    csrf = re.findall(r'name="csrf" value="([^"]+)"', page)[0]
    origin = {"Origin": str(service.client.base_url)}
    return await service.client.post(path, data={"csrf": csrf, **fields}, headers=origin)


async def test_an_administrator_changes_the_organisation_and_others_read_it(
    service: Service,
) -> None:
    for role in (Role.PIPELINE, Role.ANALYST, Role.AUDITOR):
        assert (await put(service, role)).status_code == 403
    assert (await put(service)).json() == CENTRE
    assert (await service.client.get("/v1/organisation")).json() == CENTRE
    assert (await put(service, phone=None)).json()["phone"] is None
    with service.database.read() as session:
        chosen = select(AuditEntry).where(AuditEntry.action == "organisation.changed")
        assert [e.detail for e in session.scalars(chosen.order_by(AuditEntry.number))] == [
            "address,address_en,contact,contact_en,email,name_en,name_ko,phone", "phone",
        ]  # fmt: skip
        row = session.scalars(select(Contact)).one()
        assert "서울".encode() not in row.sealed
        assert b"help@" not in row.sealed


@pytest.mark.parametrize(
    ("field", "value"),
    [("email", "nobody"), ("phone", "call me"), ("name_ko", "a\u202eb"), ("more", "x")],
)
async def test_an_organisation_that_cannot_be_is_refused(
    service: Service, field: str, value: str
) -> None:
    answer = await put(service, **{field: value})
    assert answer.status_code == 422
    assert field in answer.text


async def test_the_page_of_the_organisation_keeps_what_was_typed(service: Service) -> None:
    del service.client.headers["Authorization"]
    await service.sign_in(Role.ADMIN)
    path = "/admin/organisation"
    wrong = await post_page(service, path, {"name_ko": "센터", "email": "nobody"})
    assert wrong.status_code == 422
    assert 'value="nobody" maxlength="200" aria-invalid="true"' in wrong.text
    assert 'value="센터"' in wrong.text
    assert (await post_page(service, path, {"name_ko": "센터", "email": ""})).status_code == 303
    page = (await service.client.get(path)).text
    assert 'value="센터"' in page
    assert re.search(r'class="brand">.* 센터</strong>', page, re.DOTALL)  # beside the sign
    assert "센터" in (await service.client.get("/admin")).text
    await service.sign_in(Role.ANALYST)
    assert (await service.client.get(path)).status_code == 403


async def test_a_form_is_filled_by_the_organisation_but_never_signed(
    service: Service,
) -> None:
    assert (await put(service)).status_code == 200
    case_id, _ = await confirmed(service)
    del service.client.headers["Authorization"]
    await service.sign_in(Role.PIPELINE)

    page = (await service.client.get(f"/cases/{case_id}/notices/kr-tba-22-5")).text
    filled = dict(re.findall(r'<input id="f-(\w+)" name="\w+" value="([^"]*)"', page))
    assert filled["reporter_name"] == CENTRE["name_ko"]
    assert filled["reporter_email"] == CENTRE["email"]
    assert filled["reporter_phone"] == CENTRE["phone"]
    assert filled["signature"] == ""


def test_an_organisation_is_named_in_the_other_language_if_need_be() -> None:
    assert Organisation(name_en="Centre").name("ko") == "Centre"
    assert Organisation(name_ko="센터").name("en") == "센터"
    assert Organisation(name_en="Centre", phone="02-1").known() == {
        "name_en": "Centre", "phone": "02-1",
    }  # fmt: skip


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_report_names_the_organisation_and_how_it_is_reached(language: str) -> None:
    media = footage.picture(footage.astronaut(), "PNG")
    material = exhibits.material(media)
    known = Organisation(**CENTRE).known()
    dossier = exhibits.dossier(media, organisation=known)
    document = verdict_document(dossier, material)
    assert document.organisation == known
    texts = report_texts(document, material.files, words(language))
    assert texts["issued"].endswith(CENTRE[f"name_{language}"])
    names = ["address", "contact", "phone", "email"]
    if language == "en":
        names[:2] = ["address_en", "contact_en"]
    assert [line[1] for line in texts["reached_at"]] == [CENTRE[name] for name in names]
    earlier = verdict_document(exhibits.dossier(media), material)
    assert b"organisation" not in earlier.canonical()
    said = report_texts(earlier, material.files, words(language))
    assert not said["reached_at"]


def test_both_reports_are_set_with_the_organisation() -> None:
    media = footage.picture(footage.astronaut(), "PNG")
    name = {"name_ko": "센터", "email": "دار@example.org"}
    assert build(
        exhibits.dossier(media, organisation=name), exhibits.material(media), exhibits.signers()
    )


async def test_an_account_without_a_key_is_listed(service: Service) -> None:
    service.accounts.create("박민호", "person", Role.ANALYST)
    del service.client.headers["Authorization"]
    service.client.headers["Accept-Language"] = "en"
    await service.sign_in(Role.ADMIN)
    page = (await service.client.get("/admin")).text
    assert re.search(r"<bdi>박민호</bdi>.*?invited; no key yet", page, re.DOTALL)
