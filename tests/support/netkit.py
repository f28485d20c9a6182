"""A network of machines on one computer: network namespaces, joined by a bridge.

The test's own process is the machine ``.1`` of the network. Addresses are from the range for
benchmarks (RFC 2544), which no real network uses.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Machine:
    """A machine: a namespace with one link to the bridge."""

    namespace: str
    address: str
    port: str
    """The end of its link at the bridge."""
    hub: str

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words that run a command on this machine."""
        return ("ip", "netns", "exec", self.namespace)

    def cut_off(self) -> None:
        """Pull its cable out: nothing arrives, and nobody is told."""
        _ip("-n", self.hub, "link", "set", self.port, "down")

    def reconnect(self) -> None:
        """Put its cable back."""
        _ip("-n", self.hub, "link", "set", self.port, "up")


@dataclass
class Network:
    """A bridge in a namespace of its own, to which machines are connected."""

    name: str
    subnet: str
    machines: list[Machine] = field(default_factory=list)

    @property
    def own_address(self) -> str:
        """The address of the test's process."""
        return f"{self.subnet}.1"

    @property
    def _hub(self) -> str:
        return f"{self.name}-hub"

    def machine(self) -> Machine:
        """Connect another machine."""
        number = len(self.machines) + 2
        namespace, port = f"{self.name}-{number}", f"{self.name}p{number}"
        machine = Machine(namespace, f"{self.subnet}.{number}", port, self._hub)
        _ip("netns", "add", namespace)
        self.machines.append(machine)
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", self._hub, "link", "add", port, "type", "veth",
            "peer", "name", "eth0", "netns", namespace)  # fmt: skip
        _ip("-n", self._hub, "link", "set", port, "master", "bridge", "up")
        _ip("-n", namespace, "address", "add", f"{machine.address}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        return machine

    def _open(self) -> None:
        _ip("netns", "add", self._hub)
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")
        _ip("-n", self._hub, "link", "add", f"{self.name}p1", "type", "veth",
            "peer", "name", self.name, "netns", str(os.getpid()))  # fmt: skip
        _ip("-n", self._hub, "link", "set", f"{self.name}p1", "master", "bridge", "up")
        _ip("address", "add", f"{self.own_address}/24", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def _close(self) -> None:
        for namespace in (*(m.namespace for m in self.machines), self._hub):
            with contextlib.suppress(NetworkImpossible):
                _ip("netns", "delete", namespace)
        with contextlib.suppress(NetworkImpossible):
            _ip("link", "delete", self.name)  # unless it went with its peer


class NetworkImpossible(Exception):
    """Namespaces or links cannot be made here."""


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make a network, and remove it at the end of the block.

    Raises:
        NetworkImpossible: the reason says what is missing.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NetworkImpossible("needs root and iproute2 (ip)")
    number = secrets.randbelow(512)
    opened = Network(f"df{number:x}", f"198.{18 + number // 256}.{number % 256}")
    try:
        opened._open()
        yield opened
    finally:
        opened._close()


def _ip(*words: str) -> None:
    done = subprocess.run(
        ["ip", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NetworkImpossible(f"ip {' '.join(words)}: {done.stderr.strip()}")
