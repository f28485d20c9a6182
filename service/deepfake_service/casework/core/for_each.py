"""Do the same with many rows, so that one of them that fails does not hold up the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from deepfake_models.errors import DeepfakeError
from deepfake_service.errors import DatabaseDamaged, DatabaseUnavailable, RecordAltered
from deepfake_service.observability.logs import describe, logger

T = TypeVar("T")

_log = logger("deepfake_service.lifecycle")


def for_each(ids: Iterable[str], task: Callable[[str], T]) -> list[T]:
    """Call ``task`` with each id, and return the results of those that succeed.

    What fails is logged and tried again by the next sweep: it must not keep the others from being
    deleted. What belongs to an altered record is left as it is.

    Raises:
        DatabaseUnavailable, DatabaseDamaged: there is no use in trying the others.
    """
    results = []
    for row_id in ids:
        try:
            results.append(task(row_id))
        except (DatabaseUnavailable, DatabaseDamaged):
            raise
        except RecordAltered:
            continue  # its refusal was logged and counted
        except DeepfakeError as error:
            _log.error("deletion_failed", row=row_id, failure=describe(error))
    return results
