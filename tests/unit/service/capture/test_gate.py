"""The gate by itself: which hosts it connects to, however their addresses are written."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepfake_service.capture import gate as gates
from deepfake_service.capture.gate import NAMES_AT_ONCE, Gate
from deepfake_service.platform import outbound
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.networks import CallbackHosts
from tests.support.fake_platform import resolving

NOT_PUBLIC = (
    # This host, and networks that are not routed.
    "0.0.0.0", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.31.255.255", "192.168.0.1",
    "100.64.0.1", "100.127.255.254", "169.254.169.254", "198.18.0.1", "255.255.255.255",
    "224.0.0.1", "239.255.255.250", "240.0.0.1",
    # Assignments for protocols, examples, and a host of a cloud that only its guests reach.
    "192.0.0.8", "192.0.2.1", "198.51.100.1", "203.0.113.1", "192.88.99.1", "168.63.129.16",
    # IPv6.
    "::", "::1", "fe80::1", "fe80::1%lo", "fec0::1", "fc00::1", "fdff::1", "ff02::1",
    "2001:db8::1", "3fff::1", "100::1", "4000::1",
    # An IPv4 address within an IPv6 address: mapped, compatible, translated, NAT64, 6to4, Teredo.
    "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "::ffff:0:127.0.0.1",
    "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "2002:7f00:1::1", "2002:a9fe:a9fe::",
    "2001:0:4136:e378:8000:63bf:3f57:fdf2",
    # Forms of IPv4 addresses that are as old as their parsers: fewer parts, octal, hexadecimal.
    "127.1", "127.0.1", "0", "2130706433", "017700000001", "0x7f000001", "0x7f.1", "0177.0.0.01",
    "0x7f.0.0.0x1", "0XA9FEA9FE", "169.16689662", "10.0x1", "127.0.0.1.",
)  # fmt: skip
NO_NAMES = (
    "", ".", "..", ".example", "a..example", "a b.example", "a/b.example", "user@video.example",
    "video.example:80", "[::1]", "::g", "127.0.0.1%00", "ho%73t", "a\0b", "a" * 64,
    "*.example", "a\\b", "vidéo.example", "video.example\n",
)  # fmt: skip


@pytest.fixture
def asking() -> Iterator[tuple[Gate, socket.socket]]:
    """Yield a gate as it is in use, and where connections are asked of it."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with resolving({}), theirs, Gate(ours, utc_now) as gate:
        yield gate, theirs


def asked(control: socket.socket, message: bytes) -> bytes:
    """Send a whole handshake, and return what the gate says until it hangs up."""
    fetcher, other = socket.socketpair()
    with fetcher, other:
        socket.send_fds(control, [b"c"], [other.fileno()])
        other.close()
        with contextlib.suppress(BrokenPipeError):  # it may have hung up already
            fetcher.sendall(message)
        fetcher.settimeout(60.0)
        said = b""
        try:
            while piece := fetcher.recv(64):
                said += piece
        except ConnectionResetError:  # it did not wait for all that was sent
            pass
        return said


def connect(host: str, port: int = 80, kind: bytes = b"\3", command: bytes = b"\1") -> bytes:
    name = host.encode()
    size = bytes([len(name)]) if kind == b"\3" else b""
    return b"\5\1\0\5" + command + b"\0" + kind + size + name + port.to_bytes(2, "big")


@pytest.mark.parametrize("host", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused_in_each_form(
    asking: tuple[Gate, socket.socket], host: str
) -> None:
    gate, control = asking
    assert asked(control, connect(host))[2:4] == b"\5\2"
    (line,) = gate.log
    assert (line.refused, line.address) == ("not public", None), line


@pytest.mark.parametrize("host", NO_NAMES)
def test_what_is_no_name_is_not_looked_up(asking: tuple[Gate, socket.socket], host: str) -> None:
    gate, control = asking
    assert asked(control, connect(host))[2:4] == b"\5\4"
    (line,) = gate.log
    assert (line.refused, line.answers) == ("not a host name", []), line


def test_names_that_hang_hold_up_no_names_of_others(
    asking: tuple[Gate, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    hung, answers, real = [], threading.Event(), socket.getaddrinfo

    def getaddrinfo(host: str, *args: Any, **options: Any) -> Any:
        if host.startswith("hangs"):
            hung.append(host)
            answers.wait(60)
        return real(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    gate, control = asking
    try:
        with monkeypatch.context() as patch:
            patch.setattr(outbound, "RESOLVE_S", 0.05)
            for number in range(outbound.RESOLVERS + 2):
                assert asked(control, connect(f"hangs{number}.example"))[2:4] == b"\5\4"
        assert len(hung) == NAMES_AT_ONCE
        assert {line.refused for line in gate.log} == {"name_server"}
        assert outbound.resolved("video.example", 80) == ["127.0.0.1"]
        theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, Gate(ours, utc_now) as other:
            asked(theirs, connect("video.example"))
        assert other.log[0].answers == ["127.0.0.1"]
    finally:
        answers.set()


def test_what_is_no_socket_is_closed_logged_and_counted(
    asking: tuple[Gate, socket.socket], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gates, "MAX_CONNECTIONS", 40)
    gate, control = asking

    no_socket = tmp_path / "no-socket"
    no_socket.touch()

    def opened() -> int:
        links = Path("/proc/self/fd").iterdir()
        return sum(link.exists() and link.samefile(no_socket) for link in links)

    with no_socket.open("rb") as file:
        for _ in range(100):
            socket.send_fds(control, [b"c"], [file.fileno()])
        assert opened() >= 1
    assert asked(control, connect("video.example")) == b""  # after all of those
    assert opened() == 0
    assert [line.refused for line in gate.log] == ["not a socket"] * 40
    assert gate.limit == "connections"


@pytest.mark.parametrize("port", [0, 21, 22, 25, 8080, 65535])
def test_no_other_port_is_connected_to(asking: tuple[Gate, socket.socket], port: int) -> None:
    gate, control = asking
    assert asked(control, connect("video.example", port))[2:4] == b"\5\2"
    (line,) = gate.log
    assert (line.refused, line.answers) == ("not public", []), line


@pytest.mark.parametrize(
    "message",
    [
        connect("\x7f\0\0\1", kind=b"\1"),  # by address
        connect("\0" * 15 + "\1", kind=b"\4"),
        connect("video.example", command=b"\2"),  # BIND
        connect("video.example", command=b"\3"),  # UDP ASSOCIATE
        b"\4\1\0\x50\x7f\0\0\1\0" + bytes(300),  # SOCKS4
        b"GET http://video.example/ HTTP/1.1\r\nHost: video.example\r\n\r\n" + b" " * 80,
    ],
)
def test_only_a_connection_by_name_is_served(
    asking: tuple[Gate, socket.socket], message: bytes
) -> None:
    gate, control = asking
    assert asked(control, message)[2:4] in (b"\5\2", b"")
    (line,) = gate.log
    assert (line.refused, line.address) == ("not a CONNECT by name", None), line


def test_a_server_whose_answer_is_not_read_is_hung_up_on_at_the_end() -> None:
    """The gate closed the fetcher's end first, failed on what it had not passed on, and left the
    connection to the server open."""
    theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    fetcher, other = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server, resolving({}), theirs, fetcher:
        with Gate(ours, utc_now, CallbackHosts.of("127.0.0.1")):
            with other:
                socket.send_fds(theirs, [b"c"], [other.fileno()])
            fetcher.sendall(connect("video.example", server.getsockname()[1]))
            connection, _ = server.accept()
            with contextlib.suppress(TimeoutError):  # until the gate takes no more
                connection.settimeout(0.5)
                while True:
                    connection.sendall(bytes(1 << 16))
        connection.settimeout(60.0)
        with connection, pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(bytes(1 << 26))
