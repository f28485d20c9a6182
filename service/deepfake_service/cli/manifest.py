"""The rows of ``deepfake submit DIR``: the files of a folder, or those that a manifest lists."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from deepfake_models.errors import DeepfakeError
from deepfake_service.cli.output import clean
from deepfake_service.cli.score import open_regular, walk
from deepfake_service.http.submission_form import PictureForm

FILE = "file"
COLUMNS = (FILE, *PictureForm.model_fields)
DELIMITERS = (",", ";", "\t")
ENCODINGS = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp949": "CP949"}
"""Encodings of tables by Python's names: Excel saves "CSV UTF-8" with a byte order mark, "Unicode
Text" as UTF-16, and its plain CSV in Korea as CP949."""
SHOWN_PROBLEMS = 20
_RECORD = re.compile(r"([0-9a-f]{64}) ([0-9a-z]{26})")


class InvalidManifest(DeepfakeError):
    """The manifest or the folder cannot be submitted as it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A file to submit, and the text fields that accompany it."""

    folder: Path
    name: str
    """The path below the folder, as the manifest has it."""
    fields: dict[str, str]

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def digest(self, service: str) -> str:
        """Return the SHA-256 of the content of the file, the fields and the service's address."""
        with open_regular(self.path) as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        known = json.dumps([service, content, self.fields], sort_keys=True)
        return hashlib.sha256(known.encode()).hexdigest()


def rows_of_folder(folder: Path, fields: dict[str, str]) -> list[Row]:
    """Return a row for each file below ``folder``, without hidden ones and symbolic links.

    Raises:
        InvalidManifest: there are no files, or a field is not valid.
    """
    if problems := list(_field_problems(fields)):
        raise InvalidManifest("\n".join(f"--{n.replace('_', '-')}: {p}" for n, p in problems))
    rows = [Row(folder, str(path.relative_to(folder)), fields) for path in walk([folder])]
    if not rows:
        raise InvalidManifest(f"{clean(str(folder))} has no files to submit.")
    return rows


def read_manifest(manifest: Path, folder: Path, fields: dict[str, str]) -> tuple[list[Row], str]:
    """Read a manifest, a table as CSV whose first line names its columns, and check every row.

    Args:
        manifest: in one of ``ENCODINGS``, separated by commas, semicolons or tabs.
        folder: what the column ``file`` is relative to.
        fields: values for rows whose own cell is empty.

    Returns:
        The rows, and the encoding of the manifest, a value of ``ENCODINGS``.

    Raises:
        InvalidManifest: what is wrong, by line and column. Nothing is left out silently.
        OSError: the manifest cannot be read.
    """
    text, encoding = _decoded(manifest)
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    problems: list[str] = []
    line_of: dict[tuple[tuple[str, str], ...], int] = {}
    try:
        columns = _columns(next(reader, []))
        for cells in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            given = {c: v.strip() for c, v in zip(columns, cells, strict=False) if v.strip()}
            if found := list(_row_problems(given, cells, columns, folder)):
                problems += [f"line {line}, column {column}: {what}" for column, what in found]
                continue
            first = line_of.setdefault(tuple(given.items()), line)
            if first != line:
                problems.append(f"line {line}: repeats line {first}; delete one of them")
            name = given.pop(FILE)
            rows.append(Row(folder, name, {**fields, **given}))
    except csv.Error as error:
        problems.append(f"line {reader.line_num}: {error}")
    if not rows and not problems:
        problems.append("the table has no rows below its header")
    if problems:
        raise InvalidManifest(_listed(manifest, problems))
    return rows, encoding


def _decoded(manifest: Path) -> tuple[str, str]:
    """Return the text of a manifest and its encoding."""
    content = manifest.read_bytes()
    has_mark = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for name in ("utf-16",) if has_mark else ("utf-8-sig", "cp949"):
        try:
            return content.decode(name), ENCODINGS[name]
        except UnicodeDecodeError as error:
            place = f"byte {error.start} is not {ENCODINGS[name]}"
    raise InvalidManifest(
        f"{clean(str(manifest))}: {place}{'' if has_mark else ', nor is the file UTF-8'}. Save the "
        'table as "CSV UTF-8".'
    )


def _columns(header: Sequence[str]) -> list[str]:
    columns = [name.strip() for name in header]
    expected = f"the columns are {', '.join(COLUMNS)}"
    for number, name in enumerate(columns):
        if name not in COLUMNS:
            raise InvalidManifest(
                f'Manifest, line 1: column {number + 1}, "{clean(name[:40])}", is not known; '
                f"{expected}."
            )
        if name in columns[:number]:
            raise InvalidManifest(f'Manifest, line 1: column "{name}" appears twice.')
    if FILE not in columns:
        raise InvalidManifest(f'Manifest, line 1: column "{FILE}" is missing; {expected}.')
    return columns


def _row_problems(
    given: dict[str, str], cells: Sequence[str], columns: Sequence[str], folder: Path
) -> Iterator[tuple[str, str]]:
    if len(cells) > len(columns):
        what = f"the line has {len(cells)} cells and the table {len(columns)} columns"
        yield str(len(columns) + 1), what + "; put cells that contain a separator in quotes"
    elif FILE not in given:
        yield FILE, "is empty"
    else:
        yield from ((FILE, what) for what in _path_problems(given[FILE], folder))
        yield from _field_problems({n: v for n, v in given.items() if n != FILE})


def _path_problems(name: str, folder: Path) -> Iterator[str]:
    path = folder / name
    shown = clean(name[:200])
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            yield f"{shown} is outside the folder"
        elif path.is_dir():
            yield f"{shown} is a folder; name its files one by one"
        elif not path.is_file():
            yield f"{shown} does not exist below {clean(str(folder))}"
    except (OSError, ValueError):
        yield f"{shown} is not a path"


def _field_problems(fields: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with fields, by the rules that the service applies."""
    try:
        PictureForm.model_validate(fields)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            yield str(problem["loc"][0]), problem["msg"]


def _listed(manifest: Path, problems: Sequence[str]) -> str:
    shown = [f"  {p}" for p in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        shown.append(f"  and {len(problems) - SHOWN_PROBLEMS} more")
    return "\n".join([f"{clean(str(manifest))} cannot be submitted; nothing was sent.", *shown])


class SubmittedRows:
    """Which rows were submitted, in a file, so that an interrupted run can resume.

    May be used by several threads. The file has a digest of each row and the id of its job, and
    neither names nor URLs. Each record begins with a line break, so that one that a crash cut short
    does not spoil the next; its row is submitted again, which leads to the same job.

    Raises:
        InvalidManifest: the file was not written by this class.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        content = path.read_bytes() if path is not None and path.exists() else b""
        lines = content.decode("ascii", "replace").split("\n")
        found = filter(None, map(_RECORD.fullmatch, lines))
        self._jobs = {record[1]: record[2] for record in found}
        if content and not self._jobs:
            raise InvalidManifest(
                f"{clean(str(path))} has no rows that deepfake submit recorded. Delete the file to "
                "submit all rows."
            )

    def job_of(self, row: str) -> str | None:
        """Return the id of the job of a row with this digest, if it was submitted."""
        return self._jobs.get(row)

    def add(self, row: str, job: str) -> None:
        """Record that a row was submitted."""
        with self._lock:
            self._jobs[row] = job
            if self._path is not None:
                with self._path.open("a", encoding="ascii") as file:
                    file.write(f"\n{row} {job}")
