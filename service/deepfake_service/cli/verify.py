"""``deepfake verify``: verify evidence, offline."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.console import Console
from rich.markup import escape

from deepfake_models.command_line import flatten_options
from deepfake_models.errors import DeepfakeError
from deepfake_models.scorer import Scorer
from deepfake_service.cli.output import json_line
from deepfake_service.cli.score import open_scorer
from deepfake_service.evidence.bundle import verification
from deepfake_service.evidence.bundle.readers import BundleReaders
from deepfake_service.evidence.bundle.steps import ExitCode, Outcome, Verification
from deepfake_service.evidence.bundle.trust_store import (
    Trust,
    certificates,
    open_revocations,
    pinned_keys,
    public_keys,
    read_list,
)
from deepfake_service.evidence.bundle.zip_format import MAX_BYTES
from deepfake_service.platform.clock import utc_now
from deepfake_service.platform.sandbox_setting import naming_the_setting, sandbox_required

commands = typer.Typer()

_STYLES = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.SKIPPED: "dim",
    Outcome.UNKNOWN: "yellow",
    Outcome.SUPERSEDED: "yellow",
}
_RESULTS = {
    ExitCode.VERIFIED: "[green]verified[/green]: intact, and signed by a trusted key",
    ExitCode.SIGNER_UNKNOWN: "[yellow]intact, signer unknown[/yellow]: anyone could have created "
    "this signature; pass the issuer's key with --public-key",
    ExitCode.SUPERSEDED: "[yellow]superseded[/yellow]: intact, and signed by a trusted key, but "
    "the issuer has issued a newer edition; ask for it",
    ExitCode.FAILED: "[bold red]failed[/bold red]: do not rely on this file",
}


@dataclass(frozen=True)
class _TrustOptions:
    """Whose signatures and time stamps to trust."""

    public_keys: Annotated[
        list[Path] | None,
        typer.Option(
            "--public-key",
            help="The issuer's public key, obtained from the issuer: a PEM file, or its key set "
            "(jwks.json).",
        ),
    ] = None
    pinned: Annotated[
        Path | None,
        typer.Option(
            help="Folder of trusted PEM files.",
            envvar="DEEPFAKE_PINNED_KEYS",
            exists=True,
            file_okay=False,
        ),
    ] = None
    timestamp_root: Annotated[
        Path | None,
        typer.Option(
            help="PEM file of the time-stamp authority's root certificate.",
            envvar="DEEPFAKE_TIMESTAMP_ROOTS",
        ),
    ] = None

    revocations: Annotated[
        str | None,
        typer.Option(
            help="The issuer's list of replaced and withdrawn editions and of revoked keys: a "
            "file, or its URL (https://SERVICE/v1/revocations)."
        ),
    ] = None

    def load(self) -> Trust:
        """Read the keys, the certificates and the list of revocations."""
        given = [key for path in self.public_keys or () for key in public_keys(path)]
        keys = (*given, *pinned_keys(self.pinned))
        revocations = None
        if self.revocations is not None:
            revocations = open_revocations(read_list(self.revocations), keys, utc_now())
        return Trust(keys, certificates(self.timestamp_root), revocations)


@dataclass(frozen=True)
class _RescoreOptions:
    """What to score again."""

    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score the stored face crops again.")
    ] = False
    media: Annotated[
        Path | None, typer.Option(help="Original file: repeat the whole examination.")
    ] = None
    model: Annotated[
        Path | None,
        typer.Option(
            "--bundle", help="Directory of the model bundle.", envvar="DEEPFAKE_BUNDLE_DIR"
        ),
    ] = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[Scorer | None, BinaryIO | None]]:
        """Open the scorer and the original file, where they are needed."""
        if self.media is None and not self.rescore:
            yield None, None
            return
        with open_scorer(self.model, "auto") as scorer, contextlib.ExitStack() as stack:
            yield scorer, stack.enter_context(self.media.open("rb")) if self.media else None


@commands.command("verify")
@flatten_options
def verify_bundle(
    bundle: Annotated[
        Path,
        typer.Argument(
            help="ZIP file of the bundle, or JSON file with the looks at a post.", dir_okay=False
        ),
    ],
    trust_options: _TrustOptions,
    rescoring: _RescoreOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Verify a bundle, or the looks at a post, offline and print each step with its result.

    The exit code is 0 if the file is intact and signed by a trusted key, 3 if it is intact but
    the signer is not trusted, 4 if a newer edition has replaced it, 2 if the options are invalid,
    and 1 otherwise. Without --revocations, newer editions and revoked keys are not known.
    """
    if bundle.stat().st_size > MAX_BYTES:
        raise DeepfakeError(
            f"{bundle.name} is larger than {MAX_BYTES} bytes, the maximum size of a bundle."
        )
    content = bundle.read_bytes()
    with rescoring.opened() as (scorer, original):
        trust = trust_options.load()
        readers = BundleReaders(1, require=sandbox_required())
        with contextlib.closing(readers), naming_the_setting():
            result = verification.verify(
                content, trust, scorer=scorer, original=original, readers=readers
            )
    if as_json:
        typer.echo(json_line(result.published().model_dump(mode="json")))
    else:
        _show(result, Console(highlight=False), is_current=trust.revocations is not None)
    raise typer.Exit(int(result.exit_code))


def _show(result: Verification, console: Console, *, is_current: bool) -> None:
    for step in result.steps:
        style = _STYLES[step.outcome]
        line = f"{step.number:>2}  [{style}]{step.outcome:<8}[/{style}] {step.title}"
        console.print(line, soft_wrap=True)
        console.print(f"              [dim]{escape(step.detail)}[/dim]", soft_wrap=True)
    console.print(_RESULTS[result.exit_code], soft_wrap=True)
    if result.exit_code is not ExitCode.FAILED and not is_current:
        console.print(
            "[dim]Superseded or withdrawn: unknown. Pass the issuer's list of revocations with "
            "--revocations.[/dim]",
            soft_wrap=True,
        )
