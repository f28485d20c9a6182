"""``deepfake accounts``, ``keys``, ``audit``, ``evidence`` and ``clock``: administration on the
machine of a service, which may run or not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from deepfake_models.errors import DeepfakeError
from deepfake_service.accounts.accounts import Accounts, NewKey
from deepfake_service.accounts.invitations import Invitations
from deepfake_service.accounts.second_factors import SecondFactors
from deepfake_service.audit import log
from deepfake_service.audit.checkpoints import audit_key
from deepfake_service.audit.journal import open_journal
from deepfake_service.audit.records import accept_row, altered_rows, open_existing_database
from deepfake_service.cli.output import json_line
from deepfake_service.evidence.chain_of_custody import contradictions
from deepfake_service.evidence.revocations import RevocationList
from deepfake_service.evidence.signing_keys import STATEMENT, SigningKeys, open_signing_keys
from deepfake_service.platform.db import Database, Key
from deepfake_service.platform.enums import Role
from deepfake_service.platform.errors import DecryptionFailed, RecordAltered, SettingsError
from deepfake_service.platform.files import replace_private
from deepfake_service.platform.settings import Settings, load_settings
from deepfake_service.platform.storage import EpochKeys, open_case_keys, open_keys, open_vault
from deepfake_service.retention.due import confirm_clock
from deepfake_service.retention.key_epochs import KeyEpochs, rotate_master_key
from deepfake_service.retention.orphans import damaged_blobs
from deepfake_service.retention.restoration import merge_journal

commands = typer.Typer()
accounts = typer.Typer(help="Manage the accounts of people and systems.", no_args_is_help=True)
keys = typer.Typer(help="Manage the keys of accounts.", no_args_is_help=True)
audit = typer.Typer(help="Verify the audit log.", no_args_is_help=True)
evidence = typer.Typer(help="Withdraw evidence.", no_args_is_help=True)
clock = typer.Typer(help="Confirm the clock that deletions rely on.", no_args_is_help=True)
signing = typer.Typer(help="Manage the keys that sign evidence.", no_args_is_help=True)
commands.add_typer(accounts, name="accounts")
commands.add_typer(keys, name="keys")
commands.add_typer(audit, name="audit")
commands.add_typer(evidence, name="evidence")
commands.add_typer(clock, name="clock")
keys.add_typer(signing, name="signing")

_DURATION = re.compile(r"([0-9]{1,6})([dhm])")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}

Name = Annotated[str, typer.Argument(help="Name of the account.")]
Expiry = Annotated[
    str | None,
    typer.Option(
        "--expires-in", help="Lifetime, for example 90d or 12h. Default: the key does not expire."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
KeyId = Annotated[str, typer.Argument(help="Id of the key, as printed by `deepfake keys list`.")]


@contextmanager
def opened_records() -> Iterator[tuple[Settings, Database]]:
    """Open the database as a start does, and journal what the command did, also if it failed.

    Without a service that runs, nothing else would, and a backup that is restored would undo it.
    ``SettingsError`` if there is no database, or it has no tables.
    """
    settings = load_settings()
    with closing(open_existing_database(settings)) as database:
        journal = open_journal(settings, database)
        merge_journal(database, journal, open_signing_keys(settings, database, open_keys(settings)))
        try:
            yield settings, database
        except BaseException:
            with suppress(DeepfakeError):  # the first error is the one to show
                journal.catch_up()
            raise
        journal.catch_up()


def _end(database: Database, expires_in: str | None) -> datetime | None:
    """Return when a key is to expire, given its lifetime; ``None`` without one."""
    if expires_in is None:
        return None
    form = _DURATION.fullmatch(expires_in)
    if form is None:
        raise typer.BadParameter("must be up to six digits, then d, h or m, for example 90d")
    lifetime = timedelta(**{_UNITS[form[2]]: int(form[1])})
    # Whole seconds, as links of invitations have them.
    return (database.clock() + lifetime).replace(microsecond=0)


@accounts.command("create")
def create_account(
    name: Name,
    role: Annotated[Role, typer.Option(help="Permissions of the account.")],
    kind: Annotated[
        Literal["person", "system"], typer.Option(help="Human user or service account.")
    ] = "person",
    live: Annotated[
        bool | None,
        typer.Option(help="Whether its jobs may have the priority `live`. Default: people only."),
    ] = None,
) -> None:
    """Create an account and its first key."""
    with opened_records() as (_, database):
        book = Accounts(database)
        book.create(name, kind, role, live=live)
        _show_once(book.create_key(name))


@accounts.command("list")
def list_accounts(as_json: AsJson = False) -> None:
    """List accounts."""
    rows = []
    with opened_records() as (_, database):
        for account in Accounts(database).all():
            state = "disabled" if account.disabled_at else "active"
            created = _day(account.created_at)
            rows.append((account.name, account.kind, str(account.role), created, state))
    _print_rows(("name", "kind", "role", "created", "state"), rows, as_json)


@accounts.command("invite")
def invite(name: Name, expires_in: Expiry = None) -> None:
    """Print a one-time link with which the owner of an account creates a key."""
    with opened_records() as (settings, database):
        end = _end(database, expires_in)
        token = Invitations(database).create(name, key_expires_at=end)
    base = settings.public_url or f"http://{settings.host}:{settings.port}"
    typer.echo(f"{base.rstrip('/')}/invitation/{token}")


@accounts.command("remove-second-factor")
def remove_second_factor(name: Name) -> None:
    """Remove the second factor of an account, for example because its device was lost."""
    with opened_records() as (settings, database):
        account = Accounts(database).named(name)
        factors = SecondFactors(database, open_keys(settings), settings.issuer)
        had_one = factors.remove(account.id)
    typer.echo("removed" if had_one else "This account has no second factor.")


@accounts.command("disable")
def disable_account(name: Name) -> None:
    """Disable an account and all its keys immediately. Its submissions are kept."""
    with opened_records() as (_, database):
        Accounts(database).disable(name)
    typer.echo("disabled")


@keys.command("create")
def create_key(
    account: Annotated[str, typer.Option(help="Name of the account.")], expires_in: Expiry = None
) -> None:
    """Create another key for an account."""
    with opened_records() as (_, database):
        end = _end(database, expires_in)
        _show_once(Accounts(database).create_key(account, expires_at=end))


@keys.command("list")
def list_keys(
    account: Annotated[str | None, typer.Option(help="List only the keys of this account.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys, without their secrets."""
    rows = []
    with opened_records() as (_, database):
        for key, owner in Accounts(database).keys(account):
            expires = _day(key.expires_at) if key.expires_at else "never"
            state = "account disabled" if owner.disabled_at else _state(key, database.clock())
            used = key.last_used_on.isoformat() if key.last_used_on else "not noted"
            created = _day(key.created_at)
            rows.append((key.id, owner.name, str(owner.role), created, used, expires, state))
    names = ("id", "account", "role", "created", "last used", "expires", "state")
    _print_rows(names, rows, as_json)


def _print_rows(names: Sequence[str], rows: Iterable[Sequence[str]], as_json: bool) -> None:
    if as_json:
        for row in rows:
            typer.echo(json_line(dict(zip(names, row, strict=True))))
        return
    table = Table(*names, box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*row)
    # As wide as its content: a narrow terminal, or a pipe, must not break ids, dates and names.
    Console(width=1000).print(table)


def _state(key: Key, now: datetime) -> str:
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= now else "active"


@keys.command("revoke")
def revoke_key(key: KeyId) -> None:
    """Revoke a key immediately."""
    with opened_records() as (_, database):
        Accounts(database).revoke(key)
    typer.echo("revoked")


@keys.command("rewrap")
def rewrap() -> None:
    """Wrap all keys with the current master key. Older master keys can then be removed.

    Keys that do not unwrap are listed and stay as they are. The exit code is then 1.
    """
    with opened_records() as (settings, database):
        master = open_keys(settings)
        case_keys = open_case_keys(settings, master, database.clock)
        changed, unreadable = rotate_master_key(database, master, case_keys)
    typer.echo(f"{changed} keys rewrapped")
    if unreadable:
        raise DecryptionFailed(
            f"{len(unreadable)} keys do not unwrap with the master keys of this installation: "
            f"{', '.join(unreadable)}. Add the master key that wrapped them to "
            "DEEPFAKE_MASTER_KEY, after a comma, and repeat this command, delete these cases, or "
            "restore them from a backup."
        )


@keys.command("renew-epoch")
def renew_epoch() -> None:
    """Destroy the key under which deleted cases were wrapped, without waiting for the service.

    Requests that the service is processing at this moment may fail.
    """
    with opened_records() as (settings, database):
        case_keys = open_case_keys(settings, open_keys(settings), database.clock)
        if not isinstance(case_keys, EpochKeys):
            raise SettingsError(
                "With PostgreSQL there are no epoch keys: the master key wraps cases."
            )
        epochs = KeyEpochs(database, case_keys)
        epochs.check()
        kept = epochs.renew()
    if kept:
        raise DecryptionFailed(
            f"A new epoch has begun, and {kept} earlier keys are kept: the key of a case under "
            "them does not unwrap. `deepfake backup` names its files. Delete the case, or restore "
            "it from a backup."
        )
    typer.echo("a new epoch has begun, and the keys of earlier ones are destroyed")


@audit.command("verify")
def verify_log(
    since: Annotated[
        Path | None,
        typer.Option(help="Checkpoint file with which the log must still be consistent."),
    ] = None,
) -> None:
    """Verify that neither the log nor a record was altered, and decrypt all media and files once.

    The exit code is 1 if something was altered, or is missing or damaged. Reading a large store
    takes hours.
    """
    with opened_records() as (settings, database):
        point = None
        if since is not None:
            signer = audit_key(database, open_keys(settings)).public_key()
            text = since.read_text(encoding="utf-8", errors="replace")
            point = log.Checkpoint.opened(text, signer)
        with database.read() as session:
            now = log.verify(session, point)
        typer.echo(f"intact: {now.number} entries, last hash {now.hash}")
        altered = list(altered_rows(database))
        for table, row in altered:
            typer.echo(f"altered: {table} {row}")
        contradicted = list(contradictions(database))
        for job_id in contradicted:
            typer.echo(f"differs from the log: job {job_id}")
        case_keys = open_case_keys(settings, open_keys(settings), database.clock)
        damaged = list(damaged_blobs(database, open_vault(settings, case_keys)))
        for name in damaged:
            typer.echo(f"missing or damaged: {name}")
    if altered:
        raise RecordAltered(
            f"{len(altered)} records were altered outside this program and are not used. Find out "
            "by whom. To use a record as it is now, run `deepfake audit accept TABLE ID`."
        )
    if contradicted:
        raise RecordAltered(
            f"{len(contradicted)} jobs, or their cases, were altered outside this program: their "
            "reviews, finding, editions, flag or hold are not those of the log. No evidence or "
            "notice is made from them. Find out by whom, and restore a backup."
        )
    if damaged:
        raise RecordAltered(
            f"{len(damaged)} stored files are missing or damaged. Restore them from a backup, if "
            "it has them."
        )
    if point is None:
        typer.echo("Pass --since to detect truncation or a full rewrite.", err=True)


@audit.command("checkpoint")
def export_checkpoint(
    out: Annotated[
        Path, typer.Option(help="File to write. Store it where the service cannot modify it.")
    ],
) -> None:
    """Write a signed checkpoint of the log."""
    with opened_records() as (settings, database):
        with database.read() as session:
            point = log.verify(session)
        key = audit_key(database, open_keys(settings))
        replace_private(out, point.signed(key))
    typer.echo(f"{out}: {point.number} entries, last hash {point.hash}")


@audit.command("accept")
def accept_altered_row(
    table: Annotated[str, typer.Argument(help="Table, as printed by `deepfake audit verify`.")],
    row: Annotated[str, typer.Argument(help="Id of the record.")],
) -> None:
    """Use an altered record as it is now, after you have checked its content. Audited."""
    with opened_records() as (_, database):
        accept_row(database, table, row)
    typer.echo("accepted")


def _show_once(new: NewKey) -> None:
    typer.echo("Key, shown only once:", err=True)
    typer.echo(new.text)


def _day(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M")


@contextmanager
def _records() -> Iterator[tuple[SigningKeys, RevocationList]]:
    # Keys generated elsewhere by mistake would be published as if they were the service's.
    with opened_records() as (settings, database):
        signing_keys = open_signing_keys(settings, database, open_keys(settings))
        yield signing_keys, RevocationList(database, signing_keys, issuer=settings.issuer)


@signing.command("list")
def list_signing_keys() -> None:
    """List current and former signing keys."""
    rows = []
    with _records() as (signing_keys, _):
        for key in signing_keys.all():
            state = "revoked" if key.revoked_at else "retired" if key.retired_at else "active"
            rows.append((key.id[:16], _day(key.created_at), state))
    _print_rows(("id", "created", "state"), rows, as_json=False)


@signing.command("rotate")
def rotate_signing_keys() -> None:
    """Create new signing keys. Evidence signed with the old ones remains verifiable."""
    with _records() as (signing_keys, _):
        typer.echo(f"New statements are signed with key {signing_keys.rotate()}.")
    typer.echo("Publish it with: deepfake keys signing publish --out DIR", err=True)


@signing.command("revoke")
def revoke_signing_key(
    key: Annotated[str, typer.Argument(help="Id of the key, or its first characters.")],
) -> None:
    """Revoke a signing key (for example after a compromise) and create a new one.

    Evidence signed with a revoked key no longer verifies.
    """
    with _records() as (signing_keys, _):
        signing_keys.revoke(key)
        signing_keys.current()
    typer.echo("revoked")
    typer.echo("Publish the new keys and the new list of revocations.", err=True)


@signing.command("publish")
def publish_signing_keys(
    out: Annotated[Path, typer.Option(help="Folder to write to.", file_okay=False)],
) -> None:
    """Write all public keys: PEM files and a JWK Set (RFC 7517).

    Publish them where people who verify your evidence can find them, for example on your website.
    """
    with _records() as (signing_keys, _):
        signing_keys.current()
        out.mkdir(parents=True, exist_ok=True)
        for key in signing_keys.all():
            if not key.revoked_at:
                name = f"{STATEMENT}-{key.id[:16]}.pem"
                (out / name).write_text(key.public_pem, encoding="ascii")
        key_set = signing_keys.jwks().model_dump_json(indent=2)
        (out / "jwks.json").write_text(f"{key_set}\n", encoding="ascii")
        active = [k for k in signing_keys.all() if not k.retired_at]
    typer.echo(f"{out}: {out / f'{STATEMENT}-{active[0].id[:16]}.pem'} verifies new evidence")


@evidence.command("withdraw")
def withdraw_edition(sha256: Annotated[str, typer.Argument(help="SHA-256 of the bundle.")]) -> None:
    """Withdraw an edition of evidence: it is no longer handed out, and fails verification against
    the list of revocations. Audited."""
    with _records() as (_, revocations):
        revocations.withdraw(sha256)
    typer.echo("withdrawn")


@clock.command("confirm")
def confirm() -> None:
    """Let deletions rely on the clock. Check the date first.

    What is past its retention is marked at once, and deleted after a grace period of a day.
    """
    with opened_records() as (_, database):
        at = confirm_clock(database)
    typer.echo(f"confirmed: {at:%Y-%m-%d %H:%M} UTC")
