"""Lists of jobs with the values of their results, by which a caller can rank them."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import select

from deepfake_service.casework.core.pagination import Filters, JobPage, Order
from deepfake_service.casework.core.queries import Queries, media_kind
from deepfake_service.casework.core.read_audit import ReadAudit
from deepfake_service.casework.core.unreadable import opened_rows
from deepfake_service.db import Case, Database, Job
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action
from deepfake_service.storage import Vault, open_json

VALUES = ("score", "log_likelihood_ratio")
UNKNOWN = dict.fromkeys((*VALUES, "media_kind"))


class ScoredJobs:
    """Opens the results of a page for callers who may see them."""

    def __init__(self, database: Database, vault: Vault, queries: Queries) -> None:
        self._database = database
        self._vault = vault
        self._queries = queries
        self._read_audit = ReadAudit(database.clock)

    def page(self, caller: Caller, filters: Filters, *, limit: int, cursor: str | None) -> JobPage:
        """Return a page of jobs, each with ``VALUES``: ``None`` where nothing was scored; and with
        ``media_kind``.

        Reading the values of a list is audited once in ten minutes for each key.

        Raises:
            InvalidRequest: the cursor is invalid.
        """
        page = self._queries.jobs(caller, filters, limit=limit, cursor=cursor)
        opened = self._opened([job["id"] for job in page.jobs])
        if opened:
            self._read_audit.note(self._database, caller, Action.RESULT_READ, detail="list")
        jobs = [{**job, **opened.get(job["id"], UNKNOWN)} for job in page.jobs]
        if filters.order is Order.LIKELIHOOD:
            jobs.sort(key=_likelihood, reverse=True)  # exactly, and else as they were
        return JobPage(jobs, page.next)

    def _opened(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        statement = (
            select(Job, Case)
            .join(Case, Job.case_id == Case.id)
            .where(Job.id.in_(ids), Job.result.is_not(None), Case.sealed.is_not(None))
        )
        with self._database.read() as session:
            rows = session.execute(statement).all()
        return {row[0].id: shown for row, shown in opened_rows(rows, self._values)}

    def _values(self, row: Any) -> dict[str, Any]:
        job, case = row
        result = open_json(self._vault.case_key(case), job)
        return {
            **{name: result.get(name) for name in VALUES},
            "media_kind": media_kind(result),
        }


def _likelihood(job: dict[str, Any]) -> float:
    value = job["log_likelihood_ratio"]
    return -math.inf if value is None else value
