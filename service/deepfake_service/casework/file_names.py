"""The names of the files of a case, as the queue shows them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from deepfake_service.casework.core.listings import open_listing
from deepfake_service.casework.core.unreadable import opened_rows
from deepfake_service.casework.core.visibility import visible_to
from deepfake_service.db import Case, Database, Job, Listing, Media
from deepfake_service.security.accounts import Caller
from deepfake_service.storage import Vault

DIGEST_CHARS = 12
"""Characters of the SHA-256 that stand for a file without a name."""


@dataclass(frozen=True, slots=True)
class NamedFiles:
    """Names of files, each the beginning of the SHA-256 if the file has none."""

    by_job: dict[str, str]
    by_medium: dict[str, str]
    """Of a file that was submitted again, the last name."""


class FileNames:
    """Reads names of files for callers, who find only what they may see."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def of_case(self, caller: Caller, case_id: str, media_ids: Collection[str]) -> NamedFiles:
        """Return the names of media of a case, and of their jobs.

        It is not audited: call it where reading the case is.
        """
        statement = (
            select(Job, Media, Case, Listing)
            .join(Media, Job.media_id == Media.id)
            .join(Case, Job.case_id == Case.id)
            .outerjoin(Listing, Listing.id == Job.id)
            .where(
                Job.case_id == case_id,
                Job.media_id.in_(media_ids),
                Case.sealed.is_not(None),
                visible_to(caller),
            )
            .order_by(Job.created_at, Job.id)
        )
        with self._database.read() as session:
            rows = session.execute(statement).all()
        by_job, by_medium = {}, {}
        for row, name in opened_rows(rows, self._name):
            by_job[row[0].id] = by_medium[row[1].id] = name
        return NamedFiles(by_job, by_medium)

    def _name(self, row: Any) -> str:
        _, media, case, listing = row
        name: str | None = open_listing(self._vault.case_key(case), listing)["name"]
        return name or media.sha256[:DIGEST_CHARS]
