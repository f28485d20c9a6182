"""What a submitter is told of their own submissions: names, states and verdicts, by ids of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, select

from deepfake_service.casework.core.disagreements import disagreed
from deepfake_service.casework.core.listings import open_listing, open_reasons
from deepfake_service.casework.core.pagination import JobPage
from deepfake_service.casework.core.queries import job_json
from deepfake_service.casework.core.read_audit import ReadAudit
from deepfake_service.casework.core.unreadable import opened_rows
from deepfake_service.casework.core.visibility import visible_to
from deepfake_service.db import Case, Database, Job, Listing, Media, Occurrence
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import Action
from deepfake_service.storage import Vault, open_json


class SubmittedJobs:
    """Reads the jobs that an account submitted itself."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._read_audit = ReadAudit(database.clock)

    def of(self, caller: Caller, ids: Sequence[str]) -> JobPage:
        """Return the jobs with these ids, in this order, that the caller's account submitted.

        Others, and deleted ones, are left out. Each job has its ``name`` and ``case_reference``,
        the number of ``posts`` where its medium was seen, ``held`` if a legal hold keeps it, and
        the codes of the ``reasons`` for which it could not be evaluated. Names are sealed, and
        reading them is audited once in ten minutes.
        """
        statement = (
            select(Job, Media, Case, Listing, disagreed())
            .join(Media, Job.media_id == Media.id)
            .join(Case, Job.case_id == Case.id)
            .outerjoin(Listing, Listing.id == Job.id)
            .where(
                Job.id.in_(ids),
                Job.account_id == caller.account_id,
                Case.sealed.is_not(None),
                visible_to(caller),
            )
        )
        with self._database.read() as session:
            rows = session.execute(statement).all()
            media = [row[1].id for row in rows]
            seen = session.execute(
                select(Occurrence.media_id, func.count())
                .where(Occurrence.media_id.in_(media))
                .group_by(Occurrence.media_id)
            ).all()
            posts = {row[0]: row[1] for row in seen}
        if rows:
            self._read_audit.note(self._database, caller, Action.RESULT_READ, detail="list")
        jobs = {
            row[0].id: {**shown, "posts": posts.get(row[1].id, 0)}
            for row, shown in opened_rows(rows, self._shown)
        }
        return JobPage([jobs[i] for i in dict.fromkeys(ids) if i in jobs], None)

    def _shown(self, row: Any) -> dict[str, Any]:
        job, media, case, listing, disagree = row
        key = self._vault.case_key(case)
        return {
            **job_json(job, media, self._database.clock(), disagree),
            "name": open_listing(key, listing)["name"],
            "case_reference": open_json(key, case)["reference"],
            "held": case.held_at is not None,
            "reasons": open_reasons(key, job),
        }
