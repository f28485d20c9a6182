"""The records of a service, running or not, and commands about its signing keys, its evidence and
its clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from deepfake_models.errors import DeepfakeError
from deepfake_service.audit.journal import open_journal
from deepfake_service.audit.records import open_existing_database
from deepfake_service.evidence.revocations import RevocationList
from deepfake_service.evidence.signing_keys import STATEMENT, SigningKeys, open_signing_keys
from deepfake_service.platform.db import Database
from deepfake_service.platform.settings import Settings, load_settings
from deepfake_service.platform.storage import open_keys
from deepfake_service.retention.due import confirm_clock
from deepfake_service.retention.restoration import merge_journal

commands = typer.Typer()
evidence = typer.Typer(help="Withdraw evidence.", no_args_is_help=True)
clock = typer.Typer(help="Confirm the clock that deletions rely on.", no_args_is_help=True)
commands.add_typer(evidence, name="evidence")
commands.add_typer(clock, name="clock")
signing = typer.Typer(help="Manage the keys that sign evidence.", no_args_is_help=True)


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


@contextmanager
def _records() -> Iterator[tuple[SigningKeys, RevocationList]]:
    # Keys generated elsewhere by mistake would be published as if they were the service's.
    with opened_records() as (settings, database):
        keys = open_signing_keys(settings, database, open_keys(settings))
        yield keys, RevocationList(database, keys, issuer=settings.issuer)


@signing.command("list")
def list_signing_keys() -> None:
    """List current and former signing keys."""
    table = Table("id", "created", "state")
    with _records() as (keys, _):
        for key in keys.all():
            created = key.created_at.strftime("%Y-%m-%d %H:%M")
            state = "revoked" if key.revoked_at else "retired" if key.retired_at else "active"
            table.add_row(key.id[:16], created, state)
    Console().print(table)


@signing.command("rotate")
def rotate_signing_keys() -> None:
    """Create new signing keys. Evidence signed with the old ones remains verifiable."""
    with _records() as (keys, _):
        typer.echo(f"New statements are signed with key {keys.rotate()}.")
    typer.echo("Publish it with: deepfake keys signing publish --out DIR", err=True)


@signing.command("revoke")
def revoke_signing_key(
    key: Annotated[str, typer.Argument(help="Id of the key, or its first characters.")],
) -> None:
    """Revoke a signing key (for example after a compromise) and create a new one.

    Evidence signed with a revoked key no longer verifies.
    """
    with _records() as (keys, _):
        keys.revoke(key)
        keys.current()
    typer.echo("revoked")
    typer.echo("Publish the new keys and the new list of revocations.", err=True)


@signing.command("publish")
def publish_signing_keys(
    out: Annotated[Path, typer.Option(help="Folder to write to.", file_okay=False)],
) -> None:
    """Write all public keys: PEM files and a JWK Set (RFC 7517).

    Publish them where people who verify your evidence can find them, for example on your website.
    """
    with _records() as (keys, _):
        keys.current()
        out.mkdir(parents=True, exist_ok=True)
        for key in keys.all():
            if not key.revoked_at:
                name = f"{STATEMENT}-{key.id[:16]}.pem"
                (out / name).write_text(key.public_pem, encoding="ascii")
        key_set = keys.jwks().model_dump_json(indent=2)
        (out / "jwks.json").write_text(f"{key_set}\n", encoding="ascii")
        active = [k for k in keys.all() if not k.retired_at]
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
