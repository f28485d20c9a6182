"""Rows that fail do not hold up the others, unless they take too long."""

from __future__ import annotations

from itertools import count

import pytest

from deepfake_service.platform.chores import FAILING_S, for_each
from deepfake_service.platform.errors import DatabaseUnavailable, RecordAltered, StorageUnavailable


@pytest.mark.parametrize("error", [StorageUnavailable, RecordAltered, ValueError])
def test_a_row_that_fails_does_not_hold_up_the_others(error: type[Exception]) -> None:
    done = []

    def task(row_id: str) -> None:
        if row_id == "b":
            raise error
        done.append(row_id)

    for_each("abc", task)
    assert done == ["a", "c"]


def test_nothing_else_is_tried_while_the_database_does_not_answer() -> None:
    tried = []

    def task(row_id: str) -> None:
        tried.append(row_id)
        raise DatabaseUnavailable

    with pytest.raises(DatabaseUnavailable):
        for_each("abc", task)
    assert tried == ["a"]


def test_a_store_that_does_not_answer_is_not_asked_for_every_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def task(row_id: str) -> None:
        tried.append(row_id)
        if row_id != "c":
            raise StorageUnavailable

    ticks = count(step=FAILING_S / 3)
    monkeypatch.setattr("deepfake_service.platform.chores.time.monotonic", lambda: next(ticks))
    with pytest.raises(StorageUnavailable):
        for_each("abcdef", task)
    assert tried == ["a", "b", "c", "d"]
