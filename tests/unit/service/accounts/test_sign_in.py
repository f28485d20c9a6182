"""Attacks on signing in: guessing keys, requests that other sites cause, and stolen sessions."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import timedelta
from typing import Any

import httpx
import pyotp
import pytest
import structlog
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse

from deepfake_service.accounts.admin_key import ADMIN_KEY_FILE
from deepfake_service.accounts.invitations import Invitations
from deepfake_service.http.admission import client_network
from deepfake_service.http.auth import check_still_authenticated
from deepfake_service.http.middleware import for_own_hosts
from deepfake_service.platform.db import Account, Job
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import Gone, RecordAltered
from deepfake_service.platform.networks import networks_of
from deepfake_service.platform.settings import Settings
from tests.support.answers import ORIGIN, csrf_of, failures
from tests.unit.service.conftest import Service, Starter


async def test_guessed_keys_are_limited_and_audited(service: Service) -> None:
    wrong = f"dfk_0123456789ab_{'x' * 43}"
    statuses = []
    for _ in range(200):
        answer = await service.client.post("/sign-in", data={"key": wrong}, headers=ORIGIN)
        statuses.append(answer.status_code)
    assert statuses == [401] * 10 + [429] * 190
    assert answer.headers["retry-after"]
    assert [(e.subject, e.detail) for e in failures(service)] == [("0123456789ab", "key")] * 10
    # Clients with a valid key of the API share the address of the attacker, behind a proxy.
    assert (await service.client.get("/v1/jobs")).status_code == 200


async def test_the_language_can_be_switched_after_a_wrong_key(service: Service) -> None:
    wrong = {"key": "dfk_", "next": "/?q=가&tab=all"}
    answer = await service.client.post("/sign-in", data=wrong, headers=ORIGIN)
    switch = re.search(r'href="(/language/\w+\?next=[^"]+)"', answer.text)
    assert switch
    switched = await service.client.get(html.unescape(switch[1]))
    page = await service.client.get(switched.headers["location"])
    assert 'name="next" value="/?q=가&amp;tab=all"' in page.text


async def test_guessed_keys_of_the_api_are_limited_and_audited(service: Service) -> None:
    wrong = {"Authorization": "Bearer <script>"}
    statuses = [
        (await service.client.get("/v1/jobs", headers=wrong)).status_code for _ in range(40)
    ]
    assert statuses == [401] * 10 + [429] * 30
    assert [(e.subject, e.detail) for e in failures(service)] == [(None, "key")] * 10


@pytest.mark.usefixtures("many_failures")
async def test_a_flood_of_failures_does_not_fill_the_audit_log(start: Starter) -> None:
    async with start() as service:
        for _ in range(100):
            await service.client.get("/v1/jobs", headers={"Authorization": "Bearer wrong"})
        assert len(failures(service)) == 30
        assert service.app.state.shared.failed_sign_ins._unrecorded == 70


def request_from(peer: str, *forwarded: str) -> HTTPConnection:
    headers = [(b"x-forwarded-for", f.encode()) for f in forwarded]
    return HTTPConnection({"type": "http", "client": (peer, 1), "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "network"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("10.0.0.2", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.2", ["192.0.2.99, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.2", ["192.0.2.99", "198.51.100.1, 10.0.0.3"], "198.51.100.1"),
        ("10.0.0.2", ["nonsense"], "unknown"),
        ("10.0.0.2", ["2001:db8:1:2:3::4"], "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", [], "203.0.113.7"),
        ("::ffff:203.0.113.7", ["198.51.100.1"], "203.0.113.7"),
        ("::ffff:10.0.0.2", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.2", ["192.0.2.99, 198.51.100.1, ::ffff:10.0.0.3"], "198.51.100.1"),
        ("::ffff:10.0.0.2", ["::ffff:198.51.100.1"], "198.51.100.1"),
    ],
)
def test_an_invented_address_escapes_no_limit(
    peer: str, forwarded: list[str], network: str
) -> None:
    assert client_network(request_from(peer, *forwarded), networks_of("10.0.0.0/8")) == network


def test_proxies_must_be_addresses(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="addresses or networks"):
        Settings(data_dir=tmp_path, trusted_proxies="proxy.example")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://service"}, 303),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://service.evil.example"}, 403),
        ({"Origin": "http://service:8001"}, 403),
        ({"Origin": "null"}, 403),
        ({}, 403),
    ],
)
async def test_another_site_cannot_sign_a_browser_in(
    service: Service, headers: dict[str, str], status: int
) -> None:
    key = {"key": service.keys[Role.ANALYST]}
    answer = await service.client.post("/sign-in", data=key, headers=headers)
    assert answer.status_code == status
    assert ("set-cookie" in answer.headers) is (status == 303)


async def test_another_site_cannot_use_a_session_without_fetch_metadata(service: Service) -> None:
    await service.sign_in(Role.ADMIN)
    token = re.search(r'name="csrf" value="(\w+)"', (await service.client.get("/admin")).text)
    assert token
    form = {"csrf": token[1], "name": "x", "role": "pipeline", "kind": "system"}
    for origin, status in (("https://evil.example", 403), ("http://service", 200)):
        headers = {"Origin": origin}
        answer = await service.client.post("/admin/accounts", data=form, headers=headers)
        assert answer.status_code == status


async def test_behind_tls_a_cookie_of_a_neighbouring_host_is_not_a_session(start: Starter) -> None:
    async with start(public_url="https://centre.example") as service:
        key = {"key": service.keys[Role.ANALYST]}
        origin = {"Origin": "https://centre.example"}
        answer = await service.client.post("/sign-in", data=key, headers=origin)
        token = answer.headers["set-cookie"].partition("=")[2].partition(";")[0]
        service.client.cookies.clear()
        for name, status in (("session", 303), ("__Host-session", 200)):
            cookie = {"Cookie": f"{name}={token}"}
            assert (await service.client.get("/", headers=cookie)).status_code == status


async def test_the_file_of_the_first_key_goes_when_that_key_signs_in(service: Service) -> None:
    file = service.app.state.shared.settings.data_dir / ADMIN_KEY_FILE
    file.write_text(f"{service.keys[Role.ADMIN]}\n")
    await service.sign_in(Role.ANALYST)
    assert file.exists()
    await service.sign_in(Role.ADMIN)
    assert not file.exists()


async def test_signing_in_again_ends_the_earlier_session(service: Service) -> None:
    await service.sign_in(Role.ANALYST)
    earlier = {"Cookie": f"session={service.client.cookies['session']}"}
    await service.sign_in(Role.ANALYST)
    assert (await service.client.get("/")).status_code == 200
    service.client.cookies.clear()
    assert (await service.client.get("/", headers=earlier)).status_code == 303


@pytest.mark.parametrize(
    "ended_by", ["revoked key", "disabled account", "second factor", "signed out"]
)
async def test_an_event_stream_ends_with_its_key_or_session(
    service: Service, ended_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepfake_service.api.jobs.EVENTS_EVERY_S", 0.05)
    checks = []

    def counted(request: Request) -> None:
        checks.append(1)
        check_still_authenticated(request)

    monkeypatch.setattr("deepfake_service.api.jobs.check_still_authenticated", counted)
    submitted = await service.client.post("/v1/videos", files={"file": ("v.mp4", b"bytes")})
    job_id = submitted.json()["id"]
    caller = service.accounts.authenticate(service.keys[Role.PIPELINE])
    if ended_by == "signed out":
        await service.sign_in(Role.PIPELINE)
        service.client.headers.pop("authorization")
    stream = asyncio.create_task(service.client.get(f"/v1/jobs/{job_id}/events"))
    while not checks:  # until the stream has begun, however long that takes
        assert not stream.done()
        await asyncio.sleep(0.01)
    match ended_by:
        case "revoked key":
            service.accounts.revoke(caller.key_id)
        case "disabled account":
            with service.database.read() as session:
                account = session.get_one(Account, caller.account_id)
            service.accounts.disable(account.name)
        case "second factor":  # a key alone is not enough any more
            factors = service.app.state.shared.services.second_factors
            totp = pyotp.TOTP(factors.enrol(caller).secret)
            factors.confirm(caller, totp.at(service.clock()))
        case "signed out":
            service.accounts.sign_out(service.client.cookies["session"])
    with service.database.write() as session:
        session.get_one(Job, job_id).state = JobState.SUCCEEDED
    async with asyncio.timeout(20):
        events = (await stream).text
    assert "succeeded" not in events
    assert events.endswith("event: signed_out\ndata: {}\n\n")


async def test_an_administrator_gets_no_key_of_another_account(service: Service) -> None:
    await service.sign_in(Role.ADMIN)
    token = csrf_of((await service.client.get("/admin")).text)
    form = {"csrf": token, "name": "kim", "role": "analyst", "kind": "person"}
    pages = [await service.client.post("/admin/accounts", data=form, headers=ORIGIN)]
    for name in ("kim", *(a.name for a in service.accounts.all() if a.role is Role.PIPELINE)):
        form = {"csrf": token, "account": name}
        pages.append(await service.client.post("/admin/keys", data=form, headers=ORIGIN))
    for page in pages:
        assert page.status_code == 200
        assert re.search(r"http://service/invitation/[\w-]{43}<", page.text)
        assert not re.search(r"dfk_[0-9a-f]{12}_", page.text)
    own = service.accounts.authenticate(service.keys[Role.ADMIN]).account_id
    (name,) = (a.name for a in service.accounts.all() if a.id == own)
    form = {"csrf": token, "account": name}
    page = await service.client.post("/admin/keys", data=form, headers=ORIGIN)
    assert re.search(r"dfk_[0-9a-f]{12}_", page.text)


async def test_an_invitation_works_once_and_not_by_being_opened(service: Service) -> None:
    service.accounts.create("kim", "person", Role.ANALYST)
    invitations = Invitations(service.database)
    replaced, token = invitations.create("kim"), invitations.create("kim")
    path = f"/invitation/{token}"
    for _ in range(2):  # a program that previews links opens it first
        opened = await service.client.get(path)
        assert (opened.status_code, "dfk_" in opened.text) == (200, False)
    assert (await service.client.post(path)).status_code == 403  # caused by another site
    created = await service.client.post(path, headers=ORIGIN)
    key = re.search(r"dfk_[0-9a-f]{12}_[\w-]{43}", created.text)
    assert key
    assert service.accounts.authenticate(key[0]).role is Role.ANALYST
    assert re.search(rf"<code [^<]*>{key[0]}</code> <button [^<]*data-copy", created.text)
    assert "/static/copy.js" in created.text
    for dead in (path, f"/invitation/{replaced}", f"/invitation/{'x' * 43}"):
        assert (await service.client.get(dead)).status_code == 410
        assert (await service.client.post(dead, headers=ORIGIN)).status_code == 410


async def test_an_invitation_expires_and_ends_with_its_account(service: Service) -> None:
    invitations = Invitations(service.database)
    for name, end in (
        ("kim", lambda: service.clock.advance(timedelta(hours=73))),
        ("lee", lambda: service.accounts.disable("lee")),
    ):
        service.accounts.create(name, "person", Role.ANALYST)
        token = invitations.create(name)
        invitations.find(token)
        end()
        with pytest.raises(Gone):
            invitations.redeem(token)


async def test_an_invitation_forged_in_the_database_is_refused(service: Service) -> None:
    (name,) = (a.name for a in service.accounts.all() if a.role is Role.PIPELINE)
    invitations = Invitations(service.database)
    token = invitations.create(name)
    admin = service.accounts.authenticate(service.keys[Role.ADMIN]).account_id
    with service.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE invitations SET account_id = ?", (admin,))
    with pytest.raises(RecordAltered):
        invitations.redeem(token)


async def test_on_loopback_no_other_host_is_answered() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("served")(scope, receive, send)

    async def answers(**options: Any) -> list[int]:
        transport = httpx.ASGITransport(for_own_hosts(app, Settings(**options)))
        hosts = ("127.0.0.1:8000", "LOCALHOST", "[::1]:8000", "Centre.example:443", "evil.example")
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            for odd in ("", "x@localhost", "localhost.", "localhost:80:80", "evil[localhost]"):
                answer = await client.get("/", headers={"Host": odd})
                assert (answer.status_code, "DEEPFAKE" in answer.text) == (
                    200 if options["host"] == "0.0.0.0" else 400,
                    False,
                )
            return [(await client.get("/", headers={"Host": h})).status_code for h in hosts]

    with structlog.testing.capture_logs() as logged:
        assert await answers(host="127.0.0.1") == [200, 200, 200, 400, 400]
    assert logged == 7 * [
        {"event": "unknown_host", "log_level": "warning", "setting": "DEEPFAKE_PUBLIC_URL"}
    ]
    behind = {"host": "127.0.0.1", "public_url": "https://centre.example"}
    assert await answers(**behind) == [200, 200, 200, 200, 400]
    assert await answers(host="0.0.0.0") == [200] * 5
