"""The gate: the only way out of the processes that fetch links.

It speaks SOCKS5 (RFC 1928) with one fetcher: CONNECT only, by name. A name is resolved once, each
of its addresses must be public, and the connection goes to one that was checked, so that a second
answer of a name server changes nothing. It counts bytes, bounds connections and time, reads nothing
of what passes, and keeps a log of its own: what the fetcher says about where it was is not needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from deepfake_service.platform import outbound
from deepfake_service.platform.clock import Clock
from deepfake_service.platform.errors import InvalidRequest, Overloaded
from deepfake_service.platform.networks import CallbackHosts
from deepfake_service.platform.pages import Failure, failure_of_check

MAX_BYTES = {"received": 100 << 20, "sent": 8 << 20}
"""For one link. A post's video has a tenth of that; longer ones are to be handed in."""
MAX_FILE_FACTOR = 2
"""A video in segments is received in them, and recorded as a whole."""
ROOM_BYTES = MAX_FILE_FACTOR * MAX_BYTES["received"]
"""Space on the disk without which no link is opened."""
MAX_SECONDS = 300.0
"""For one link, from its first connection."""
MAX_CONNECTIONS = 400
"""For one link: some servers of segments close each connection after one answer."""
NAMES_AT_ONCE = 4
"""Names of one link that are looked up at the same time, in threads of its own: a page that names
hosts whose name servers do not answer holds up no other link, and no look."""
CONNECT_S = 10.0
HANDSHAKE_S = 10.0
BLOCK = 64 * 1024
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_REFUSED, _UNREACHABLE, _NO_NAME = b"\x02", b"\x05", b"\x04"
"""Replies: not allowed by the rules, connection refused, host unreachable (RFC 1928, section 6)."""


@dataclass(slots=True)
class Connection:
    """A connection that the gate was asked for."""

    number: int
    at: str
    host: str = ""
    port: int = 0
    answers: list[str] = field(default_factory=list)
    """All addresses that the name had."""
    address: str | None = None
    """The one that was used."""
    refused: str | None = None
    sent: int = 0
    received: int = 0


class _Denied(Exception):
    def __init__(self, code: bytes, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


@dataclass
class Gate:
    """Connects one fetcher, in a thread of its own, while the context lasts."""

    control: socket.socket
    """On which the fetcher asks: each message has one end of a pair of sockets. The gate closes it.
    """
    clock: Clock
    allowed: CallbackHosts = field(default_factory=CallbackHosts)
    """Hosts that need not be public, for tests."""
    log: list[Connection] = field(default_factory=list)
    limit: str | None = None
    """``bytes``, ``time`` or ``connections``, if one was reached."""

    def __enter__(self) -> Gate:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._resolvers = ThreadPoolExecutor(NAMES_AT_ONCE, thread_name_prefix="gate-resolver")
        self._thread = threading.Thread(target=self._run, name="gate", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._resolvers.shutdown(wait=False, cancel_futures=True)
        self.control.close()

    def another(self, control: socket.socket) -> Gate:
        """Return a gate for another process of the same link: what passed this one counts."""
        return Gate(control, self.clock, self.allowed, self.log)

    def _run(self) -> None:
        loop = self._loop
        self.control.setblocking(False)
        loop.add_reader(self.control.fileno(), self._accept)
        loop.call_later(MAX_SECONDS, self._stop, "time")
        try:
            loop.run_forever()
        finally:
            loop.remove_reader(self.control.fileno())
            loop.run_until_complete(self._end())
            loop.close()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _stop(self, limit: str) -> None:
        """End every connection, and make none any more."""
        self.limit = self.limit or limit
        for task in self._tasks:
            task.cancel()

    def _accept(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self.control, 16, 1)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if not message and not descriptors:  # the fetcher has ended
            self._loop.remove_reader(self.control.fileno())
            return
        for descriptor in descriptors:
            if len(self.log) >= MAX_CONNECTIONS:
                self.limit = self.limit or "connections"
            if self.limit:
                os.close(descriptor)
                continue
            line = Connection(len(self.log) + 1, self.clock().isoformat(timespec="milliseconds"))
            self.log.append(line)
            try:
                fetcher = socket.socket(fileno=descriptor)
            except OSError:  # only a fetcher that was taken over sends what is no socket
                os.close(descriptor)
                line.refused = "not a socket"
                continue
            fetcher.setblocking(False)
            task = self._loop.create_task(self._serve(fetcher, line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, fetcher: socket.socket, line: Connection) -> None:
        streams = []
        try:
            reader, writer = await asyncio.open_connection(sock=fetcher)
            streams.append(writer)
            try:
                await asyncio.wait_for(self._asked(reader, writer, line), HANDSHAKE_S)
                target = await asyncio.to_thread(self._checked, line)
                up, down = await self._connected(target, line)
            except _Denied as denied:
                line.refused = denied.why
                writer.write(b"\x05" + denied.code + b"\x00\x01" + bytes(6))
                await writer.drain()
                return
            streams.append(down)
            address = ipaddress.ip_address(line.address or "")
            kind = b"\x01" if address.version == 4 else b"\x04"
            port = line.port.to_bytes(2, "big")
            writer.write(b"\x05\x00\x00" + kind + address.packed + port)
            await self._relay((reader, down), (up, writer), line)
        except (OSError, EOFError, ValueError, TimeoutError):
            line.refused = line.refused or (None if line.address else "no handshake")
        finally:
            for stream in streams:
                stream.transport.abort()
            fetcher.close()  # last: what a transport still watches, it could not let go of

    async def _asked(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Connection
    ) -> None:
        """Read to which host and port a connection is wanted."""
        version, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(b"\x05\x00")
        again, command, _, kind = await reader.readexactly(4)
        if (version, again, command, kind) != (5, 5, 1, 3):
            raise _Denied(_REFUSED, "not a CONNECT by name")
        (length,) = await reader.readexactly(1)
        host = (await reader.readexactly(length)).decode("ascii", errors="replace").lower()
        line.port = int.from_bytes(await reader.readexactly(2), "big")
        try:
            line.host = str(ipaddress.ip_address(host))
        except ValueError:
            if not _NAME.fullmatch(host):
                raise _Denied(_NO_NAME, "not a host name") from None
            line.host = host.rstrip(".")

    def _checked(self, line: Connection) -> outbound.Target:
        """Resolve a host once, and check each of its addresses."""

        def resolve(host: str, port: int) -> Sequence[str]:
            line.answers = found = list(outbound.resolved(host, port, self._resolvers))[:16]
            return found

        host = f"[{line.host}]" if ":" in line.host else line.host
        try:
            return outbound.check(
                f"http://{host}:{line.port}/", allowed=self.allowed, resolve=resolve
            )
        except (InvalidRequest, Overloaded) as error:
            failure = failure_of_check(error)
            if failure is Failure.REFUSED_ADDRESS:
                raise _Denied(_REFUSED, "not public") from error
            raise _Denied(_NO_NAME, str(failure)) from error

    async def _connected(
        self, target: outbound.Target, line: Connection
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for address in target.addresses:
            with contextlib.suppress(OSError, TimeoutError):
                found = await asyncio.wait_for(
                    asyncio.open_connection(address, line.port), CONNECT_S
                )
                line.address = address
                return found
        raise _Denied(_UNREACHABLE, "unreachable")

    async def _relay(
        self,
        out: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        back: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        line: Connection,
    ) -> None:
        """Pass bytes both ways until the server has ended, or the fetcher."""

        async def pump(ways: tuple[asyncio.StreamReader, asyncio.StreamWriter], name: str) -> None:
            reader, writer = ways
            while data := await reader.read(BLOCK):
                setattr(line, name, getattr(line, name) + len(data))
                if sum(getattr(each, name) for each in self.log) > MAX_BYTES[name]:
                    self._stop("bytes")
                    return
                writer.write(data)
                await writer.drain()

        sending = asyncio.ensure_future(pump(out, "sent"))
        receiving = asyncio.ensure_future(pump(back, "received"))
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():  # what was passed on last must leave before the connection ends
                back[1].close()
                await back[1].wait_closed()
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)
