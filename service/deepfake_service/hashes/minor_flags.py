"""Flags that a person shown may be a minor, which follow the pictures and not the bytes alone.

A flag withholds the pictures of a case until a person has looked, and lets fewer accounts see it
(``accounts/visibility.py``). A case has a flag of its own if a person set it. Others inherit that
flag, from their *source*, because they have a copy of one of its files:

- the same bytes, by a digest that is stored when the flag is set;
- pictures that are alike, by hashes that are stored once the file was examined. Each medium is
  compared when it is examined, and earlier ones are when a flag is new.

A case inherits from one with a flag of its own only, so that flags make no chains. It loses the
flag with its source, unless a person flags it too, which makes the flag its own. Where a person
removes the flag, the same source never sets it again. None of this depends on whether a case was
confirmed. Digests and hashes outlive the case, so that its deletion does not give pictures of
copies back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller, may_review
from deepfake_service.accounts.visibility import find_visible, visible_to
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.cases.case_lock import lock_case
from deepfake_service.cases.cases import BlindIndex
from deepfake_service.cases.notices_under_way import mark_flagged
from deepfake_service.evidence.bundle.perceptual_hashes import MediaHashes
from deepfake_service.evidence.listings import open_listing
from deepfake_service.hashes.hash_list import HashList
from deepfake_service.platform.db import (
    Account,
    AuditEntry,
    Case,
    Database,
    FlaggedHashes,
    Job,
    Listing,
    Media,
    current_time,
    new_id,
)
from deepfake_service.platform.enums import JobState, Role
from deepfake_service.platform.errors import Forbidden, NotFound, invalid_field
from deepfake_service.platform.storage import Vault, installation_secret, open_json
from deepfake_service.platform.storage.envelope import KeyWrapper
from deepfake_service.platform.storage.sealed_columns import opened_rows

KEPT_FOR = timedelta(days=1825)
"""How long hashes of a case that was flagged for a possible minor outlive it, so that copies are
flagged as well: five years, as long as such material is known to come back."""
MAX_REVIEWERS = 5
"""Accounts that may be named for one flagged case. The fewer see it, the better."""
HAS_OWN_FLAG = (
    Case.minor_at.is_not(None) & Case.minor_from.is_(None) & Case.wrapped_key.is_not(None)
)
CAN_INHERIT = (
    Case.wrapped_key.is_not(None),
    Case.minor_at.is_(None),
    Job.evidence_expired_at.is_(None),
    Job.state.in_([JobState.RUNNING, JobState.SUCCEEDED]),
)
"""The conditions of the jobs whose media are compared with those of a new flag."""


@dataclass(frozen=True, slots=True)
class MinorFlag:
    """A flag to set on a case."""

    account_id: str | None
    """The account that decided on the flag. It, and administrators, can remove it."""
    source: str | None = None
    """The id of the case from which it is inherited; ``None`` if a person flagged this case."""
    copies: tuple[str, str] | None = None
    """The ids of the medium in this case, and of the medium or the job in the source."""


@dataclass(frozen=True, slots=True)
class FlaggedFile:
    """One of two files that are copies, as far as the caller may see it."""

    job_id: str
    name: str


@dataclass(frozen=True, slots=True)
class RelatedCase:
    """The source or an heir of a flag, and the copies because of which the flag was inherited: the
    file of the heir, and that of the source."""

    id: str | None
    """``None`` if it was deleted, or the caller may not see it."""
    case_reference: str | None
    files: tuple[FlaggedFile | None, FlaggedFile | None]


@dataclass(frozen=True, slots=True)
class FlagTrail:
    """Where the flag of a case comes from and went to, and who may see the case because of it."""

    source: RelatedCase | None = None
    """The case that it was inherited from."""
    heirs: Sequence[RelatedCase] = ()
    """Cases that inherited it and that the caller may see."""
    reviewers: Sequence[str] = ()
    """The names of the reviewers that it was given."""


@dataclass
class MinorFlags:
    """Sets and removes flags, and lets copies inherit them."""

    _database: Database
    _vault: Vault
    _keys: KeyWrapper
    _blind_index: BlindIndex

    def __post_init__(self) -> None:
        key = installation_secret(self._database, self._keys, "minors")
        self._hashes = HashList(self._database, self._vault, FlaggedHashes, key)

    def flag_case(self, caller: Caller, case_id: str) -> None:
        """Flag a case for the caller, and those with the same bytes at once; those that look alike
        are by ``compare_earlier_jobs``. ``NotFound`` if there is no such case, or the caller may
        not see it."""
        with self._database.write() as session:
            case, others = self._lock(session, caller, case_id, heirs=False)
            if case.minor_at is None or case.minor_from is not None:  # else a person did
                self._set(session, caller.actor, case, MinorFlag(caller.account_id))
            digests = _digests(session, case_id)
            for same in (case, *others):
                self.inherit_by_bytes(session, same, digests)

    def clear_case(self, caller: Caller, case_id: str) -> None:
        """Remove the flag of a case, and those inherited from it. An heir that is also a copy of
        another flagged case is flagged again. ``NotFound`` as ``flag_case``; ``Forbidden`` if
        another account set the flag, and the caller is not an administrator."""
        with self._database.write() as session:
            case, heirs = self._lock(session, caller, case_id, heirs=True)
            if caller.role is not Role.ADMIN and caller.account_id != case.minor_by:
                raise Forbidden(
                    "Only the account that set this flag or an administrator can remove it."
                )
            source = case.minor_from
            # A person may have flagged one of them since they were found.
            heirs = [heir for heir in heirs if heir.minor_from == case_id]
            for cleared in (case, *heirs):
                if cleared.minor_at is not None:
                    self._set(session, caller.actor, cleared, None)
                of_case = FlaggedHashes.case_id == cleared.id
                session.execute(delete(FlaggedHashes).where(of_case))
            case.minor_from = source  # whose flag it never inherits again
            for heir in heirs:
                self.inherit_by_bytes(session, heir, _digests(session, heir.id))
        for heir in heirs:
            of_heir = *CAN_INHERIT, Job.case_id == heir.id
            for job, hashes in self._hashes.examined(*of_heir, newest_only=True):
                self._inherit_by_pictures(job, hashes)

    def _set(self, session: Session, actor: Actor, case: Case, flag: MinorFlag | None) -> None:
        """Set the flag of a case, or remove it (``None``), and audit that. Notices of a case that
        is flagged are marked to be withdrawn."""
        case.minor_at = current_time(session) if flag else None
        case.minor_by = flag.account_id if flag else None
        case.minor_from = flag.source if flag else None
        if flag is None:
            case.reviewers = None  # an inherited flag that a person makes its own keeps them
        action = Action.MINOR_FLAGGED if flag else Action.MINOR_UNFLAGGED
        copies = " ".join(flag.copies) if flag and flag.copies else None
        append_entry(session, actor, action, case.id, copies)
        if flag:
            mark_flagged(session, self._vault.case_key(case), case)

    def _lock(
        self, session: Session, caller: Caller, case_id: str, *, heirs: bool
    ) -> tuple[Case, list[Case]]:
        """Lock and return a case that the caller may see, and its ``heirs``, or else the cases with
        the same bytes. ``NotFound`` if it is gone."""
        case, _ = find_visible(session, caller, Case, case_id)
        self._database.one_at_a_time(session, case.account_id)
        digests = _digests(session, case_id)
        for digest in digests:  # submissions of the same bytes wait for this transaction
            self._database.one_at_a_time(session, digest)
        same_bytes = Case.id.in_(select(Media.case_id).where(Media.sha256.in_(digests)))
        others = _inherited_from(case_id) if heirs else same_bytes
        related = select(Case.id).where(or_(Case.id == case_id, others))
        # In the order of their ids, so that two such transactions do not wait for each other.
        locked = [lock_case(session, i) for i in sorted(session.scalars(related))]
        cases = {case.id: case for case in locked if case is not None and case.wrapped_key}
        if case_id not in cases:
            raise NotFound
        return cases.pop(case_id), list(cases.values())

    def name_reviewers(self, caller: Caller, case_id: str, names: Collection[str]) -> None:
        """Let the accounts with these names see and review a flagged case, and no others that were
        named before: the most urgent cases must not wait for an administrator.

        Raises:
            NotFound: there is no such case, it is not flagged, or the caller may not see it.
            Forbidden: the caller did not submit or flag it, and is not an administrator.
            InvalidRequest: a name is not that of a person who may review, or there are too many.
        """
        with self._database.write() as session:
            find_visible(session, caller, Case, case_id)
            case = lock_case(session, case_id)
            if case is None or case.minor_at is None:
                raise NotFound
            involved = caller.account_id in (case.account_id, case.minor_by)
            if not involved and caller.role is not Role.ADMIN:
                raise Forbidden(
                    "Only the account that submitted or flagged this case or an administrator can "
                    "name its reviewers."
                )
            named = session.scalars(select(Account).where(Account.name.in_(set(names)))).all()
            able = {account.name: account.id for account in named if may_review(account)}
            unknown = [f"accounts.{n}" for n, name in enumerate(names) if name not in able]
            if unknown:
                raise invalid_field(unknown[0], "no person of this name may review")
            if len(able) > MAX_REVIEWERS:
                raise invalid_field("accounts", "choose at most five people")
            case.reviewers = " ".join(able.values()) or None
            action = Action.REVIEWERS_NAMED
            append_entry(session, caller.actor, action, case_id, case.reviewers)

    def trail(self, caller: Caller, case_id: str) -> FlagTrail:
        """Return where the flag of a case comes from and went to, as far as the caller may see."""
        with self._database.read() as session:
            case, _ = find_visible(session, caller, Case, case_id)
            if case.minor_at is None:  # none inherited it, and no index finds heirs
                return FlagTrail()
            seen = Case.wrapped_key.is_not(None), visible_to(caller)
            own = or_(Case.id.in_((case_id, case.minor_from)), _inherited_from(case_id))
            rows = session.execute(select(Case).where(own, *seen).order_by(Case.id))
            opened = opened_rows(rows, lambda row: open_json(self._vault.case_key(row[0]), row[0]))
            references = {related: content["reference"] for (related,), content in opened}
            cases = {related.id: related for related in references}
            source, heirs = None, []
            if case.minor_from is not None:
                known = cases.get(case.minor_from)
                copies = self._copies(session, case_id, cases)
                source = RelatedCase(None, None, copies)
                if known is not None:
                    source = RelatedCase(known.id, references[known], copies)
            for heir, reference in references.items():
                if heir.id not in (case_id, case.minor_from):
                    copies = self._copies(session, heir.id, cases)
                    heirs.append(RelatedCase(heir.id, reference, copies))
            reviewers = Account.id.in_((case.reviewers or "").split())
            accounts = session.scalars(select(Account).where(reviewers)).all()
        return FlagTrail(source, heirs, sorted(account.name for account in accounts))

    def _copies(
        self, session: Session, heir: str, cases: Mapping[str, Case]
    ) -> tuple[FlaggedFile | None, FlaggedFile | None]:
        """Return the two files of the newest entry about the flag of a case, of these ``cases``."""
        entries = select(AuditEntry.detail).where(
            AuditEntry.subject == heir, AuditEntry.action == str(Action.MINOR_FLAGGED)
        )
        detail = session.scalar(entries.order_by(AuditEntry.number.desc()).limit(1))
        found: list[FlaggedFile | None] = []
        for file_id in (detail or "").split():
            of_file = or_(Job.id == file_id, Job.media_id == file_id), Job.case_id.in_(cases)
            job = session.scalars(select(Job).where(*of_file).order_by(Job.id.desc())).first()
            if job is None:
                found.append(None)
                continue
            key = self._vault.case_key(cases[job.case_id])
            name = open_listing(key, session.get(Listing, job.id)).name
            found.append(FlaggedFile(job.id, name or session.get_one(Media, job.media_id).sha256))
        first, second = found or (None, None)
        return first, second

    def inherit_by_bytes(self, session: Session, case: Case, digests: Collection[str]) -> None:
        """Flag a case if one of these SHA-256 digests of its media is that of a flagged medium: the
        same bytes show the same person. Call it after the media were added: if the case has a flag
        of its own, their digests are stored."""
        of_case = Media.case_id == case.id, Media.sha256.in_(digests)
        media = session.execute(select(Media.id, Media.sha256).where(*of_case)).all()
        for media_id, sha256 in media if case.minor_at is None else ():
            # The flag of a source that a person has cleared is never inherited again.
            flag = self._flag_of_bytes(session, media_id, sha256, case.minor_from or "")
            if flag is not None:
                self._set(session, SERVICE, case, flag)
                break
        self._store_digests(session, case)

    def _flag_of_bytes(
        self, session: Session, media_id: str, sha256: str, cleared: str
    ) -> MinorFlag | None:
        """Return the flag that a case with a medium of these bytes inherits, if there is one, from
        any source but the one that was ``cleared``. The flagged case may have been deleted."""
        flagged = (
            select(Media.id, Case)
            .join(Case, Media.case_id == Case.id)
            .where(Media.sha256 == sha256, Case.minor_at.is_not(None))
            .where(func.coalesce(Case.minor_from, Case.id) != cleared)
        )
        for copied, case in session.execute(flagged.limit(1)):
            return MinorFlag(case.minor_by, case.minor_from or case.id, (media_id, copied))
        digest = self._blind_index.of("flagged", sha256)
        known = FlaggedHashes.digest == digest, FlaggedHashes.case_id != cleared
        for entry in session.scalars(select(FlaggedHashes).where(*known).limit(1)):
            return MinorFlag(entry.flagged_by, entry.case_id, (media_id, entry.job_id))
        return None

    def _store_digests(self, session: Session, case: Case) -> None:
        """Store the digests of the media of a case with a flag of its own, unless they are stored:
        it may be deleted before they are examined. Their hashes follow when they are."""
        if case.minor_at is None or case.minor_from is not None:
            return
        owner = func.coalesce(Job.id, Media.id)
        stored = select(FlaggedHashes.job_id).where(FlaggedHashes.case_id == case.id)
        media = select(owner, Media.sha256).outerjoin(Job, Job.media_id == Media.id)
        missing = media.where(Media.case_id == case.id, owner.not_in(stored))
        now = current_time(session)
        for owner_id, sha256 in session.execute(missing).all():
            session.add(
                FlaggedHashes(
                    id=new_id(),
                    case_id=case.id,
                    job_id=owner_id,
                    digest=self._blind_index.of("flagged", sha256),
                    flagged_by=case.minor_by,
                    sealed=b"",
                    created_at=now,
                    expires_at=now + KEPT_FOR,
                )
            )
        session.flush()

    def compare_job(self, job: Job, hashes: MediaHashes) -> None:
        """Flag the case of a job if its medium resembles one of a flagged case.

        Call it after the material of the job's evidence was stored, while the job is running or has
        succeeded: a flag that is set at the same time then either is found here or finds the
        material. Call it before an edition is made as well, or that would show what is withheld.
        """
        with self._database.read() as session:
            own = select(Case.id).where(Case.id == job.case_id, HAS_OWN_FLAG)
            is_flagged = session.scalars(own).first() is not None
        if is_flagged:
            self._store_hashes(job, hashes)
        self._inherit_by_pictures(job, hashes)

    def compare_earlier_jobs(self, *, newest_only: bool = False) -> None:
        """Store the hashes of flagged cases, and flag earlier media that resemble new ones.

        With ``newest_only``, as within a request, the newest media are compared, and another call
        compares the rest.
        """
        missing = (
            HAS_OWN_FLAG,
            Job.state == JobState.SUCCEEDED,
            Job.id.not_in(select(FlaggedHashes.job_id).where(self._hashes.has_hashes)),
        )
        for job, hashes in self._hashes.examined(*missing, newest_only=newest_only):
            self._store_hashes(job, hashes)
        self._hashes.compare_new(self._inherit_by_pictures, *CAN_INHERIT, newest_only=newest_only)

    def _inherit_by_pictures(
        self,
        job: Job,
        hashes: MediaHashes,
        flagged: Iterable[tuple[FlaggedHashes, dict[str, list[str]]]] | None = None,
    ) -> None:
        """Flag the case of a job if its medium is like one of another case, by default any that is
        ``flagged``."""
        if not hashes.frames and not hashes.centres:
            return
        of_others = FlaggedHashes.case_id != job.case_id
        for entry, known in self._hashes.entries(of_others) if flagged is None else flagged:
            is_own = entry.case_id == job.case_id
            if is_own or not hashes.is_like(known["frames"], known["centres"]):
                continue
            with self._database.write() as session:
                case = lock_case(session, job.case_id)
                # The flag may have been removed since the hashes were read.
                still = session.get(FlaggedHashes, entry.id, populate_existing=True)
                if still is None:
                    continue
                if case is None or case.wrapped_key is None or case.minor_at is not None:
                    return
                if case.minor_from != entry.case_id:  # no person has cleared it
                    copies = (job.media_id, entry.job_id)
                    flag = MinorFlag(entry.flagged_by, entry.case_id, copies)
                    self._set(session, SERVICE, case, flag)
                    return

    def _store_hashes(self, job: Job, hashes: MediaHashes) -> None:
        with self._database.write() as session:
            case = lock_case(session, job.case_id)
            if case is None:
                return
            # An earlier version, or the restoration of a backup, may have stored none.
            self._store_digests(session, case)
            stored = select(FlaggedHashes).where(FlaggedHashes.job_id == job.id)
            entry = session.scalars(stored).first()
            # Else the flag was removed, or another process was faster.
            if entry is not None and not entry.sealed:
                self._hashes.seal(entry, {"frames": hashes.frames, "centres": hashes.centres})

    def forget_expired(self) -> None:
        """Delete hashes whose retention period has passed since their case was last flagged."""
        now = self._database.clock()
        is_flagged = FlaggedHashes.case_id.in_(select(Case.id).where(Case.minor_at.is_not(None)))
        with self._database.write() as session:
            session.execute(
                update(FlaggedHashes).where(is_flagged).values(expires_at=now + KEPT_FOR)
            )
            session.execute(
                delete(FlaggedHashes).where(FlaggedHashes.expires_at <= now, ~is_flagged)
            )


def _digests(session: Session, case_id: str) -> list[str]:
    return sorted(set(session.scalars(select(Media.sha256).where(Media.case_id == case_id))))


def _inherited_from(case_id: str) -> ColumnElement[bool]:
    return (Case.minor_from == case_id) & Case.minor_at.is_not(None)
