"""Flags that a person shown may be a minor, which follow the pictures and not the bytes alone.

When a person flags a case, the digests of its media are stored, and once these were examined also
the perceptual hashes of their pictures. Every examination compares its medium with them, and
earlier media are compared when a flag is new. A case with a copy of a whole picture or video is
flagged as well: its pictures are withheld until a person has looked at it. Such a case follows the
one that the person flagged, its origin, and its entry in the audit log names both files. It is
followed by none itself, and loses its flag with its origin, unless a person has flagged it too: its
flag is then that person's. This does not depend on whether the matching of confirmed cases is
enabled. Digests and hashes outlive the case, so that its deletion does not give pictures of copies
back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from deepfake_service.accounts.accounts import Caller, may_review
from deepfake_service.accounts.visibility import find_visible, visible_to
from deepfake_service.audit.log import SERVICE, Action, Actor, append_entry
from deepfake_service.cases.case_lock import lock_case
from deepfake_service.cases.cases import BlindIndex
from deepfake_service.cases.notices_under_way import mark_flagged
from deepfake_service.evidence.bundle.likeness import alike, of_examination
from deepfake_service.evidence.listings import open_listing
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
from deepfake_service.platform.db.enums import JobState, Role
from deepfake_service.platform.errors import Forbidden, NotFound, invalid_field
from deepfake_service.platform.logs import logger
from deepfake_service.platform.storage import Vault, installation_secret, open_json, seal_json
from deepfake_service.platform.storage.envelope import KeyWrapper
from deepfake_service.platform.storage.sealed_columns import opened_rows
from deepfake_service.review.hash_bank import read_examination, read_hashes

_HAS_HASHES = FlaggedHashes.sealed != b""
BATCH = 100
"""Jobs that are read at once, and that a request compares before it answers."""

KEPT_FOR = timedelta(days=1825)
"""How long hashes of a case that was flagged for a possible minor outlive it, so that copies are
flagged as well: five years, as long as such material is known to come back."""
MAX_REVIEWERS = 5
"""Accounts that may be named for one flagged case. The fewer see it, the better."""
_log = logger("deepfake_service.minors")


@dataclass(frozen=True, slots=True)
class MinorFlag:
    """A flag to set on a case."""

    account_id: str | None
    """The account that decided on the flag. It, and administrators, can remove it."""
    origin: str | None = None
    """The id of the case whose flag this one follows; ``None`` if a person flagged this case."""
    files: tuple[str, str] | None = None
    """The ids of the medium in this case, and of the medium or the job there, that are copies."""


@dataclass(frozen=True, slots=True)
class FlaggedFile:
    """One of two files that are copies, as far as the caller may see it."""

    job_id: str
    name: str


@dataclass(frozen=True, slots=True)
class RelatedCase:
    """A case whose flag follows that of another, or is followed, and the copies because of which
    it does: the file in the case that follows, and that in its origin."""

    id: str | None
    """``None`` if it was deleted, or the caller may not see it."""
    case_reference: str | None
    files: tuple[FlaggedFile | None, FlaggedFile | None]


@dataclass(frozen=True, slots=True)
class FlagTrail:
    """Where the flag of a case comes from and went to, and who may see the case because of it."""

    origin: RelatedCase | None = None
    """The case that it follows."""
    followers: Sequence[RelatedCase] = ()
    """Cases that follow it and that the caller may see."""
    reviewers: Sequence[str] = ()
    """The names of the reviewers that it was given."""


def _digest_of(blind_index: BlindIndex, sha256: str) -> str:
    return blind_index.of("flagged", sha256)


def compare_bytes(
    session: Session, vault: Vault, blind_index: BlindIndex, case: Case, digests: Collection[str]
) -> None:
    """Flag a case if one of these SHA-256 digests of its media is that of a flagged medium: the
    same bytes show the same person. Call it after the media were added: if a person has flagged the
    case, their digests are stored."""
    of_case = Media.case_id == case.id, Media.sha256.in_(digests)
    media = session.execute(select(Media.id, Media.sha256).where(*of_case)).all()
    for media_id, sha256 in media if case.minor_at is None else ():
        flag = _flag_of_bytes(session, blind_index, media_id, sha256)
        if flag is not None:
            set_flag(session, vault, SERVICE, case, flag)
            break
    _store_digests(session, blind_index, case)


def _store_digests(session: Session, blind_index: BlindIndex, case: Case) -> None:
    """Store the digests of the media of a case that a person flagged, unless they are stored: it
    may be deleted before they are examined. Their hashes follow when they are."""
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
                digest=_digest_of(blind_index, sha256),
                flagged_by=case.minor_by,
                sealed=b"",
                created_at=now,
                expires_at=now + KEPT_FOR,
            )
        )
    session.flush()


def _flag_of_bytes(
    session: Session, blind_index: BlindIndex, media_id: str, sha256: str
) -> MinorFlag | None:
    """Return the flag that a case with a medium of these bytes follows, if there is one. The
    flagged case may have been deleted in the meantime."""
    flagged = (
        select(Media.id, Case)
        .join(Case, Media.case_id == Case.id)
        .where(Media.sha256 == sha256, Case.minor_at.is_not(None))
    )
    for copied, case in session.execute(flagged.limit(1)):
        return MinorFlag(case.minor_by, case.minor_from or case.id, (media_id, copied))
    known = FlaggedHashes.digest == _digest_of(blind_index, sha256)
    for hashes in session.scalars(select(FlaggedHashes).where(known).limit(1)):
        return MinorFlag(hashes.flagged_by, hashes.case_id, (media_id, hashes.job_id))
    return None


def set_flag(
    session: Session, vault: Vault, actor: Actor, case: Case, flag: MinorFlag | None
) -> None:
    """Set the flag of a case, or remove it (``None``), and audit that. Notices of a case that is
    flagged are marked to be withdrawn."""
    case.minor_at = current_time(session) if flag else None
    case.minor_by = flag.account_id if flag else None
    case.minor_from = flag.origin if flag else None
    if flag is None:
        case.reviewers = None  # a flag that is taken over keeps its reviewers
    action = Action.MINOR_FLAGGED if flag else Action.MINOR_UNFLAGGED
    files = " ".join(flag.files) if flag and flag.files else None
    append_entry(session, actor, action, case.id, files)
    if flag:
        mark_flagged(session, vault.case_key(case), case)


@dataclass
class MinorFlags:
    """Sets and removes flags, and lets them follow copies."""

    _database: Database
    _vault: Vault
    _keys: KeyWrapper
    _blind_index: BlindIndex

    def __post_init__(self) -> None:
        self._key = installation_secret(self._database, self._keys, "minors")

    def flag_case(self, caller: Caller, case_id: str) -> None:
        """Flag a case for the caller, and those with the same bytes at once; those that look alike
        are by ``compare_earlier_jobs``. ``NotFound`` if there is no such case, or the caller may
        not see it."""
        with self._database.write() as session:
            case, others = self._lock(session, caller, case_id, followers=False)
            if case.minor_at is None or case.minor_from is not None:  # else a person did
                set_flag(session, self._vault, caller.actor, case, MinorFlag(caller.account_id))
            digests = _digests(session, case_id)
            for each in (case, *others):
                compare_bytes(session, self._vault, self._blind_index, each, digests)

    def clear_case(self, caller: Caller, case_id: str) -> None:
        """Remove the flag of a case, and those that follow it. One that is also a copy of another
        flagged case is flagged again. ``NotFound`` as ``flag_case``; ``Forbidden`` if another
        account set the flag, and the caller is not an administrator."""
        with self._database.write() as session:
            case, followers = self._lock(session, caller, case_id, followers=True)
            if caller.role is not Role.ADMIN and caller.account_id != case.minor_by:
                raise Forbidden(
                    "Only the account that set this flag or an administrator can remove it."
                )
            origin = case.minor_from
            # A person may have flagged one of them since they were found.
            followers = [other for other in followers if other.minor_from == case_id]
            for each in (case, *followers):
                if each.minor_at is not None:
                    set_flag(session, self._vault, caller.actor, each, None)
                session.execute(delete(FlaggedHashes).where(FlaggedHashes.case_id == each.id))
            case.minor_from = origin  # whose flag it never gets again
            for other in followers:
                digests = _digests(session, other.id)
                compare_bytes(session, self._vault, self._blind_index, other, digests)
        for other in followers:
            for job, case in self._jobs(Job.case_id == other.id):
                listed = self._listed(FlaggedHashes.case_id != other.id)
                self._flag_if_alike(job, self._hashes_of(job, case), listed)

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

    def _lock(
        self, session: Session, caller: Caller, case_id: str, *, followers: bool
    ) -> tuple[Case, list[Case]]:
        """Lock and return a case that the caller may see, and its ``followers``, or else the cases
        with the same bytes. ``NotFound`` if it is gone."""
        case, _ = find_visible(session, caller, Case, case_id)
        self._database.one_at_a_time(session, case.account_id)
        digests = _digests(session, case_id)
        for digest in digests:  # submissions of the same bytes wait for this transaction
            self._database.one_at_a_time(session, digest)
        same_bytes = Case.id.in_(select(Media.case_id).where(Media.sha256.in_(digests)))
        others = _follows(case_id) if followers else same_bytes
        related = select(Case.id).where(or_(Case.id == case_id, others))
        # In the order of their ids, so that two such transactions do not wait for each other.
        locked = [lock_case(session, i) for i in sorted(session.scalars(related))]
        cases = {case.id: case for case in locked if case is not None and case.wrapped_key}
        if case_id not in cases:
            raise NotFound
        return cases.pop(case_id), list(cases.values())

    def trail(self, caller: Caller, case_id: str) -> FlagTrail:
        """Return where the flag of a case comes from and went to, as far as the caller may see."""
        with self._database.read() as session:
            case, _ = find_visible(session, caller, Case, case_id)
            if case.minor_at is None:  # nothing follows it, and no index finds followers
                return FlagTrail()
            seen = Case.wrapped_key.is_not(None), visible_to(caller)
            own = or_(Case.id.in_((case_id, case.minor_from)), _follows(case_id))
            rows = session.execute(select(Case).where(own, *seen).order_by(Case.id))
            opened = opened_rows(rows, lambda row: open_json(self._vault.case_key(row[0]), row[0]))
            named = {c.id: (c, shown["reference"]) for (c,), shown in opened}
            cases = {c.id: c for c, _ in named.values()}
            origin = None
            if case.minor_from is not None:
                of_origin = named.get(case.minor_from)
                origin = RelatedCase(
                    of_origin and of_origin[0].id,
                    of_origin and of_origin[1],
                    self._copies(session, case_id, cases),
                )
            followers = [
                RelatedCase(other.id, reference, self._copies(session, other.id, cases))
                for other, reference in named.values()
                if other.id not in (case_id, case.minor_from)
            ]
            reviewers = Account.id.in_((case.reviewers or "").split())
            accounts = session.scalars(select(Account).where(reviewers)).all()
        return FlagTrail(origin, followers, sorted(account.name for account in accounts))

    def _copies(
        self, session: Session, follower: str, cases: Mapping[str, Case]
    ) -> tuple[FlaggedFile | None, FlaggedFile | None]:
        """Return the two files of the newest entry about the flag of a case, of these ``cases``."""
        entries = select(AuditEntry.detail).where(
            AuditEntry.subject == follower, AuditEntry.action == str(Action.MINOR_FLAGGED)
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
            name = open_listing(key, session.get(Listing, job.id))["name"]
            found.append(FlaggedFile(job.id, name or session.get_one(Media, job.media_id).sha256))
        first, second = found or (None, None)
        return first, second

    def compare_job(self, job: Job, examination: dict[str, Any]) -> None:
        """Flag the case of a job if its medium resembles one of a flagged case.

        Call it after the material of the job's evidence was stored, while the job is running or has
        succeeded: a flag that is set at the same time then either is found here or finds the
        material. Call it before an edition is made as well, or that would show what is withheld.
        """
        submitted = of_examination(examination)
        with self._database.read() as session:
            own = select(Case.id).where(Case.id == job.case_id, _flagged_by_a_person())
            is_flagged = session.scalars(own).first() is not None
        if is_flagged:
            self._store_hashes(job, submitted)
        of_others = self._listed(FlaggedHashes.case_id != job.case_id)
        self._flag_if_alike(job, submitted, of_others)

    def _listed(
        self, condition: ColumnElement[bool]
    ) -> Iterator[tuple[FlaggedHashes, dict[str, Any]]]:
        return read_hashes(self._database, self._key, FlaggedHashes, condition, _HAS_HASHES)

    def _hashes_of(self, job: Job, case: Case) -> dict[str, list[str]]:
        return of_examination(read_examination(self._vault, job, case))

    def _flag_if_alike(
        self,
        job: Job,
        submitted: dict[str, list[str]],
        entries: Iterable[tuple[FlaggedHashes, dict[str, Any]]],
    ) -> None:
        for entry, known in entries if any(submitted.values()) else ():
            if entry.case_id == job.case_id or not alike(submitted, known):
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
                    files = (job.media_id, entry.job_id)
                    flag = MinorFlag(entry.flagged_by, entry.case_id, files)
                    set_flag(session, self._vault, SERVICE, case, flag)
                    return

    def compare_earlier_jobs(self, *, newest_only: bool = False) -> None:
        """Store the hashes of flagged cases, and flag earlier media that resemble new ones.

        With ``newest_only``, as within a request, the newest media are compared, and another call
        compares the rest.
        """
        self._store_missing(newest_only=newest_only)
        new = list(self._listed(FlaggedHashes.compared_at.is_(None)))
        if not new:
            return
        jobs = self._jobs()
        while jobs:
            for job, case in jobs:
                self._flag_if_alike(job, self._hashes_of(job, case), new)
            if newest_only:
                return
            jobs = self._jobs(Job.id < jobs[-1][0].id)
        with self._database.write() as session:
            session.execute(
                update(FlaggedHashes)
                .where(FlaggedHashes.id.in_([entry.id for entry, _ in new]))
                .values(compared_at=self._database.clock())
            )

    def _jobs(self, *conditions: ColumnElement[bool]) -> list[tuple[Job, Case]]:
        """Return the newest jobs in cases without a flag whose media can be compared."""
        statement = (
            select(Job, Case)
            .join(Case, Job.case_id == Case.id)
            .where(
                Case.wrapped_key.is_not(None),
                Case.minor_at.is_(None),
                Job.evidence_expired_at.is_(None),
                Job.state.in_([JobState.RUNNING, JobState.SUCCEEDED]),
                *conditions,
            )
        )
        with self._database.read() as session:
            rows = session.execute(statement.order_by(Job.id.desc()).limit(BATCH))
            return [(job, case) for job, case in rows]

    def _store_missing(self, *, newest_only: bool) -> None:
        """Store the hashes of cases that a person flagged, unless they are stored."""
        missing = (
            select(Job, Case)
            .join(Case, Job.case_id == Case.id)
            .where(
                _flagged_by_a_person(),
                Job.state == JobState.SUCCEEDED,
                Job.id.not_in(select(FlaggedHashes.job_id).where(_HAS_HASHES)),
            )
            .order_by(Job.id.desc())
            .limit(BATCH)
        )
        while True:
            with self._database.read() as session:
                rows = session.execute(missing).all()
            for job, case in rows:
                self._store_hashes(job, self._hashes_of(job, case))
            if newest_only or len(rows) < BATCH:
                return

    def _store_hashes(self, job: Job, hashes: dict[str, list[str]]) -> None:
        with self._database.write() as session:
            case = lock_case(session, job.case_id)
            if case is None:
                return
            # An earlier version, or the restoration of a backup, may have stored none.
            _store_digests(session, self._blind_index, case)
            stored = select(FlaggedHashes).where(FlaggedHashes.job_id == job.id, ~_HAS_HASHES)
            entry = session.scalars(stored).first()
            if entry is not None:  # else the flag was removed, or another process was faster
                seal_json(self._key, entry, hashes)

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


def _flagged_by_a_person() -> ColumnElement[bool]:
    return Case.minor_at.is_not(None) & Case.minor_from.is_(None) & Case.wrapped_key.is_not(None)


def _follows(case_id: str) -> ColumnElement[bool]:
    return and_(Case.minor_from == case_id, Case.minor_at.is_not(None))
