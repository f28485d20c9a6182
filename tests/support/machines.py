"""An installation on several machines: services, workers, PostgreSQL and S3, each at an address of
its own, and a receiver of webhooks. Machines can be cut off, killed and started again.

The machines are network namespaces, joined by a bridge; the test's own process is the machine
``.1``. Addresses are from the range for benchmarks (RFC 2544), which no real network uses.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import databases, forking
from tests.support.footage import clip
from tests.support.loopback import serving
from tests.support.programs.faulty_s3 import PATH as FAULTS
from tests.support.servers import NO_TLS, WAIT_S, Process, Site, wait_until


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

    def open(self) -> None:
        _ip("netns", "add", self._hub)
        _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", self._hub, "link", "set", "bridge", "up")
        _ip("-n", self._hub, "link", "add", f"{self.name}p1", "type", "veth",
            "peer", "name", self.name, "netns", str(os.getpid()))  # fmt: skip
        _ip("-n", self._hub, "link", "set", f"{self.name}p1", "master", "bridge", "up")
        _ip("address", "add", f"{self.own_address}/24", "dev", self.name)
        _ip("link", "set", self.name, "up")

    def close(self) -> None:
        for namespace in (*(m.namespace for m in self.machines), self._hub):
            with contextlib.suppress(NetworkImpossible):
                _ip("netns", "delete", namespace)
        with contextlib.suppress(NetworkImpossible):
            _ip("link", "delete", self.name)  # unless it went with its peer


class NetworkImpossible(Exception):
    """Namespaces or links cannot be made here."""


@contextlib.contextmanager
def open_network() -> Iterator[Network]:
    """Make a network, and remove it at the end of the block.

    Raises:
        NetworkImpossible: the reason says what is missing.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise NetworkImpossible("needs root and iproute2 (ip)")
    number = secrets.randbelow(512)
    opened = Network(f"df{number:x}", f"198.{18 + number // 256}.{number % 256}")
    try:
        opened.open()
        yield opened
    finally:
        opened.close()


def _ip(*words: str) -> None:
    done = subprocess.run(
        ["ip", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NetworkImpossible(f"ip {' '.join(words)}: {done.stderr.strip()}")


MASTER_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
API_PORT, S3_PORT = 8000, 9000


class Receiver(ThreadingHTTPServer):
    """Counts the webhooks that arrive, by their id, and remembers the bodies."""

    def __init__(self, address: str) -> None:
        self.arrived: Counter[str] = Counter()
        self.bodies: dict[str, set[bytes]] = {}
        super().__init__((address, 0), _Counting)
        self.url = f"http://{address}:{self.server_address[1]}/hook"


class _Counting(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = self.headers["webhook-id"]
        self.server.arrived[message] += 1
        self.server.bodies.setdefault(message, set()).add(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be silent."""


@dataclass
class Node(Site):
    """A service or a worker on a machine of its own, with a data directory of its own."""

    machine: Machine | None = None
    role: tuple[str, ...] = ("worker",)
    process: Process | None = None

    @property
    def running(self) -> Process:
        assert self.process is not None
        return self.process

    def begin(self) -> None:
        """Start the process, and do not wait until it is ready."""
        self.process = self.start(*self.role)

    def wait_until_ready(self) -> None:
        """Wait until it accepts requests, or takes jobs."""
        if self.role == ("worker",):
            self.running.wait_for_log(r"(worker_started)")
            return
        self.url = self.running.wait_for_log(r"Serving on (http://\S+)")
        wait_until(self.is_ready, lambda: self.running.log)


@dataclass
class Cluster:
    """All machines of an installation."""

    services: Sequence[Node]
    workers: Sequence[Node]
    postgres: databases.Server
    receiver: Receiver
    s3_url: str

    def faults_of_s3(self, *, share: float = 0.0, delay_s: float = 0.0) -> None:
        """Let the S3 server answer a share of the requests with 500, and all of them late."""
        faults = {"share": share, "delay_s": delay_s}
        httpx.put(f"{self.s3_url}{FAULTS}", json=faults).raise_for_status()

    def restart_postgres(self) -> None:
        """Crash PostgreSQL and start it again."""
        self.postgres.stop()
        self.postgres.start()

    def log(self) -> str:
        """Return the ends of all logs."""
        nodes = [*self.services, *self.workers]
        return "\n".join(f"{n.root.name}: {n.running.log[-2000:]}" for n in nodes)


@contextlib.contextmanager
def cluster(
    root: Path, *, services: int, workers: int, program: str = forking.MODULE, **settings: str
) -> Iterator[Cluster]:
    """Start an installation; skip the test where networks or PostgreSQL are missing."""
    if databases.binaries() is None:
        pytest.skip("PostgreSQL is not installed")
    with contextlib.ExitStack() as stack:
        try:
            network = stack.enter_context(open_network())
            machines = [network.machine() for _ in range(2 + services + workers)]
        except NetworkImpossible as reason:
            pytest.skip(f"no network namespaces here: {reason}")
        at_postgres, at_s3, *others = machines
        postgres = stack.enter_context(databases.running(at_postgres.address, at_postgres.prefix))
        database_url = postgres.over_network(postgres.new_database())
        s3_url = stack.enter_context(_s3(root, at_s3))
        receiver = stack.enter_context(serving(Receiver(network.own_address)))
        shared = {
            "DEEPFAKE_DATABASE_URL": database_url,
            "DEEPFAKE_BLOB_URL": "s3://evidence/blobs",
            "DEEPFAKE_MASTER_KEY": MASTER_KEY,
            "DEEPFAKE_CALLBACK_HOSTS": network.own_address,
            "DEEPFAKE_JOBS_AT_ONCE": "1",
            "AWS_ENDPOINT_URL": s3_url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "something",
            "AWS_REGION": "us-east-1",
            **settings,
        }
        nodes = []
        for number, machine in enumerate(others):
            is_service = number < services
            name = f"service-{number}" if is_service else f"worker-{number - services}"
            here = {"DEEPFAKE_HOST": machine.address, "DEEPFAKE_PORT": str(API_PORT)}
            node = Node(
                root / name,
                {**shared, **(here if is_service else {})},
                program=program,
                namespace=machine.namespace,
                machine=machine,
                role=("serve", "--no-worker") if is_service else ("worker",),
            )
            nodes.append(stack.enter_context(node))
        for node in nodes:
            node.begin()
        for node in nodes:
            node.wait_until_ready()
        yield Cluster(nodes[:services], nodes[services:], postgres, receiver, s3_url)


@contextlib.contextmanager
def _s3(root: Path, machine: Machine) -> Iterator[str]:
    url = f"http://{machine.address}:{S3_PORT}"
    words = ("-m", "tests.support.programs.faulty_s3", machine.address, str(S3_PORT))
    with (root / "s3.log").open("wb") as log:
        server = subprocess.Popen(
            [*machine.prefix, sys.executable, *words],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:

        def made() -> bool:
            assert server.poll() is None, (root / "s3.log").read_text()
            with contextlib.suppress(httpx.HTTPError):
                return httpx.put(f"{url}/evidence", timeout=5, verify=NO_TLS).is_success
            return False

        wait_until(made, explain=(root / "s3.log").read_text)
        yield url
    finally:
        server.kill()
        server.wait()


def submit(cluster: Cluster, numbers: range, frames: int = 40) -> list[str]:
    """Submit a video for each number, to the services in turn, and return the jobs.

    Each has a case and a callback of its own, and this many ``frames``.
    """
    services = cluster.services
    return [
        services[number % len(services)].submit(
            clip(number % 50, frames, str(number).encode()),
            callback_url=cluster.receiver.url,
            case_reference=f"R-{number}",
        )["id"]
        for number in numbers
    ]


def require_all_done(cluster: Cluster, jobs: list[str], within_s: float = WAIT_S) -> None:
    """Assert that each job has ended once, with evidence that verifies, and was reported."""
    first, second = cluster.services[0], cluster.services[-1]
    unfinished = set(jobs)

    def ended() -> bool:
        for job_id in sorted(unfinished):
            if first.job(job_id)["state"] in ("queued", "running"):
                return False
            unfinished.discard(job_id)
        return True

    wait_until(ended, cluster.log, within_s=within_s)
    for job_id in jobs:
        job = first.job(job_id)
        assert job["state"] == "succeeded", job
        with second.client as client:
            evidence = client.get(f"/v1/jobs/{job_id}/evidence")
            assert evidence.status_code == 200, evidence.text
            editions = client.get(f"/v1/jobs/{job_id}/evidence/editions").json()["editions"]
            assert [edition["edition"] for edition in editions] == [1]
            verified = client.post("/v1/verify", content=evidence.content).json()
            assert verified["result"] == "verified", verified
    assert sorted(first.finished_jobs()) == sorted(jobs)
    receiver = cluster.receiver
    wait_until(lambda: len(receiver.arrived) == len(jobs), cluster.log, within_s=within_s)
    reported = [{json.loads(body)["data"]["id"] for body in b} for b in receiver.bodies.values()]
    assert sorted(job_id for (job_id,) in reported) == sorted(jobs)
