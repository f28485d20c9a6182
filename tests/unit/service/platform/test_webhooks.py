"""Callbacks: only to public addresses, signed as the specification says, tried again."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from deepfake_service.platform import outbound
from deepfake_service.platform.errors import InvalidRequest, Overloaded
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.outbound import Resolve, Target, check, resolved
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.webhooks import BACK_OFF, send
from tests.support.loopback import serving

SECRET = "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def names(*addresses: str) -> Resolve:
    def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1",
        "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::",
        "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
        "2002:7f00:1::", "64:ff9b:1::1", "64:ff9b::7f00:1", "fec0::1", "::7f00:1",
        "168.63.129.16", "192.0.0.8", "::ffff:0:127.0.0.1",
        "::ffff:0:169.254.169.254", "3fff::1", "5f00::1", "4000::1",
    ],
)  # fmt: skip
def test_addresses_that_only_the_service_can_reach_are_refused(address: str) -> None:
    with pytest.raises(InvalidRequest, match="public addresses only"):
        check("https://hooks.example/x", resolve=names(address))
    with pytest.raises(InvalidRequest):
        check("https://hooks.example/x", resolve=names("93.184.216.34", address))


OWN = """
ip link set lo up
ip address add 45.33.10.2/24 dev lo
ip address add 45.33.10.3/24 dev lo
ip -6 address add 2604:a880:1::2/64 dev lo
ip route add default dev lo
exec "$0" -c "$1"
"""
CHECKED = """
from deepfake_service.platform.errors import InvalidRequest
from deepfake_service.platform.outbound import check

for address in ("45.33.10.2", "45.33.10.3", "2604:a880:1::2", "::ffff:45.33.10.2", "93.184.216.34"):
    try:
        print(check("https://hooks.example/x", resolve=lambda *_: [address]).addresses[0])
    except InvalidRequest:
        print("refused")
"""


@pytest.mark.parametrize("binding", ["0", "1"])
def test_a_public_address_of_this_machine_is_refused(binding: str) -> None:
    inside = ["unshare", "--map-root-user", "--net", "sh", "-ec"]
    if subprocess.run([*inside, "ip link"], capture_output=True, check=False).returncode:
        pytest.skip("needs network namespaces and ip")
    allow = f"echo {binding} > /proc/sys/net/ipv4/ip_nonlocal_bind\n"
    said = subprocess.run(
        [*inside, allow + OWN, sys.executable, CHECKED], capture_output=True, check=True, text=True
    )
    second = "45.33.10.3" if binding == "1" else "refused"
    assert said.stdout.split() == ["refused", second, "refused", "refused", "93.184.216.34"]


@pytest.mark.parametrize(
    ("listed", "url", "addresses", "called"),
    [
        ("hooks.internal", "http://hooks.internal:8080/x", ["10.0.0.5"], True),
        ("Hooks.Internal", "http://HOOKS.internal./x", ["10.0.0.5", "fd00::5"], True),
        ("hooks.internal", "http://a.hooks.internal/x", ["10.0.0.5"], False),
        ("hooks.internal", "http://hooks.internal.evil.example/x", ["10.0.0.5"], False),
        ("hooks.internal", "http://10.0.0.5/x", ["10.0.0.5"], False),
        ("10.1.0.0/16", "http://anything.example:9000/x", ["10.1.2.3"], True),
        ("10.1.0.0/16", "http://10.1.2.3:9000/x", ["10.1.2.3"], True),
        ("10.1.0.0/16", "http://h.example/x", ["::ffff:10.1.2.3"], True),
        ("10.1.0.0/16", "http://h.example/x", ["10.2.2.3"], False),
        ("10.1.0.0/16", "http://h.example/x", ["10.1.2.3", "10.2.2.3"], False),
        ("10.1.0.0/16", "http://h.example/x", ["169.254.169.254"], False),
        ("10.1.0.0/16", "http://h.example/x", ["10.1.2.3", "93.184.216.34"], True),
        ("10.1.0.0/16", "http://h.example:9000/x", ["10.1.2.3", "93.184.216.34"], False),
        ("10.1.0.0/16", "http://h.example:9000/x", ["93.184.216.34"], False),
        ("10.1.0.0/16", "http://h.example/x", ["93.184.216.34"], True),
        ("fd00:1::/32, 127.0.0.1", "http://h.example:1/x", ["fd00:1::9"], True),
        ("fd00:1::/32, 127.0.0.1", "http://h.example:1/x", ["127.0.0.1"], True),
        ("fd00:1::/32, 127.0.0.1", "http://h.example:1/x", ["127.0.0.2"], False),
        ("xn--bcher-kva.example", "http://bücher.example/x", ["10.0.0.5"], True),
    ],
)
def test_listed_hosts_and_networks_are_called_and_nothing_beside_them(
    listed: str, url: str, addresses: list[str], called: bool
) -> None:
    allowed = CallbackHosts.of(listed)
    if called:
        assert check(url, allowed=allowed, resolve=names(*addresses)).addresses[0] == addresses[0]
    else:
        with pytest.raises(InvalidRequest):
            check(url, allowed=allowed, resolve=names(*addresses))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "*.example", "http://x", "a b", "-x", "1.2.3", "ü"])
def test_a_list_with_something_else_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValidationError, match="host names"):
        Settings(callback_hosts=text)


def test_with_a_list_a_refusal_does_not_tell_which_internal_names_exist() -> None:
    def fails(_host: str, _port: int) -> Sequence[str]:
        raise OSError

    told, allowed = set(), CallbackHosts.of("10.9.0.0/16")
    for resolve in (fails, names(), names("10.0.0.1"), names("fd00::1")):
        for port in (80, 8080):
            with pytest.raises(InvalidRequest) as caught:
                check(f"http://vm:{port}/", allowed=allowed, resolve=resolve)
            told.add(caught.value.message)
    assert len(told) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
        "http://0177.0.0.1/", "http://localhost/", "http://[::1]/", "http://169.254.169.254/latest",
        "http://[::ffff:7f00:1]/",
    ],
)  # fmt: skip
def test_every_spelling_of_this_machine_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest):
        check(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://hooks.example/", "only http"),
        ("file:///etc/passwd", "only http"),
        ("https://", "only http"),
        ("https://user:secret@hooks.example/", "user name"),
        ("https://[::1", "not a URL"),
        ("https://xn--0.example.com/", "not a URL"),
        ("https://hooks.example:99999/", "port"),
        ("http://hooks.example:25/", "port"),
        ("http://hooks.example:6379/", "port"),
    ],
)
def test_other_urls_are_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as caught:
        check(url, resolve=names("93.184.216.34"))
    assert "secret" not in caught.value.message
    (error,) = caught.value.errors
    assert error.field == "callback_url"
    assert caught.value.message == f"The callback URL {error.detail}."


def test_a_name_that_is_nobodys_is_refused() -> None:
    def fails(_host: str, _port: int) -> Sequence[str]:
        raise OSError

    for resolve in (fails, names()):
        with pytest.raises(InvalidRequest, match="resolve to public"):
            check("https://hooks.example/", resolve=resolve)


def test_a_refusal_does_not_tell_which_internal_names_exist() -> None:
    def fails(_host: str, _port: int) -> Sequence[str]:
        raise OSError

    told = set()
    for resolve in (fails, names(), names("10.0.0.1"), names("fd00::1")):
        with pytest.raises(InvalidRequest) as caught:
            check("http://vm/", resolve=resolve)
        told.add(caught.value.message)
    assert len(told) == 1


def test_a_name_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(outbound, "RESOLVE_S", 0.05)
    monkeypatch.setattr(outbound.socket, "getaddrinfo", lambda *_, **__: answered.wait(60))
    try:
        with pytest.raises(Overloaded):
            check("https://hooks.example/")
    finally:
        answered.set()


class NameServer:
    """Stands in for name servers: those of hosts that begin with ``slow`` do not answer."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()

    def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("slow"):
            self.answers.wait(60)
        return [(0, 0, 0, "", ("93.184.216.34", port))]


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    stand_in = NameServer()
    monkeypatch.setattr(outbound, "RESOLVE_S", 0.05)
    monkeypatch.setattr(outbound.socket, "getaddrinfo", stand_in.getaddrinfo)
    with ThreadPoolExecutor(outbound.RESOLVERS) as resolvers:
        monkeypatch.setattr(outbound, "_resolvers", resolvers)
        try:
            yield stand_in
        finally:
            stand_in.answers.set()


def test_a_name_that_nobody_waits_for_any_more_is_not_looked_up(name_server: NameServer) -> None:
    for _ in range(outbound.RESOLVERS):
        with pytest.raises(TimeoutError):
            resolved("slow.example", 443)
    with pytest.raises(TimeoutError):
        resolved("late.example", 443)
    name_server.answers.set()
    assert resolved("last.example", 443) == ["93.184.216.34"]
    assert name_server.asked == [*["slow.example"] * outbound.RESOLVERS, "last.example"]


@pytest.mark.parametrize(
    ("failure", "is_temporary"),
    [
        (TimeoutError(), True),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), True),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), False),
    ],
)
def test_a_name_server_that_is_down_does_not_make_a_url_wrong_for_good(
    failure: OSError, is_temporary: bool
) -> None:
    def fails(_host: str, _port: int) -> Sequence[str]:
        raise failure

    expected = Overloaded if is_temporary else InvalidRequest
    with pytest.raises(expected, match="resolve to public"):
        check("https://hooks.example/", resolve=fails)


class Receiver(HTTPServer):
    status = 200
    headers: dict[str, str] = {}  # noqa: RUF012
    got: list[tuple[dict[str, str], bytes]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert isinstance(self.server, Receiver)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.server.got.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(self.server.status)
            for name, value in self.server.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return None

    server = Receiver(("127.0.0.1", 0), Handler)
    server.got = []
    with serving(server):
        yield server


def target(receiver: Receiver, path: str = "/hook?x=1") -> Target:
    """A name that only its pinned address makes reachable."""
    url = httpx.URL(f"http://hooks.example:{receiver.server_port}{path}")
    return Target(url, ("127.0.0.1",))


def test_the_specifications_own_library_accepts_a_delivery(receiver: Receiver) -> None:
    body = json.dumps({"type": "job.succeeded", "data": {"id": "1"}})
    assert send(target(receiver), SECRET, "msg_1", body, datetime.now(UTC)).delivered
    headers, got = receiver.got[0]
    verified = Webhook(SECRET).verify(got, headers)
    assert verified["type"] == "job.succeeded"
    assert verified["data"] == {"id": "1"}
    assert headers["host"] == f"hooks.example:{receiver.server_port}"
    assert json.loads(got) == verified
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(got + b" ", headers)


def test_a_receiver_one_of_whose_addresses_is_down_is_reached_at_another(
    receiver: Receiver,
) -> None:
    """Every attempt used to go to the first address, of which name servers may give one order."""
    allowed = CallbackHosts.of("127.0.0.0/8")
    url = f"http://hooks.example:{receiver.server_port}/hook"
    found = check(url, allowed=allowed, resolve=names("127.0.0.2", "127.0.0.3", "127.0.0.1"))
    assert send(found, SECRET, "msg_1", "{}", datetime.now(UTC)).delivered
    assert len(receiver.got) == 1
    many = check(url, allowed=allowed, resolve=names(*(f"127.0.0.{n}" for n in range(2, 250))))
    assert send(many, SECRET, "msg_1", "{}", datetime.now(UTC)).code == "unreachable"
    assert len(many.addresses) == 3


def test_an_answer_of_one_address_is_not_asked_for_at_another(receiver: Receiver) -> None:
    receiver.status = 500
    found = replace(target(receiver), addresses=("127.0.0.1", "127.0.0.1"))
    assert send(found, SECRET, "msg_1", "{}", datetime.now(UTC)).code == "http_500"
    assert len(receiver.got) == 1


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.status = 307
    receiver.headers = {"Location": f"http://127.0.0.1:{receiver.server_port}/elsewhere"}
    outcome = send(target(receiver), SECRET, "msg_1", "{}", datetime.now(UTC))
    assert (outcome.code, outcome.delivered, outcome.final) == ("http_307", False, False)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(("status", "final"), [(500, False), (404, False), (410, True)])
def test_a_receiver_that_does_not_take_it(receiver: Receiver, status: int, final: bool) -> None:
    receiver.status = status
    outcome = send(target(receiver), SECRET, "msg_1", "{}", datetime.now(UTC))
    assert (outcome.code, outcome.final) == (f"http_{status}", final)


def test_nobody_there() -> None:
    url = httpx.URL("http://hooks.example:9/")
    assert (
        send(Target(url, ("127.0.0.1",)), SECRET, "msg_1", "{}", datetime.now(UTC)).code
        == "unreachable"
    )


def test_waiting_grows() -> None:
    assert list(BACK_OFF) == sorted(BACK_OFF)


def test_a_redirect_without_an_address_is_a_failed_attempt() -> None:
    class Redirecting(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(302)
            self.send_header("Location", "javascript:0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        target = check(
            f"http://127.0.0.1:{server.server_port}/", allowed=CallbackHosts.of("127.0.0.1")
        )
        assert send(target, SECRET, "id", "{}", datetime.now(UTC)).code == "unreachable"
