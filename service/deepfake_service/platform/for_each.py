"""Do the same with many rows, so that one of them that fails does not hold up the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from deepfake_service.platform.errors import DatabaseDamaged, DatabaseUnavailable
from deepfake_service.platform.logs import describe, logger

T = TypeVar("T")

FAILING_S = 60.0
"""How long the rows that fail may take together. A store that does not answer takes half a minute
for each, and the sweep has more to do than what needs the store."""

_log = logger("deepfake_service.lifecycle")


def for_each(
    ids: Iterable[str], task: Callable[[str], T], *, ticks: Callable[[], float] = time.monotonic
) -> list[T]:
    """Call ``task`` with each id, and return the results of those that succeed.

    What fails, for whatever reason, is logged and tried again by the next sweep: it must not keep
    the others from being deleted.

    Raises:
        DatabaseUnavailable, DatabaseDamaged: there is no use in trying the others.
        Exception: the last one, once failures have taken ``FAILING_S``.
    """
    results = []
    failing_s = 0.0
    for row_id in ids:
        began = ticks()
        try:
            results.append(task(row_id))
        except (DatabaseUnavailable, DatabaseDamaged):
            raise
        except Exception as error:
            _log.error("deletion_failed", row=row_id, failure=describe(error))
            failing_s += ticks() - began
            if failing_s >= FAILING_S:
                raise
    return results
