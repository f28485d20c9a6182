"""A pool of confined processes: what one task does costs no other, and every wait has an end."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from deepfake_models.errors import DecoderFailed, MediaTooLarge, SandboxBusy
from deepfake_models.sandbox import protocol as wire
from deepfake_models.sandbox.pool import ProcessPool, TaskBounds
from tests.support import attacks
from tests.support.pools import run
from tests.support.servers import running, wait_until


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


def test_a_process_ends_while_its_server_hangs(pool: ProcessPool) -> None:
    with ExitStack() as hanging, pool.process() as process:
        server = pool._server.process
        assert server is not None
        ending = threading.Thread(target=process.close)
        os.kill(server.pid, signal.SIGSTOP)
        hanging.callback(os.kill, server.pid, signal.SIGCONT)
        control = hanging.enter_context(pool._server._control.dup())
        control.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                control.send(b"end 0")
        ending.start()
        wait_until(lambda: not running(process.pid))
        hanging.close()
        ending.join()
    assert run(pool, attacks.READ) == b"source"


def test_an_item_for_which_no_descriptor_is_left_gives_its_turn_back(pool: ProcessPool) -> None:
    assert run(pool, attacks.READ) == b"source"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        last = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (last + 2, limits[1]))
        with suppress(OSError):
            while True:
                opened.callback(os.close, os.dup(0))
        with pytest.raises(OSError, match="Too many open files"):
            run(pool, attacks.READ)
    bounds = TaskBounds(60.0, 6 << 30, wait_s=30.0)
    assert run(pool, attacks.READ, bounds=bounds) == b"source"
