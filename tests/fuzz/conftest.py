"""The harnesses, opened once."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from tests.fuzz import harnesses

MAX_GROWTH = 768 << 20
"""Bytes that this process may grow by while it gives mutants to the harnesses."""


@pytest.fixture(scope="module")  # to its end: later tests of this process grow it, too
def opened() -> Iterator[dict[str, harnesses.Harness]]:
    before = _peak()
    with harnesses.opened() as by_name:
        yield by_name
    assert _peak() - before < MAX_GROWTH


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
