"""Hashes of confirmed cases, and submissions that look like one: links, never verdicts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.blind_index import installation_key
from deepfake_service.casework.core.permissions import visible
from deepfake_service.casework.core.queries import row_of, stated
from deepfake_service.casework.evidence_store import examination_of
from deepfake_service.db import (
    Case,
    Database,
    Job,
    KnownHashes,
    Match,
    Review,
    new_id,
)
from deepfake_service.db.enums import Finding
from deepfake_service.evidence.hash_index import MIN_SHARE, exchange_lines, share_alike, usable
from deepfake_service.security.accounts import Caller
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.storage import BlobMissing, Vault, context_of
from deepfake_service.storage.envelope import KeyWrapper, seal, unseal

_KEY = "matching"
CAUGHT_UP_AT_ONCE = 100


class HashBank:
    """The hashes that are known. Where ``enabled`` is not set nothing is kept and nothing found."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        keys: KeyWrapper,
        *,
        enabled: bool,
        kept_for: timedelta,
    ) -> None:
        self._database = database
        self._vault = vault
        self._enabled = enabled
        self._kept_for = kept_for
        self._key = installation_key(database, keys, _KEY) if enabled else b""

    def remember(self, job_id: str) -> None:
        """Keep the hashes of a job's medium, which people confirmed."""
        if not self._enabled:
            return
        with self._database.read() as session:
            job = session.get_one(Job, job_id)
            case = session.get_one(Case, job.case_id)
        key = self._vault.case_key(case.id, case.wrapped_key)
        try:
            hashes = examination_of(self._vault, job, key)["hashes"]
        except BlobMissing:
            return
        pdq = usable(hashes)
        if not pdq:
            return
        content = json.dumps({"pdq": pdq, "vpdq": hashes.get("vpdq") or []}).encode()
        now = self._database.clock()
        with self._database.write() as session:
            self.forget(session, job_id)
            again = session.get(Job, job_id, with_for_update=True)
            if again is None or again.finding != Finding.CONFIRMED:
                return  # somebody has decided otherwise in the meantime
            session.add(
                KnownHashes(
                    id=new_id(),
                    case_id=case.id,
                    job_id=job_id,
                    sealed=seal(self._key, content, context_of("known", job_id)),
                    created_at=now,
                    expires_at=now + self._kept_for,
                )
            )

    def remember_recent(self) -> None:
        """Keep the hashes of what was confirmed in the last day and was not kept, by a crash."""
        if not self._enabled:
            return
        since = self._database.clock() - timedelta(days=1)
        with self._database.read() as session:
            lacking = session.scalars(
                select(Job.id)
                .where(
                    Job.finding == Finding.CONFIRMED,
                    Job.id.in_(select(Review.job_id).where(Review.created_at > since)),
                    Job.id.not_in(select(KnownHashes.job_id)),
                )
                .limit(CAUGHT_UP_AT_ONCE)
            ).all()
        for job_id in lacking:
            self.remember(job_id)

    @staticmethod
    def forget(session: Session, job_id: str) -> None:
        """Forget the hashes of a job's medium, which people do not confirm (any more)."""
        session.execute(delete(KnownHashes).where(KnownHashes.job_id == job_id))

    def forget_expired(self) -> None:
        """Forget hashes whose time is over."""
        with self._database.write() as session:
            session.execute(
                delete(KnownHashes).where(KnownHashes.expires_at <= self._database.clock())
            )

    def look_for(self, job: Job, hashes: dict[str, Any]) -> None:
        """Link a job to the earlier cases that its medium looks like."""
        if not self._enabled:
            return
        submitted = usable(hashes)
        with self._database.read() as session:
            known = session.scalars(
                select(KnownHashes).where(KnownHashes.case_id != job.case_id)
            ).all()
        for entry in known:
            share = share_alike(submitted, self._opened(entry)["pdq"])
            if share < MIN_SHARE:
                continue
            with self._database.write() as session:
                seen = select(Match.id).where(
                    Match.job_id == job.id, Match.case_id == entry.case_id
                )
                if session.scalars(seen).first() is None:
                    session.add(
                        Match(
                            id=new_id(),
                            job_id=job.id,
                            case_id=entry.case_id,
                            percent=int(100 * share),
                            created_at=self._database.clock(),
                        )
                    )
                    append_entry(session, SERVICE, Action.MATCH_FOUND, job.id)

    def matches(self, caller: Caller, job_id: str) -> list[dict[str, Any]]:
        """The earlier cases that a job's medium looks like, those that the caller may see."""
        with self._database.read() as session:
            row_of(session, caller, job_id)
            found = session.scalars(
                select(Match)
                .join(Case, Match.case_id == Case.id)
                .where(Match.job_id == job_id, visible(caller), Case.wrapped_key.is_not(None))
                .order_by(Match.percent.desc())
            ).all()
        return [
            {"case_id": m.case_id, "percent": m.percent, "found_at": stated(m.created_at)}
            for m in found
        ]

    def export(self, caller: Caller) -> str:
        """All that is known, to be exchanged: hashes alone, nothing of the cases. Audited."""
        with self._database.write() as session:
            entries = session.scalars(select(KnownHashes).order_by(KnownHashes.created_at)).all()
            append_entry(session, caller.actor, Action.HASHES_EXPORTED, detail=str(len(entries)))
        opened = [self._opened(e) for e in entries] if self._enabled else []
        return "".join(
            f"{line}\n" for line in exchange_lines((o["pdq"], o["vpdq"]) for o in opened)
        )

    def _opened(self, entry: KnownHashes) -> dict[str, list[str]]:
        raw = unseal(self._key, entry.sealed, context_of("known", entry.job_id))
        content: dict[str, list[str]] = json.loads(raw)
        return content
