"""``deepfake score``: find local files, score them, and print a table or JSON lines."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column, Table
from rich.text import Text

from deepfake_models.bundle.bundle import Bundle, default_bundle_dir
from deepfake_models.bundle.results import (
    Leaning,
    Track,
    Verdict,
    VerdictCode,
    input_at_fault,
    suspects,
    unable,
)
from deepfake_models.decision.fitness import unfit
from deepfake_models.errors import BundleError, UnreadableMedia
from deepfake_models.machine import Device
from deepfake_models.sandbox.decoder import ProcessDecoder
from deepfake_models.scorer import Progress, Scorer
from deepfake_service.cli.output import EXIT_OK, EXIT_UNREADABLE, clean, json_line
from deepfake_service.platform.sandbox_setting import naming_the_setting, sandbox_required

commands = typer.Typer()

_STYLES = {
    VerdictCode.LIKELY_MANIPULATED: "bold red",
    VerdictCode.INCONCLUSIVE: "yellow",
    VerdictCode.NO_MANIPULATION_FOUND: "cyan",  # not green: a real face does not clear a file
    VerdictCode.NOT_APPLICABLE: "dim",
    VerdictCode.UNABLE_TO_EVALUATE: "magenta",
}
_KIND_NAMES = {"swap": "face swap"}
"""Kinds that the table names by other words than the model bundle does."""
_MAX_MOMENTS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ScoredPath:
    """The result for one path; ``sha256`` is ``None`` if the file could not be read."""

    path: Path
    sha256: str | None
    verdict: Verdict

    @property
    def unreadable(self) -> bool:
        return self.verdict.verdict is VerdictCode.UNABLE_TO_EVALUATE and any(
            input_at_fault(r.code) for r in self.verdict.reasons
        )

    def to_json(self, bundle: Bundle, *, faces: bool) -> dict[str, object]:
        # A path may contain bytes that are not valid text; JSON must still be valid UTF-8.
        path = str(self.path).encode("utf-8", "backslashreplace").decode()
        return {
            "path": path,
            "sha256": self.sha256,
            **self.verdict.to_json(faces=faces),
            "model": bundle.model_json(),
        }


@commands.command()
def score(
    paths: Annotated[
        list[Path], typer.Argument(help="Pictures, videos, or folders containing them.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
    frames: Annotated[
        int | None,
        typer.Option(min=1, help="Examine exactly this many evenly spaced frames of each video."),
    ] = None,
    faces: Annotated[
        bool, typer.Option("--faces", help="Include every face (requires --json).")
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Directory of the model bundle.", envvar="DEEPFAKE_BUNDLE_DIR"),
    ] = None,
    device: Annotated[Device, typer.Option(help="Device that runs the model.")] = "auto",
) -> None:
    """Estimate whether a face in each picture or video has been manipulated.

    The exit code is 0, or 1 if a path could not be read or decoded.
    """
    if faces and not as_json:
        raise typer.BadParameter("requires --json", param_hint="--faces")
    with open_scorer(bundle, device) as scorer:
        unreadable = False
        files = walk(paths)
        if as_json:
            for path in files:
                item = score_path(scorer, path, frames)
                line = item.to_json(scorer.bundle, faces=faces)
                typer.echo(json_line(line))
                sys.stdout.flush()
                unreadable |= item.unreadable
        else:
            unreadable = show(scorer, list(files), frames, Console())
    raise typer.Exit(EXIT_UNREADABLE if unreadable else EXIT_OK)


@contextmanager
def naming_bundle(directory: Path | None) -> Iterator[None]:
    """Prefix the message of a ``BundleError`` with the path of the bundle."""
    try:
        yield
    except BundleError as error:
        where = clean(str(directory or default_bundle_dir()))
        raise BundleError(f"{where}: {error.message}") from error


@contextmanager
def open_scorer(bundle: Path | None, device: Device) -> Iterator[Scorer]:
    """Open a scorer that decodes its inputs in a confined process; ``SandboxIncomplete`` if the
    process lacks a layer, and DEEPFAKE_SANDBOX requires all of them."""
    required = sandbox_required()
    with closing(ProcessDecoder(workers=1, require=required)) as decoder:
        if required:  # before any file: each would fail by itself
            with naming_the_setting():
                decoder.confinement()
        with naming_bundle(bundle):
            scorer = Scorer.open(bundle, decoder=decoder, device=device)
        yield scorer


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield ``paths``, replacing each folder by the sorted files below it, without hidden ones.

    Unreadable entries, such as a forbidden folder, are yielded too, so that ``score_path`` can
    report them. Standard error names symbolic links, which are skipped, and folders without files.
    """
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises on a name too long
            yield path
            continue
        files = _files_below(path)
        if not files:
            typer.echo(f"{clean(str(path))} contains no files", err=True)
        yield from files


def _files_below(folder: Path) -> list[Path]:
    files: list[Path] = []

    def add_unreadable(error: OSError) -> None:
        files.append(Path(os.fsdecode(error.filename)))

    for parent, folders, names in os.walk(folder, onerror=add_unreadable):
        for path in (Path(parent, n) for n in sorted(names + folders) if not n.startswith(".")):
            # A link in a folder from outside could open, and submit, any file of this machine.
            if path.is_symlink():
                typer.echo(f"{clean(str(path))} is a symbolic link and is skipped", err=True)
            elif path.name in names and _is_candidate(path):
                files.append(path)
        folders[:] = [n for n in folders if not n.startswith(".")]
    return sorted(files)


def _is_candidate(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading: ``OSError`` for a folder, a pipe or a device."""
    # Opening a pipe would block until another process writes to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "not a regular file")


def score_path(
    scorer: Scorer,
    path: Path,
    frames: int | None,
    progress: Progress | None = None,
) -> ScoredPath:
    """Score one file. A file that cannot be read gets ``unable_to_evaluate``."""
    try:
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            return ScoredPath(path, digest, scorer.score(file, frames=frames, progress=progress))
    except UnreadableMedia as error:
        return ScoredPath(path, None, unable(error))
    except (OSError, ValueError) as error:
        detail = getattr(error, "strerror", None) or "not a usable path"
        return ScoredPath(path, None, unable(UnreadableMedia(f"cannot be read: {detail}")))


def show(scorer: Scorer, paths: list[Path], frames: int | None, console: Console) -> bool:
    """Score ``paths`` with a progress bar, print a table, and return whether one was unreadable."""
    errors = Console(stderr=True)
    bar = Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    results = []
    with bar:
        overall = bar.add_task("files", total=len(paths))
        for path in paths:
            current = bar.add_task(clean(path.name)[:40], total=None)

            def advance(done: int, total: int, task: TaskID = current) -> None:
                bar.update(task, completed=done, total=total)

            results.append(score_path(scorer, path, frames, advance))
            bar.remove_task(current)
            bar.advance(overall)
    console.print(_table(results))
    kinds = {r.verdict.media.kind for r in results if r.verdict.media}
    _print_footer(scorer.bundle, kinds, console)
    return any(r.unreadable for r in results)


def _table(results: list[ScoredPath]) -> Table:
    table = Table(
        Column("file", overflow="fold"), Column("verdict", no_wrap=True),
        Column("score", justify="right"), Column("suspect moments", overflow="fold"),
        Column("reasons", overflow="fold"), show_lines=len(results) > 1,
    )  # fmt: skip
    for result in results:
        verdict = result.verdict
        table.add_row(
            Text(clean(str(result.path))),
            _verdict_cell(verdict),
            "–" if verdict.score is None else f"{verdict.score:.3f}",
            "\n".join(_track_line(t) for t in suspects(verdict.tracks)) or "–",
            Text("; ".join(r.detail for r in verdict.reasons) or "–"),
        )
    return table


def _verdict_cell(verdict: Verdict) -> Text:
    """Return the verdict, below it which way it leans and which kinds it resembles most."""
    lines = [str(verdict.verdict).replace("_", " ")]
    leaning = verdict.leaning
    if verdict.verdict is VerdictCode.INCONCLUSIVE and leaning and leaning is not Leaning.NEITHER:
        lines.append(f"leans {leaning.replace('_', ' ')}")
    if verdict.kinds:
        kind = max(verdict.kinds, key=verdict.kinds.__getitem__)
        lines.append(f"resembles: {_KIND_NAMES.get(kind, kind)}")
    return Text("\n".join(lines), style=_STYLES[verdict.verdict])


def _track_line(track: Track) -> str:
    spans = sorted(track.moments, key=lambda m: -m.peak_score)[:_MAX_MOMENTS_SHOWN]
    where = ", ".join(
        f"{m.start_s:.1f}–{m.end_s:.1f} s" if m.end_s > m.start_s else f"{m.start_s:.1f} s"
        for m in sorted(spans, key=lambda m: m.start_s)
    )
    return f"track {track.track}: {where}" if where else f"track {track.track}"


def _print_footer(bundle: Bundle, kinds: set[str], console: Console) -> None:
    """Print the model, its terms, and the error rates at the thresholds that were applied."""
    spec = bundle.spec
    lines = [
        f"Model {spec.name} {spec.version}, terms: {spec.terms}. A score is the probability "
        "of manipulation at even prior odds, not proof. Faces alone are examined: a real face does "
        "not clear a file."
    ]
    pictures = "pictures" if spec.thresholds.picture else "single faces"
    levels = (
        ("image", pictures, spec.thresholds.still), ("video", "videos", spec.thresholds.item),
    )  # fmt: skip
    never_seen = {
        "people": "from people that the model had never seen",
        "sources": "from people and sources that the model had never seen",
        "unknown": "from people and sources that the model may have seen",
    }[spec.unseen]
    for kind, name, rates in levels:
        if kind in kinds:
            lines.append(
                f"On held-out {name} that got a value, {never_seen}, this threshold wrongly "
                f"reported manipulation in {rates.false_positive_rate:.1%} of authentic ones (at "
                f"most {rates.false_positive_rate_upper:.1%} with 95% confidence) and detected "
                f"{rates.true_positive_rate:.1%} of manipulated ones."
            )
            if rates.leaning:
                lines.append(
                    f"Of authentic ones, {rates.leaning.false_positive_rate:.1%} (at most "
                    f"{rates.leaning.false_positive_rate_upper:.1%}) and of manipulated ones "
                    f"{rates.leaning.true_positive_rate:.1%} lean towards manipulated or are "
                    "called so: a leaning ranks what to review first and proves nothing."
                )
    console.print(" ".join(lines), style="dim", highlight=False, markup=False)
    for reason in unfit(spec):
        if {"picture": "image"}.get(reason.kind, reason.kind) in kinds:
            line = f"NOT FOR USE: {reason.detail}"
            console.print(line, style="red", highlight=False, markup=False)
