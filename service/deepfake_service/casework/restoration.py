"""Restoration of an older database: replay what protects people and happened after it was made.

Keys stay revoked or keep their ends, accounts stay disabled or protected by a second factor, flags
and holds are as they were last, what was deleted is deleted again, editions of evidence that were
replaced stay so, invitations are void, and everybody has to sign in again, before anything is
served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from deepfake_service.casework.core.case_lock import lock_case
from deepfake_service.casework.core.media_deletion import expire, expire_screenshot
from deepfake_service.casework.retention import Retention, delete_case_key
from deepfake_service.db import (
    Account,
    AuditEntry,
    Case,
    Database,
    Edition,
    Fact,
    FlaggedHashes,
    Invitation,
    Job,
    Key,
    PendingSignIn,
    RevokedEdition,
    SecondFactor,
    SignIn,
    SigningKey,
    new_id,
)
from deepfake_service.db.enums import EditionState, JobState
from deepfake_service.errors import DataDirError
from deepfake_service.security.audit_log import SERVICE, Action, append_entry
from deepfake_service.security.journal import BACKUP_FACT, RESTORING_FACT, JournalEntry
from deepfake_service.security.keys import end_of
from deepfake_service.security.signing_keys import SigningKeys
from deepfake_service.storage import Vault

REPLAYED = "replayed"
"""The detail of audit entries that a restoration makes of entries without one."""


class Restoration:
    """Replays the journal on a database that was restored from a backup."""

    def __init__(
        self, database: Database, vault: Vault, retention: Retention, signing_keys: SigningKeys
    ) -> None:
        self._database = database
        self._vault = vault
        self._retention = retention
        self._signing_keys = signing_keys
        self._replays: dict[str, Callable[[Session, JournalEntry], bool]] = {
            Action.KEY_REVOKED: lambda s, e: self._revoke_key(s, e, e.subject),
            Action.KEY_ROTATED: lambda s, e: self._revoke_key(s, e, e.detail),
            Action.KEY_CHANGED: self._set_end,
            Action.ACCOUNT_DISABLED: self._disable_account,
            Action.SECOND_FACTOR_ADDED: self._require_second_factor,
            Action.SECOND_FACTOR_REMOVED: self._remove_second_factor,
            Action.SIGNING_KEYS_MADE: self._add_signing_keys,
            Action.SIGNING_KEY_REVOKED: self._revoke_signing_key,
            Action.EVIDENCE_MADE: self._replace_edition,
            Action.EDITION_WITHDRAWN: self._withdraw_edition,
            Action.HOLD_SET: self._set_hold,
            Action.HOLD_LIFTED: self._set_hold,
            Action.MINOR_FLAGGED: self._set_flag,
            Action.MINOR_UNFLAGGED: self._set_flag,
            Action.CASE_SHREDDED: self._delete_case,
            Action.CASE_EXPIRED: self._delete_case,
            Action.JOB_DELETED: self._cancel_job,
        }

    def head(self) -> int:
        """Return the number of the last entry of the database's audit log before a restoration."""
        with self._database.read() as session:
            begun = session.get(Fact, RESTORING_FACT)
            if begun is not None:
                return int(begun.value)
            return session.scalar(select(func.max(AuditEntry.number))) or 0

    def replay(self, entries: Sequence[JournalEntry]) -> Counter[str]:
        """Replay the entries that are newer than the database, in their order.

        If it is interrupted, it can be repeated.

        Returns:
            How many of each action changed something. The others concern what is not in the
            database, because it was made later.

        Raises:
            DataDirError: the journal is not the continuation of this database's audit log.
        """
        head, changed = self.head(), Counter[str]()
        self._compare(entries, head)
        with self._database.write() as session:
            session.merge(Fact(name=RESTORING_FACT, value=str(head)))
        newer = [entry for entry in entries if entry.number > head]
        for entry in newer:
            replay = self._replays.get(entry.action)
            if replay is None:
                continue
            with self._database.write() as session:
                is_changed = replay(session, entry)
                if is_changed:
                    detail = _detail(session, entry)
                    append_entry(session, SERVICE, Action(entry.action), entry.subject, detail)
            changed[entry.action] += is_changed
        self._complete_deletions()
        changed.update(self._expire(newer))
        return +changed

    def distrust(self) -> int:
        """Revoke all keys, because it is unknown which ones were revoked; return how many."""
        with self._database.write() as session:
            keys = session.scalars(select(Key).where(Key.revoked_at.is_(None))).all()
            for key in keys:
                key.revoked_at = self._database.clock()
                append_entry(session, SERVICE, Action.KEY_REVOKED, key.id, REPLAYED)
        return len(keys)

    def finish(self, backup_head: int) -> None:
        """Renew the signing keys, end all sign-ins, and let the database be served again.

        Invitations end as well, because it is unknown which ones were used.
        """
        if self._signing_keys.all():
            self._signing_keys.rotate()
        with self._database.write() as session:
            for table in (SignIn, PendingSignIn, Invitation):
                session.execute(delete(table))
            session.execute(delete(Fact).where(Fact.name.in_((BACKUP_FACT, RESTORING_FACT))))
            append_entry(session, SERVICE, Action.RESTORED, detail=f"entry {backup_head}")

    def _compare(self, entries: Sequence[JournalEntry], head: int) -> None:
        common = [entry for entry in entries if entry.number <= head][-1:]
        with self._database.read() as session:
            for entry in common:
                row = session.get(AuditEntry, entry.number)
                if row is None or (row.action, row.subject) != (entry.action, entry.subject):
                    problem = (
                        f"Entry {entry.number} of the journal is not the one of the database's "
                        "audit log: the journal does not belong to this backup."
                    )
                    raise DataDirError(problem)

    def _revoke_key(self, session: Session, _: JournalEntry, key_id: str | None) -> bool:
        key = session.get(Key, key_id) if key_id else None
        if key is None or key.revoked_at is not None:
            return False
        key.revoked_at = self._database.clock()
        return True

    def _set_end(self, session: Session, entry: JournalEntry) -> bool:
        key = session.get(Key, entry.subject)
        end = end_of(entry.detail or "")
        if key is None or key.expires_at == end:
            return False
        key.expires_at = end
        return True

    def _disable_account(self, session: Session, entry: JournalEntry) -> bool:
        account = session.get(Account, entry.subject)
        if account is None or account.disabled_at is not None:
            return False
        account.disabled_at = self._database.clock()
        return True

    def _require_second_factor(self, session: Session, entry: JournalEntry) -> bool:
        """Refuse the keys of an account whose second factor is not in the database.

        Its secret is lost. A stored one is older, and was never confirmed.
        """
        account = session.get(Account, entry.subject)
        factor = session.get(SecondFactor, entry.subject)
        if account is None or (account.second_factor and factor is None):
            return False
        account.second_factor = True
        if factor is not None:
            session.delete(factor)
        return True

    def _remove_second_factor(self, session: Session, entry: JournalEntry) -> bool:
        account = session.get(Account, entry.subject)
        factor = session.get(SecondFactor, entry.subject)
        if account is None or (factor is None and not account.second_factor):
            return False
        account.second_factor = False
        if factor is not None:
            session.delete(factor)
        return True

    def _add_signing_keys(self, session: Session, entry: JournalEntry) -> bool:
        """Publish keys that were created later, whose private parts are lost."""
        added = False
        for content in entry.keys:
            if session.get(SigningKey, content["id"]) is None:
                created_at = datetime.fromisoformat(content["created_at"])
                session.add(
                    SigningKey(
                        **{**content, "created_at": created_at},
                        retired_at=self._database.clock(),
                    )
                )
                added = True
        return added

    def _revoke_signing_key(self, session: Session, entry: JournalEntry) -> bool:
        key = session.get(SigningKey, entry.detail)
        if key is None or key.revoked_at is not None:
            return False
        key.revoked_at = self._database.clock()
        return True

    def _replace_edition(self, session: Session, entry: JournalEntry) -> bool:
        """List the edition that another one replaced, and keep the number of that one.

        Its content is lost. The edition without content is outdated, so that the next one is made,
        which replaces it.
        """
        at, changed = datetime.fromisoformat(entry.at), False
        if entry.superseded and session.get(RevokedEdition, entry.superseded) is None:
            session.add(
                RevokedEdition(sha256=entry.superseded, state=EditionState.SUPERSEDED, at=at)
            )
            changed = True
        if entry.sha256 is None or session.get(Job, entry.subject) is None:
            return changed
        number = int(entry.detail or 0)
        numbered = select(Edition).where(Edition.job_id == entry.subject, Edition.number == number)
        if session.scalars(numbered).first() is not None:
            return changed
        session.add(
            Edition(
                id=new_id(),
                job_id=entry.subject,
                number=number,
                sha256=entry.sha256,
                imagery=False,
                decided=0,
                created_at=at,
            )
        )
        return True

    def _withdraw_edition(self, session: Session, entry: JournalEntry) -> bool:
        if entry.sha256 is None:
            return False
        row = session.get(RevokedEdition, entry.sha256)
        if row is not None and row.state == EditionState.WITHDRAWN:
            return False
        if row is None:
            row = RevokedEdition(sha256=entry.sha256)
            session.add(row)
        row.state, row.at = EditionState.WITHDRAWN, datetime.fromisoformat(entry.at)
        return True

    def _set_hold(self, session: Session, entry: JournalEntry) -> bool:
        enabled = entry.action == Action.HOLD_SET
        case = lock_case(session, entry.subject or "")
        if case is None or bool(case.held_at) == enabled:
            return False
        case.held_at = datetime.fromisoformat(entry.at) if enabled else None
        return True

    def _set_flag(self, session: Session, entry: JournalEntry) -> bool:
        enabled = entry.action == Action.MINOR_FLAGGED
        case = lock_case(session, entry.subject or "")
        if case is None or bool(case.minor_at) == enabled:
            return False
        case.minor_at = datetime.fromisoformat(entry.at) if enabled else None
        replayed_by = entry.detail if entry.detail != REPLAYED else None
        case.minor_by = entry.account or replayed_by if enabled else None
        case.minor_from = None
        if not enabled:  # or the hashes would flag copies again
            session.execute(delete(FlaggedHashes).where(FlaggedHashes.case_id == case.id))
        return True

    def _delete_case(self, session: Session, entry: JournalEntry) -> bool:
        case = lock_case(session, entry.subject or "")
        if case is None or case.wrapped_key is None:
            return False
        delete_case_key(session, SERVICE, Action(entry.action), case)
        return True

    def _cancel_job(self, session: Session, entry: JournalEntry) -> bool:
        job = session.get(Job, entry.subject)
        if job is None or job.state == JobState.CANCELLED:
            return False
        job.state, job.finished_at = JobState.CANCELLED, job.finished_at or self._database.clock()
        return True

    def _complete_deletions(self) -> None:
        with self._database.read() as session:
            shredded = session.scalars(select(Case.id).where(Case.wrapped_key.is_(None))).all()
            cancelled = session.scalars(
                select(Job.id)
                .join(Case, Job.case_id == Case.id)
                .where(Job.state == JobState.CANCELLED, Case.wrapped_key.is_not(None))
            ).all()
        for case_id in shredded:
            self._retention.finish_shredding(case_id)
        for job_id in cancelled:
            self._retention.delete_job(job_id)

    def _expire(self, entries: Sequence[JournalEntry]) -> Counter[str]:
        """Delete again the media, screenshots and evidence that had expired."""
        changed = Counter[str]()
        for entry in entries:
            subject = entry.subject or ""
            if entry.action == Action.MEDIA_EXPIRED:
                changed[entry.action] += expire(self._database, self._vault, subject)
            elif entry.action == Action.SCREENSHOT_EXPIRED:
                expire_screenshot(self._database, self._vault, subject)
            elif entry.action == Action.EVIDENCE_EXPIRED:
                with self._database.read() as session:
                    job = session.get(Job, subject)
                if job is not None and job.evidence_expired_at is None:
                    self._retention.delete_evidence(job, expiring=True)
                    changed[entry.action] += 1
        return changed


def _detail(session: Session, entry: JournalEntry) -> str:
    """Return what the next journal needs to replay an entry once more."""
    if entry.action == Action.EVIDENCE_MADE:
        is_kept = session.get(Job, entry.subject) is not None
        return (entry.detail if is_kept else entry.superseded) or REPLAYED
    flagged_by = entry.account if entry.action == Action.MINOR_FLAGGED else None
    return entry.sha256 or entry.detail or flagged_by or REPLAYED
