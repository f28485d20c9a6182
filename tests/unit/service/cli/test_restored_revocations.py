"""What was revoked, used or flagged after a backup stays so when it is restored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from sqlalchemy import select

from deepfake_service.accounts.accounts import Accounts, Caller
from deepfake_service.accounts.invitations import Invitations
from deepfake_service.audit.records import open_database
from deepfake_service.cli.backup import back_up
from deepfake_service.evidence.signing_keys import STATEMENT, open_signing_keys
from deepfake_service.platform.db import (
    Case,
    Edition,
    FlaggedHashes,
    RevokedEdition,
    SecondFactor,
    SigningKey,
    new_id,
)
from deepfake_service.platform.enums import EditionState, Role
from deepfake_service.platform.errors import Forbidden, Gone
from deepfake_service.platform.settings import Settings
from deepfake_service.platform.storage import open_keys
from tests.support.jobs import VIDEO, headers, run_command, submit, with_master_key_of


async def test_what_a_command_revokes_while_no_service_runs_stays_revoked(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        job = await submit(service)
        signing = open_signing_keys(old, service.database, open_keys(old))
        signing.current()
        revoked = next(key for key in signing.all() if key.purpose == STATEMENT)
        withdrawn = "f" * 64
        with service.database.write() as session:
            session.add(
                Edition(
                    id=new_id(), job_id=job["id"], number=1, sha256=withdrawn, imagery=False,
                    decided=0, created_at=service.clock(),
                )
            )  # fmt: skip
    back_up(old, backup)
    for words in (
        ("keys", "signing", "revoke", revoked.id),
        ("keys", "signing", "rotate"),
        ("evidence", "withdraw", withdrawn),
    ):
        assert run_command(old, *words).exit_code == 0
    for restored in restored_twice(old, backup):
        with contextlib.closing(open_database(restored)) as database, database.read() as session:
            assert session.get_one(SigningKey, revoked.id).revoked_at is not None
            assert session.get_one(RevokedEdition, withdrawn).state == EditionState.WITHDRAWN


def restored_twice(old: Settings, backup: Path) -> Iterator[Settings]:
    """Restore a backup, and again by the journal of the first restoration; yield the settings."""
    journal = old.data_dir / "journal.json"
    for name in ("restored", "restored-again"):
        restored = with_master_key_of(old, backup.parent / name)
        done = run_command(restored, "restore", backup, "--journal", journal)
        assert done.exit_code == 0, (done.output, done.exception)
        yield restored
        journal = restored.data_dir / "journal.json"


async def test_a_restored_backup_knows_of_later_second_factors_and_used_invitations(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        accounts, factors = service.accounts, service.app.state.shared.services.second_factors
        analyst, admin = (
            accounts.authenticate(service.keys[role]) for role in (Role.ANALYST, Role.ADMIN)
        )

        def turn_on(caller: Caller) -> None:
            totp = pyotp.TOTP(factors.enrol(caller).secret)
            factors.confirm(caller, totp.at(service.clock()))

        name = next(a.name for a in accounts.all() if a.id == analyst.account_id)
        token = Invitations(service.database).create(name)
        turn_on(admin)
        factors.enrol(analyst)  # not confirmed, and replaced later

        back_up(old, backup)

        Invitations(service.database).redeem(token)
        turn_on(analyst)
        factors.remove(admin.account_id)
        keys = dict(service.keys)
    async with start():
        pass
    for restored in restored_twice(old, backup):
        with contextlib.closing(open_database(restored)) as database:
            with pytest.raises(Forbidden, match="second factor"):
                Accounts(database).authenticate(keys[Role.ANALYST])
            with pytest.raises(Forbidden, match="second factor"):  # what was lifted holds again
                Accounts(database).authenticate(keys[Role.ADMIN])
            with pytest.raises(Gone):
                Invitations(database).redeem(token)
            with database.read() as session:
                (factor,) = session.scalars(select(SecondFactor))
                assert factor.id == admin.account_id
    for says in ("removed\n", "This account has no second factor.\n"):
        assert run_command(restored, "accounts", "remove-second-factor", name).output == says
    with contextlib.closing(open_database(restored)) as database:
        assert Accounts(database).authenticate(keys[Role.ANALYST]) == analyst


async def test_flags_are_set_again_by_their_account_however_often_a_backup_is_restored(
    start: Any, tmp_path: Path
) -> None:
    old, backup = Settings(data_dir=tmp_path / "var"), tmp_path / "backup"
    async with start() as service:
        jobs = [await submit(service, VIDEO + bytes([n])) for n in range(2)]
        analyst = {"headers": headers(service, Role.ANALYST)}
        by = service.accounts.authenticate(service.keys[Role.ANALYST]).account_id
        removed, later = (f"/v1/cases/{job['case_id']}/minor" for job in jobs)
        assert (await service.client.put(removed, **analyst)).is_success
        back_up(old, backup)
        assert (await service.client.delete(removed, **analyst)).is_success
        assert (await service.client.put(later, **analyst)).is_success
    async with start():
        pass
    for restored in restored_twice(old, backup):
        with contextlib.closing(open_database(restored)) as database, database.read() as session:
            assert [session.get_one(Case, job["case_id"]).minor_by for job in jobs] == [by, by]
            assert session.scalars(select(FlaggedHashes)).all()
