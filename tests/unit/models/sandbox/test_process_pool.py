"""A pool of confined processes: what one task does costs no other, and every wait has an end."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from deepfake_models.errors import DecoderFailed, MediaTooLarge, SandboxBusy
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.pool import ProcessPool, TaskBounds
from tests.support import attacks
from tests.support.pools import run
from tests.support.servers import Watch, wait_until


def test_a_crash_costs_one_item(pool: ProcessPool) -> None:
    with pytest.raises(DecoderFailed):
        run(pool, attacks.CRASH)
    assert run(pool, attacks.READ) == b"source"


def test_a_process_that_dies_after_its_item_costs_no_other(pool: ProcessPool) -> None:
    for _ in range(10):
        with pool.process() as process:
            os.kill(process.pid, signal.SIGKILL)
        assert run(pool, attacks.READ) == b"source"


def test_a_task_that_never_ends_is_ended(pool: ProcessPool) -> None:
    started = time.monotonic()
    with pytest.raises(DecoderFailed):
        run(pool, attacks.SPIN, bounds=TaskBounds(0.5, 6 << 30))
    assert time.monotonic() - started < 30
    assert run(pool, attacks.READ) == b"source"


def test_a_task_gets_no_more_memory_than_its_bounds(pool: ProcessPool) -> None:
    bounds = TaskBounds(60.0, 1 << 30)
    assert run(pool, attacks.SWELL, b"1000000", bounds) == b"1000000"
    with pytest.raises(MediaTooLarge):
        run(pool, attacks.SWELL, str(2 << 30).encode(), bounds)
    # The next task has its own bounds again.
    assert run(pool, attacks.SWELL, str(2 << 30).encode()) == str(2 << 30).encode()


def test_a_task_that_was_not_named_at_the_start_is_not_run() -> None:
    pool = ProcessPool(wire.Options(tasks=(attacks.READ,)), 1)
    try:
        assert run(pool, attacks.READ) == b"source"
        with pytest.raises(DecoderFailed):
            run(pool, attacks.SWELL, b"1")
    finally:
        pool.close()


def test_a_result_longer_than_allowed_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ProcessPool(wire.Options(tasks=(attacks.READ,)), 1)
    monkeypatch.setattr(wire, "MAX_RESULT_BYTES", 3)
    try:
        with pytest.raises(DecoderFailed):
            run(pool, attacks.READ)
    finally:
        pool.close()


def test_waiting_for_a_free_process_has_an_end(pool: ProcessPool) -> None:
    with pool.process(), pytest.raises(SandboxBusy):
        run(pool, attacks.READ, bounds=TaskBounds(60.0, 6 << 30, wait_s=0.05))
    assert run(pool, attacks.READ) == b"source"


def test_an_item_gives_its_turn_back_when_no_other_process_can_be_started(
    pool: ProcessPool,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened, pool.process():
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        last = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 2, limits[1]))
        with suppress(OSError):
            while True:
                opened.callback(os.close, os.dup(0))
    bounds = TaskBounds(60.0, 6 << 30, wait_s=30.0)
    assert run(pool, attacks.READ, bounds=bounds) == b"source"


def test_an_item_for_which_no_thread_can_be_started_gives_its_process_up(
    pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pool.process():
        pass
    server = pool._server.process
    assert server is not None

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            run(pool, attacks.READ)
    wait_until(lambda: not Watch(server.pid).living())
    assert run(pool, attacks.READ) == b"source"


def test_a_process_is_given_up_at_once_while_its_server_hangs() -> None:
    pool = ProcessPool(wire.Options(), 1)
    with contextlib.closing(pool), pool.process() as process:
        server = pool._server.process
        assert server is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pool._server._control.dup() as control:
                control.setblocking(False)
                with suppress(BlockingIOError):
                    while True:
                        control.send(b"end 0")
            killing = threading.Thread(target=process.kill)
            killing.start()
            assert process.connection.poll(30.0)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        killing.join()
