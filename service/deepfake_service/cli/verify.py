"""``deepfake verify`` and ``deepfake keys signing``: evidence checked, and the keys for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepfake_models.decode.decoder import ProcessDecoder
from deepfake_models.errors import DeepfakeError
from deepfake_models.scorer import Scorer
from deepfake_service.db import open_database
from deepfake_service.errors import SettingsError
from deepfake_service.evidence.trust_store import certificates, pinned_keys, public_key
from deepfake_service.evidence.verification import verify
from deepfake_service.evidence.verification_result import ExitCode, Outcome, Trust, Verification
from deepfake_service.evidence.zip_format import MAX_BYTES
from deepfake_service.security.signing_keys import STATEMENT, SigningKeys, open_signing_keys
from deepfake_service.settings import RECORDS_FILE, load_settings
from deepfake_service.storage import open_keys

signing = typer.Typer(help="Keys that evidence is signed with.", no_args_is_help=True)

_STYLES = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.SKIPPED: "dim",
    Outcome.UNKNOWN: "yellow",
}
_RESULTS = {
    ExitCode.VERIFIED: "[green]verified[/green]: intact, and signed by a trusted key",
    ExitCode.SIGNER_UNKNOWN: "[yellow]intact, signer unknown[/yellow]: whoever made it could have "
    "signed it with any key; give the issuer's with --public-key",
    ExitCode.FAILED: "[bold red]failed[/bold red]: do not rely on this bundle",
}


def verify_bundle(
    bundle: Annotated[Path, typer.Argument(help="The evidence bundle, a ZIP.", dir_okay=False)],
    public_keys: Annotated[
        list[Path] | None,
        typer.Option("--public-key", help="PEM file of the issuer's key, got from the issuer."),
    ] = None,
    pinned: Annotated[
        Path | None,
        typer.Option(
            help="Folder of such PEM files.", envvar="DEEPFAKE_PINNED_KEYS", file_okay=False
        ),
    ] = None,
    timestamp_root: Annotated[
        Path | None,
        typer.Option(
            help="PEM file of the time-stamp authority's root.", envvar="DEEPFAKE_TIMESTAMP_ROOTS"
        ),
    ] = None,
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score the stored faces again.")
    ] = False,
    media: Annotated[
        Path | None, typer.Option(help="The original file: repeat the whole examination.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--bundle", help="Model bundle directory.", envvar="DEEPFAKE_BUNDLE_DIR"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Check an evidence bundle, offline: numbered steps, each with what was found.

    Exit code 0 where it is intact and signed by a key that was given or is pinned; 3 where it is
    intact, but nobody vouches for its signer; 1 otherwise.
    """
    try:
        if bundle.stat().st_size > MAX_BYTES:
            raise DeepfakeError(f"{bundle.name}: larger than a bundle can be")
        content = bundle.read_bytes()
    except OSError as error:
        raise DeepfakeError(f"{bundle.name}: cannot be read ({error.strerror})") from error
    trust = Trust(
        keys=(*map(public_key, public_keys or ()), *pinned_keys(pinned)),
        timestamp_roots=certificates(timestamp_root),
    )
    with contextlib.ExitStack() as stack:
        scorer = None
        if media is not None:  # of unknown origin, whatever the bundle says of it
            decoder = stack.enter_context(contextlib.closing(ProcessDecoder(workers=1)))
            scorer = Scorer.open(model, decoder=decoder)
        elif rescore:
            scorer = Scorer.open(model)
        try:
            original = stack.enter_context(media.open("rb")) if media is not None else None
        except OSError as error:
            raise DeepfakeError(f"{media}: cannot be read ({error.strerror})") from error
        found = verify(content, trust, scorer=scorer, original=original)
    if as_json:
        typer.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        _show(found, Console(highlight=False))
    raise typer.Exit(int(found.exit_code))


def _show(found: Verification, console: Console) -> None:
    for step in found.steps:
        style = _STYLES[step.outcome]
        line = f"{step.number:>2}  [{style}]{step.outcome:<8}[/{style}] {step.title}"
        console.print(line, soft_wrap=True)
        console.print(f"              [dim]{escape(step.detail)}[/dim]", soft_wrap=True)
    console.print(_RESULTS[found.exit_code], soft_wrap=True)
    if found.exit_code is not ExitCode.FAILED:
        console.print(
            "[dim]Whether there is a newer edition, only its issuer can tell (POST /v1/verify)."
            "[/dim]",
            soft_wrap=True,
        )


@contextlib.contextmanager
def _signing_keys() -> Iterator[SigningKeys]:
    settings = load_settings()
    if settings.database_url is None and not (settings.data_dir / RECORDS_FILE).exists():
        # Keys made here by mistake would be published as if they were the service's.
        raise SettingsError(
            f"there is no service in {settings.data_dir.absolute()}: give DEEPFAKE_DATA_DIR as the "
            "service has it, or start it first"
        )
    with contextlib.closing(open_database(settings)) as database:
        yield open_signing_keys(settings, database, open_keys(settings))


@signing.command("list")
def list_signing_keys() -> None:
    """List the keys that evidence is or was signed with."""
    table = Table("id", "purpose", "made", "state")
    with _signing_keys() as keys:
        for key in keys.all():
            made = key.created_at.strftime("%Y-%m-%d %H:%M")
            state = "revoked" if key.revoked_at else "retired" if key.retired_at else "active"
            table.add_row(key.id[:16], key.purpose, made, state)
    Console().print(table)


@signing.command("rotate")
def rotate_signing_keys() -> None:
    """Make new keys. The old ones sign no more, and what they signed stays verifiable."""
    with _signing_keys() as keys:
        typer.echo(f"statements are now signed with {keys.rotate()}")
    typer.echo("Publish it: deepfake keys signing publish --out DIR", err=True)


@signing.command("revoke")
def revoke_signing_key(
    key: Annotated[str, typer.Argument(help="The key's id, or how it begins.")],
) -> None:
    """Trust nothing any more that a key signed: it may have been stolen. New keys are made."""
    with _signing_keys() as keys:
        keys.revoke(key)
        keys.current()
    typer.echo("revoked")
    typer.echo("Tell those who have its public key, and publish anew.", err=True)


@signing.command("publish")
def publish_signing_keys(
    out: Annotated[Path, typer.Option(help="Folder to write.", file_okay=False)],
) -> None:
    """Write every public key: PEM files, certificates of reports, and a JWK Set.

    Put them where those who verify evidence can get them from you, for instance on your website.
    """
    with _signing_keys() as keys:
        keys.current()
        out.mkdir(parents=True, exist_ok=True)
        for key in keys.all():
            if key.revoked_at:
                continue
            name = f"{key.purpose}-{key.id[:16]}"
            if key.certificate_pem:
                (out / f"{name}.crt").write_text(key.certificate_pem, encoding="ascii")
            else:
                (out / f"{name}.pem").write_text(key.public_pem, encoding="ascii")
        (out / "jwks.json").write_text(json.dumps(keys.jwks(), indent=2) + "\n", encoding="ascii")
        active = [k for k in keys.all() if k.purpose == STATEMENT and not k.retired_at]
    typer.echo(f"{out}: {out / f'{STATEMENT}-{active[0].id[:16]}.pem'} verifies new evidence")
