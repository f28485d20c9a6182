"""Attacks on second factors: stolen keys, guessed codes, factors switched off in the database."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx
import pyotp
import pytest
from sqlalchemy import select

from deepfake_service.accounts.accounts import Caller
from deepfake_service.accounts.second_factors import PENDING_FOR
from deepfake_service.audit import log as audit_log
from deepfake_service.audit.log import Action
from deepfake_service.platform.db import SecondFactor, SignIn
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import (
    CodeRejected,
    Forbidden,
    NotAuthenticated,
    RecordAltered,
    TooManyRequests,
)
from tests.support.answers import ORIGIN, csrf_of, failures
from tests.unit.service.conftest import Service, Starter


class Authenticator:
    """Switches the second factor of an analyst on, and knows the codes."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.factors = service.app.state.shared.services.second_factors
        self.caller = service.accounts.authenticate(service.keys[Role.ANALYST])
        self.totp = pyotp.TOTP(self.factors.enrol(self.caller).secret)
        self.factors.confirm(self.caller, self.code())
        service.clock.advance(timedelta(seconds=30))

    def code(self) -> str:
        return str(self.totp.at(self.service.clock()))

    async def send(self, code: str) -> int:
        answer = await self.service.client.post(
            "/sign-in/code", data={"code": code}, headers=ORIGIN
        )
        return answer.status_code


async def test_no_session_begins_without_a_code_while_a_second_factor_is_switched_on(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, authenticate = service.app.state.shared.accounts, service.accounts.authenticate

    def switched_on_after(text: str, **options: bool) -> Caller:
        caller = authenticate(text, **options)
        if not options:
            Authenticator(service)
        return caller

    monkeypatch.setattr(accounts, "authenticate", switched_on_after)
    asked = await service.sign_in(Role.ANALYST)
    assert 'name="code"' in asked.text
    assert "session" not in service.client.cookies
    with service.database.read() as session:
        assert session.scalars(select(SignIn)).first() is None


async def test_a_stolen_key_does_not_sign_in_without_the_second_factor(service: Service) -> None:
    authenticator = Authenticator(service)
    key = {"Authorization": f"Bearer {service.keys[Role.ANALYST]}"}
    answer = await service.client.get("/v1/jobs", headers=key)
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (
        403,
        "second_factor_required",
    )
    asked = await service.sign_in(Role.ANALYST)
    assert asked.status_code == 200
    assert 'name="code"' in asked.text
    assert "session" not in service.client.cookies
    service.client.cookies["session"] = service.client.cookies["session-code"]
    assert (await service.client.get("/")).status_code == 303
    service.client.cookies.delete("session")
    assert await authenticator.send("000000") == 401
    code = authenticator.code()
    assert await authenticator.send(code) == 303
    assert (await service.client.get("/")).status_code == 200
    await service.sign_in(Role.ANALYST)
    assert await authenticator.send(code) == 401  # a code that another person has seen
    service.clock.advance(timedelta(seconds=30))
    assert await authenticator.send(authenticator.code()) == 303
    assert [e.detail for e in failures(service)] == ["code", "code"]


async def test_a_sign_in_that_took_too_long_begins_again_and_leads_where_it_was_to(
    service: Service,
) -> None:
    authenticator = Authenticator(service)
    await service.sign_in(Role.ANALYST)
    service.clock.advance(PENDING_FOR)
    form = {"code": authenticator.code(), "next": "/notices?part=overdue"}
    headers = {**ORIGIN, "Referer": "http://service/sign-in"}
    answer = await service.client.post("/sign-in/code", data=form, headers=headers)
    assert answer.headers["location"] == "/sign-in?next=/notices%3Fpart%3Doverdue"


@pytest.mark.usefixtures("many_failures")
async def test_codes_cannot_be_guessed(start: Starter) -> None:
    async with start() as service:
        authenticator = Authenticator(service)
        await service.sign_in(Role.ANALYST)
        statuses = [await authenticator.send(f"{n:06}") for n in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert await authenticator.send(authenticator.code()) == 429
        assert (await service.client.get("/")).status_code == 303  # not signed in


@pytest.mark.usefixtures("many_failures")
async def test_codes_cannot_be_guessed_in_many_sign_ins(start: Starter) -> None:
    async with start() as service:
        authenticator = Authenticator(service)

        async def guess() -> list[int]:
            statuses = []
            for _ in range(3):
                statuses.append((await service.sign_in(Role.ANALYST)).status_code)
                statuses += [await authenticator.send("000000") for _ in range(5)]
            return statuses

        sign_in = [200, *[401] * 5]
        assert await guess() == [*sign_in, *sign_in, 429, *[429] * 5]
        service.clock.advance(timedelta(hours=1))
        assert await guess() == [*sign_in, *sign_in, 429, *[429] * 5]
        service.clock.advance(timedelta(hours=1))
        refused = await service.sign_in(Role.ANALYST)
        assert refused.status_code == 429
        assert "관리자에게 문의하십시오" in refused.text
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        with pytest.raises(TooManyRequests):  # nor in a session that was there before
            authenticator.factors.check(authenticator.caller, authenticator.code())
        service.clock.advance(timedelta(hours=1))
        assert (await service.sign_in(Role.ANALYST)).status_code == 200
        assert await authenticator.send("000000") == 401
        assert await authenticator.send(authenticator.code()) == 303
        assert (await service.client.get("/")).status_code == 200
        # The count begins anew.
        assert await guess() == [*sign_in, *sign_in, 429, *[429] * 5]
        with service.database.read() as session:
            entries = audit_log.page(session, limit=1000)
            assert session.get_one(SecondFactor, authenticator.caller.account_id).failures == 10
        paused = [e for e in entries if e.action == Action.SECOND_FACTOR_PAUSED]
        assert [e.subject for e in paused] == [authenticator.caller.account_id] * 3


async def test_wrong_codes_of_a_session_count(service: Service) -> None:
    authenticator = Authenticator(service)
    for _ in range(10):
        with pytest.raises(CodeRejected):
            authenticator.factors.check(authenticator.caller, "000000")
    with pytest.raises(TooManyRequests):
        authenticator.factors.check(authenticator.caller, authenticator.code())


async def test_codes_cannot_be_guessed_by_confirming_again(service: Service) -> None:
    authenticator = Authenticator(service)
    with pytest.raises(CodeRejected):
        authenticator.factors.confirm(authenticator.caller, authenticator.code())
    authenticator.factors.check(authenticator.caller, authenticator.code())  # not used up by that


async def test_a_pause_ended_in_the_database_is_noticed(service: Service) -> None:
    authenticator = Authenticator(service)
    with pytest.raises(CodeRejected):
        authenticator.factors.check(authenticator.caller, "000000")
    with service.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE second_factors SET failures = 0")
    with pytest.raises(RecordAltered):
        authenticator.factors.check(authenticator.caller, authenticator.code())


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("UPDATE second_factors SET confirmed_at = NULL", RecordAltered),
        ("DELETE FROM second_factors", Forbidden),
        ("UPDATE accounts SET second_factor = 0", RecordAltered),
    ],
)
async def test_a_second_factor_switched_off_in_the_database_is_still_asked_for(
    service: Service, statement: str, error: type[Exception]
) -> None:
    authenticator = Authenticator(service)
    with service.database.engine.begin() as connection:
        connection.exec_driver_sql(statement)
    says = "second factor" if error is Forbidden else None
    with pytest.raises(error, match=says):
        service.accounts.authenticate(service.keys[Role.ANALYST])
    if error is Forbidden:
        await service.sign_in(Role.ANALYST)
        assert await authenticator.send(authenticator.code()) == 303
        assert (await service.client.get("/")).status_code == 303  # not signed in
        with pytest.raises(Forbidden):  # nor is another one set up with a session that is left
            authenticator.factors.enrol(authenticator.caller)
        authenticator.factors.remove(authenticator.caller.account_id)
        assert service.accounts.authenticate(service.keys[Role.ANALYST])


async def test_a_second_factor_is_set_up_and_removed_in_the_console(service: Service) -> None:
    await service.sign_in(Role.ANALYST)
    client = service.client
    token = csrf_of((await client.get("/account")).text)

    async def send(**fields: str) -> httpx.Response:
        form = {"csrf": token, **fields}
        return await client.post("/account/second-factor", data=form, headers=ORIGIN)

    await send(do="begin")
    page = (await client.get("/account")).text
    secret = re.search(r'<code class="free">([A-Z2-7]{32})</code>', page)
    assert secret
    assert "<svg" in page
    totp = pyotp.TOTP(secret[1])
    assert (await send(do="confirm", code="000000")).status_code == 403
    assert (await send(do="confirm", code=totp.at(service.clock()))).status_code == 303
    assert secret[1] not in (await client.get("/account")).text
    assert (await send(do="begin")).status_code == 403
    assert (await send(do="remove", code="000000")).status_code == 403
    service.clock.advance(timedelta(seconds=30))
    assert (await send(do="remove", code=totp.at(service.clock()))).status_code == 303
    assert service.accounts.authenticate(service.keys[Role.ANALYST])


async def test_a_new_second_factor_ends_the_sessions_begun_with_the_key_alone(
    service: Service,
) -> None:
    sessions = []
    for role in (Role.ANALYST, Role.ANALYST, Role.ADMIN):
        service.client.cookies.clear()
        await service.sign_in(role)
        sessions.append(service.client.cookies["session"])
    service.client.cookies.clear()
    stolen, own, other = ({"Cookie": f"session={token}"} for token in sessions)
    csrf = csrf_of((await service.client.get("/account", headers=own)).text)
    factors = service.app.state.shared.services.second_factors
    caller = service.accounts.authenticate(service.keys[Role.ANALYST])
    code = pyotp.TOTP(factors.enrol(caller).secret).at(service.clock())
    await service.client.post(
        "/account/second-factor",
        data={"csrf": csrf, "do": "confirm", "code": code},
        headers={**ORIGIN, **own},
    )
    assert factors.is_on(caller.account_id)
    statuses = [
        (await service.client.get("/account", headers=session)).status_code
        for session in (stolen, own, other)
    ]
    assert statuses == [303, 200, 200]


async def test_a_system_has_no_second_factor(service: Service) -> None:
    service.accounts.create("system", "system", Role.PIPELINE)
    caller = service.accounts.authenticate(service.accounts.create_key("system").text)
    with pytest.raises(Forbidden):
        service.app.state.shared.services.second_factors.enrol(caller)


@pytest.mark.parametrize("what", ["altered", "revoked"])
async def test_a_sign_in_whose_code_is_missing_ends_with_its_cookie_or_its_key(
    service: Service, what: str
) -> None:
    authenticator = Authenticator(service)
    accounts, factors = service.accounts, service.app.state.shared.services.second_factors
    caller = accounts.authenticate(service.keys[Role.ANALYST], signs_in=True)
    token = factors.begin_sign_in(caller)
    if what == "revoked":
        accounts.revoke(caller.key_id)
    else:
        token = token[:-1] + ("1" if token[-1] == "0" else "0")
    with pytest.raises(NotAuthenticated):
        factors.finish_sign_in(token, authenticator.code())
