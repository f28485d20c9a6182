"""Processes whose parent gives them connections, and nothing else."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepfake_models.sandbox.pool import ProcessPool
from deepfake_models.sandbox.protocol import Options
from tests.support import attacks
from tests.support.pools import BOUNDS, run


@pytest.fixture(scope="module")
def connecting() -> Iterator[ProcessPool]:
    made = ProcessPool(Options(tasks=(attacks.DIAL, attacks.PAYLOAD), connects=True), 1)
    yield made
    made.close()


def echo(gate: socket.socket) -> None:
    """Answer the first connection that a process asks for with what it sends."""
    with gate:
        _, (descriptor,), _, _ = socket.recv_fds(gate, 16, 1)
    with socket.socket(fileno=descriptor) as connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data.upper())


def test_a_process_reaches_whom_its_parent_connects_it_to(connecting: ProcessPool) -> None:
    with connecting.process() as process:
        thread = threading.Thread(target=echo, args=(process.gate_socket(),))
        thread.start()
        *_, answer = process.pieces(attacks.DIAL, io.BytesIO(), b"hello", BOUNDS, 0)
        thread.join()
    assert answer == b"HELLO"


def test_a_process_that_gets_no_connections_can_ask_for_none() -> None:
    pool = ProcessPool(Options(tasks=(attacks.DIAL,)), 1)
    try:
        assert run(pool, attacks.DIAL, b"hello").startswith(b"failed: ")
    finally:
        pool.close()


def test_connections_give_a_process_that_was_taken_over_nothing_else(
    connecting: ProcessPool, tmp_path: Path
) -> None:
    if not connecting.confinement().complete:
        pytest.skip(f"the kernel grants no {connecting.confinement().missing}")
    for name in ("blob", "master-key", "spare", "records.sqlite"):
        (tmp_path / name).write_bytes(b"secret")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = {"parent": 1, "folder": str(tmp_path), "port": listener.getsockname()[1]}
        outcomes = json.loads(run(connecting, attacks.PAYLOAD, json.dumps(target).encode()))
    gained = {name for name, what in outcomes.items() if not what.startswith("failed")}
    assert gained == {"socket_pair", "other_descriptors"}, "the second is the way to the gate"
    assert len(outcomes) > 30
