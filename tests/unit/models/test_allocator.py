"""Test that threads do not each keep memory of their own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, re, threading
from deepfake_models.machine import share_arenas
share_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(8)
def allocate():
    together.wait()
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_threads_share_two_arenas() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert 1 <= done.stdout.count("<heap nr=") <= 2


FRAGMENTED = """
import ctypes, sys, time
from deepfake_models import machine
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

freed = []
for _ in range(1000):
    freed.append(libc.malloc(64 << 10))
    ctypes.memset(ctypes.c_void_p(freed[-1]), 1, 64 << 10)
    libc.malloc(64)  # lives on, so that what is freed around it is not at the end of the heap
for address in freed:
    libc.free(address)
held = resident_mb()
machine.RETURN_EVERY_S = 0.05
with machine.returning_free_memory():
    deadline = time.monotonic() + 30
    while resident_mb() > held - 50 and time.monotonic() < deadline:
        time.sleep(0.05)
print(held, resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is of glibc")
def test_freed_memory_between_living_objects_is_returned_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FRAGMENTED], capture_output=True, text=True, check=True
    )
    before, after = map(int, done.stdout.split())
    assert before - after > 50
