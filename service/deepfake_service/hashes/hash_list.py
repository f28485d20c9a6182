"""A list of hashes: sealed under a key of the installation, stored, read, and caught up with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import ColumnElement, select, update

from deepfake_service.evidence.bundle.perceptual_hashes import MediaHashes
from deepfake_service.evidence.store import examination_of
from deepfake_service.platform.db import Case, Database, FlaggedHashes, Job, KnownHashes
from deepfake_service.platform.errors import (
    DatabaseUnavailable,
    DecryptionFailed,
    StorageUnavailable,
)
from deepfake_service.platform.logs import describe, logger
from deepfake_service.platform.storage import BlobMissing, Vault, open_json, seal_json

BATCH = 100
"""Entries or jobs in memory at a time. Each has up to 1,800 PDQ hashes, sealed in some 400 kB. Also
the number of jobs that a request compares before it answers."""
Entry = TypeVar("Entry", KnownHashes, FlaggedHashes)

_log = logger("deepfake_service.hashes")


@dataclass(frozen=True, slots=True)
class HashList(Generic[Entry]):
    """The hashes of one kind, which are the rows of a table."""

    database: Database
    vault: Vault
    table: type[Entry]
    key: bytes
    """The secret of the installation under which they are sealed."""

    @property
    def has_hashes(self) -> ColumnElement[bool]:
        """Return the condition that an entry has hashes."""
        return self.table.sealed != b""

    def seal(self, entry: Entry, hashes: Mapping[str, Sequence[str]]) -> None:
        """Seal hashes into an entry, whose id must be set."""
        seal_json(self.key, entry, {kind: list(of_kind) for kind, of_kind in hashes.items()})

    def entries(
        self, *conditions: ColumnElement[bool]
    ) -> Iterator[tuple[Entry, dict[str, list[str]]]]:
        """Yield the entries with hashes that meet ``conditions``, by their ids, with what ``seal``
        sealed.

        They are read a batch at a time, and no transaction is open while one is used. An entry that
        cannot be read must not hold up the others: no video could be examined any more.
        """
        last = ""
        while True:
            batch = select(self.table).where(self.table.id > last, *conditions, self.has_hashes)
            with self.database.read() as session:
                entries = session.scalars(batch.order_by(self.table.id).limit(BATCH)).all()
            if not entries:
                return
            last = entries[-1].id
            for entry in entries:
                try:
                    hashes = open_json(self.key, entry)
                except DecryptionFailed as error:
                    _log.error("hashes_unreadable", job_id=entry.job_id, failure=describe(error))
                else:
                    yield entry, hashes

    def examined(
        self, *conditions: ColumnElement[bool], newest_only: bool = False
    ) -> Iterator[tuple[Job, MediaHashes]]:
        """Yield the jobs that meet ``conditions`` on them and their cases, newest first, with the
        hashes that their examinations found; with ``newest_only``, no more than a batch."""
        statement = select(Job, Case).join(Case, Job.case_id == Case.id).where(*conditions)
        statement = statement.order_by(Job.id.desc()).limit(BATCH)
        following = statement
        while True:
            with self.database.read() as session:
                rows = session.execute(following).all()
            for job, case in rows:
                yield job, self._found(job, case)
            if newest_only or len(rows) < BATCH:
                return
            following = statement.where(Job.id < rows[-1][0].id)

    def compare_new(
        self,
        compare: Callable[[Job, MediaHashes, Sequence[tuple[Entry, dict[str, list[str]]]]], None],
        *conditions: ColumnElement[bool],
        newest_only: bool = False,
    ) -> None:
        """Call ``compare`` with each job that ``examined`` yields and the entries with which
        earlier media were not compared yet. They were, once there is no further job."""
        new = list(self.entries(self.table.compared_at.is_(None)))
        if not new:
            return
        is_rest_left = False
        for job, hashes in self.examined(*conditions, newest_only=newest_only):
            compare(job, hashes, new)
            is_rest_left = newest_only
        if is_rest_left:
            return
        compared = self.table.id.in_([entry.id for entry, _ in new])
        with self.database.write() as session:
            session.execute(
                update(self.table).where(compared).values(compared_at=self.database.clock())
            )

    def _found(self, job: Job, case: Case) -> MediaHashes:
        """Return the hashes of a job; none if the material of its evidence cannot be read."""
        try:
            found = examination_of(self.vault, job, self.vault.case_key(case))
            return MediaHashes.of(found.hashes, found.likeness)
        except (DatabaseUnavailable, StorageUnavailable):
            raise
        except BlobMissing:
            pass
        except Exception as error:
            _log.error("hashes_unreadable", job_id=job.id, failure=describe(error))
        return MediaHashes((), (), (), ())
