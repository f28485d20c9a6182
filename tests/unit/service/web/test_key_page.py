"""Ends, replacements and last uses of keys, on the page of administration and by invitations."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from deepfake_service.accounts.invitations import Invitations
from deepfake_service.platform.db import Account, Key
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import Gone
from deepfake_service.web.pages import last_day
from tests.support.answers import browse
from tests.unit.service.conftest import Service

ORIGIN = {"Origin": "http://service"}
KEY = re.compile(r"dfk_[0-9a-f]{12}_[\w-]{43}")


def id_of(service: Service, role: Role) -> str:
    return service.keys[role].split("_")[1]


def stored(service: Service, key_id: str) -> Key:
    return owned(service, key_id)[0]


def owned(service: Service, key_id: str) -> tuple[Key, Account]:
    listed = service.accounts.keys()
    return next((key, account) for key, account in listed if key.id == key_id)


async def test_an_end_is_given_when_a_key_is_made_and_later(service: Service) -> None:
    form, auditor = await browse(service, Role.ADMIN), id_of(service, Role.AUDITOR)
    day = (service.clock() + timedelta(days=30)).date()
    path, end = "/admin/keys/end", {**form, "key": auditor, "expires_on": day.isoformat()}
    answer = await service.client.post(path, data=end, headers=ORIGIN)
    assert answer.headers["location"] == "/admin?done=key_changed"
    expires_at = stored(service, auditor).expires_at
    assert expires_at is not None
    assert last_day(expires_at) == day.isoformat()
    assert expires_at.date() == day + timedelta(days=1)
    page = (await service.client.get("/admin")).text
    assert f'name="expires_on" min="{service.clock().date()}" value="{day}"' in page
    for wrong in ("2020-01-01", "soon", "9999-12-31"):
        answer = await service.client.post(path, data={**end, "expires_on": wrong}, headers=ORIGIN)
        assert answer.status_code == 422, wrong
    await service.client.post(path, data={**end, "expires_on": ""}, headers=ORIGIN)
    assert stored(service, auditor).expires_at is None

    own = owned(service, id_of(service, Role.ADMIN))[1].name
    new = {**form, "account": own, "expires_on": day.isoformat()}
    page = (await service.client.post("/admin/keys", data=new, headers=ORIGIN)).text
    made = KEY.search(page)
    assert made
    assert stored(service, made[0].split("_")[1]).expires_at == expires_at


async def test_the_terms_of_a_link_cannot_be_changed(service: Service) -> None:
    service.accounts.create("kim", "person", Role.ANALYST)
    invitations = Invitations(service.database)
    end = (service.clock() + timedelta(days=5)).replace(microsecond=0)
    token = invitations.create("kim", key_expires_at=end)
    for forged in (token[:-1], f"{token}x", f"..0.{token}", "x"):
        answer = await service.client.post(f"/invitation/{forged}", headers=ORIGIN)
        assert answer.status_code == 410, forged
    shown = (await service.client.get(f"/invitation/{token}")).text
    assert f'<time datetime="{end.isoformat()}">' in shown
    assert invitations.redeem(token).expires_at == end
    short = invitations.create("kim", key_expires_at=service.clock() + timedelta(hours=1))
    service.clock.advance(timedelta(hours=2))
    with pytest.raises(Gone):
        invitations.redeem(short)


async def test_the_day_of_the_last_use_is_shown(service: Service) -> None:
    await service.sign_in(Role.ADMIN)
    page = (await service.client.get("/admin")).text
    rows = [row for row in page.split("<tr>") if "data-label" in row]
    used = {
        role: re.search(r'data-label="마지막 사용일">(\d{4}-\d\d-\d\d|–)<', row)
        for row in rows
        for role in Role
        if id_of(service, role) in row
    }
    today = service.clock().date().isoformat()
    assert used[Role.ADMIN] is not None
    assert used[Role.AUDITOR] is not None
    assert (used[Role.ADMIN][1], used[Role.AUDITOR][1]) == (today, "–")
