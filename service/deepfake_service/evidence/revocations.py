"""The public list of editions that were replaced or withdrawn, and of keys that were revoked."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from deepfake_service.audit.journal import protect
from deepfake_service.audit.log import SERVICE, Action, append_entry
from deepfake_service.evidence.bundle import trust_store
from deepfake_service.evidence.signing_keys import SigningKeys
from deepfake_service.platform.db import Database, Edition, RevokedEdition, current_time
from deepfake_service.platform.enums import EditionState
from deepfake_service.platform.errors import Code, NotFound

MAX_AGE_S = 60.0
"""How long a signed list is reused, since anyone may ask for it without a key."""


def supersede(session: Session, sha256: str | None) -> None:
    """Put the edition with this SHA-256, if there is one, on the public list of revocations."""
    if sha256 is not None and session.get(RevokedEdition, sha256) is None:
        now = current_time(session)
        session.add(RevokedEdition(sha256=sha256, state=EditionState.SUPERSEDED, at=now))
        protect(session, "edition", sha256, EditionState.SUPERSEDED)


def is_withdrawn(session: Session, sha256: str) -> bool:
    """Return whether the edition with this SHA-256 was withdrawn."""
    revoked = session.get(RevokedEdition, sha256)
    return revoked is not None and revoked.state == EditionState.WITHDRAWN


@dataclass
class RevocationList:
    """The list of an installation."""

    _database: Database
    _keys: SigningKeys
    issuer: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _signed: tuple[float, bytes] | None = None

    def current(self, sha256: str | None = None) -> trust_store.Revocations:
        """Return the list as it is now, or the part of it that concerns the edition with this
        SHA-256; ``RecordAltered`` if a record of it was altered outside this program."""
        wanted = select(RevokedEdition).order_by(RevokedEdition.sha256)
        if sha256 is not None:
            wanted = wanted.where(RevokedEdition.sha256 == sha256)
        with self._database.read() as session:
            editions = tuple(
                trust_store.RevokedEdition.model_validate(row, from_attributes=True, strict=False)
                for row in session.scalars(wanted)
            )
        keys = sorted(self._keys.all(), key=lambda key: key.id)
        issued_at = self._database.clock()
        return trust_store.Revocations(
            format="deepfake-service/revocations/1",
            issuer=self.issuer,
            issued_at=issued_at,
            expires_at=issued_at + trust_store.VALID_FOR,
            editions=editions,
            keys=tuple(
                trust_store.IssuersKey(id=key.id, revoked_at=key.revoked_at) for key in keys
            ),
        )

    def signed(self) -> bytes:
        """Return the signed list, at most ``MAX_AGE_S`` seconds old."""
        with self._lock:
            now = time.monotonic()
            if self._signed is None or now - self._signed[0] > MAX_AGE_S:
                self._signed = now, self.current().sign(self._keys.current().statement)
            return self._signed[1]

    def withdraw(self, sha256: str) -> None:
        """Withdraw an edition: the service does not answer for it any more. Audited.
        ``NotFound`` if this service has no such edition."""
        with self._database.write() as session:
            edition = session.scalars(select(Edition).where(Edition.sha256 == sha256)).first()
            if edition is None:
                raise NotFound(code=Code.EDITION_UNKNOWN)
            row = session.get(RevokedEdition, sha256)
            if row is None:
                row = RevokedEdition(sha256=sha256)
                session.add(row)
            row.state, row.at = EditionState.WITHDRAWN, current_time(session)
            protect(session, "edition", sha256, EditionState.WITHDRAWN)
            append_entry(
                session, SERVICE, Action.EDITION_WITHDRAWN, edition.job_id, str(edition.number)
            )
        with self._lock:
            self._signed = None
