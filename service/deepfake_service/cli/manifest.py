"""The rows of ``deepfake submit DIR``: the files of a folder, or those that a manifest lists."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from deepfake_models.errors import DeepfakeError
from deepfake_service.cli.score import clean, walk
from deepfake_service.http.submission_form import PictureForm

FILE = "file"
COLUMNS = (FILE, *PictureForm.model_fields)
DELIMITERS = (",", ";", "\t")
ENCODINGS = {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp949": "CP949"}
"""Encodings of tables by Python's names: Excel saves "CSV UTF-8" with a byte order mark, "Unicode
Text" as UTF-16, and its plain CSV in Korea as CP949."""
SHOWN_PROBLEMS = 20
DIGEST_CHUNK = 1 << 20
_TORN = re.compile(r"[0-9a-f]{0,64}|[0-9a-f]{64} [0-9a-z]{0,26}")
"""How a line of ``SubmittedRows`` begins."""


class InvalidManifest(DeepfakeError):
    """The manifest or the folder cannot be submitted as it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A file to submit, and the text fields that accompany it."""

    path: Path
    name: str
    """The path below the folder, as the manifest has it."""
    fields: dict[str, str]

    def identity(self) -> bytes:
        """Return a digest of the file's name and the fields."""
        known = json.dumps([self.name, self.fields], sort_keys=True)
        return hashlib.sha256(known.encode()).digest()

    def digest(self, service: str) -> str:
        """Return the SHA-256 of the content of the file, the fields and the service's address.

        Raises:
            OSError: the file cannot be read.
        """
        with self.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        known = json.dumps([service, content, self.fields], sort_keys=True)
        return hashlib.sha256(known.encode()).hexdigest()


class Rows:
    """Rows to submit, made one by one each time they are iterated: there may be many."""

    def __init__(
        self, count: int, make: Callable[[], Iterator[Row]], encoding: str | None = None
    ) -> None:
        self._count = count
        self._make = make
        self.encoding = encoding
        """That of the manifest, a value of ``ENCODINGS``."""

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        return self._make()


def rows_of_folder(folder: Path, fields: dict[str, str]) -> Rows:
    """Return a row for each file below ``folder``, without hidden ones.

    Raises:
        InvalidManifest: there are no files, or a field is not valid.
    """
    if problems := list(_field_problems(fields)):
        raise InvalidManifest("\n".join(f"--{n.replace('_', '-')}: {p}" for n, p in problems))
    paths = list(walk([folder]))
    if not paths:
        raise InvalidManifest(f"{clean(str(folder))} contains no files.")
    return Rows(
        len(paths), lambda: (Row(path, str(path.relative_to(folder)), fields) for path in paths)
    )


def read_manifest(manifest: Path, folder: Path, fields: dict[str, str]) -> Rows:
    """Read a manifest, a table as CSV whose first line names its columns, and check every row.

    Args:
        manifest: in one of ``ENCODINGS``, separated by commas, semicolons or tabs.
        folder: what the column ``file`` is relative to.
        fields: values for rows whose own cell is empty.

    Raises:
        InvalidManifest: what is wrong, by line and column. Nothing is left out silently.
        OSError: the manifest cannot be read.
    """
    text, encoding = _decoded(manifest)
    table = _Table(text)
    problems: list[str] = []
    line_of: dict[bytes, int] = {}
    count = 0
    try:
        for line, cells in table.lines():
            found = list(_cell_problems(cells, table.columns, folder))
            problems += [f"line {line}, column {column}: {what}" for column, what in found]
            if found:
                continue
            count += 1
            first = line_of.setdefault(table.row(cells, folder, fields).identity(), line)
            if first != line:
                problems.append(f"line {line}: repeats line {first}; delete one of them")
    except csv.Error as error:
        problems.append(f"line {table.line}: {error}")
    if not count and not problems:
        problems.append("the table has no rows below its header")
    if problems:
        raise InvalidManifest(_listed(manifest, problems))
    return Rows(
        count, lambda: (table.row(cells, folder, fields) for _, cells in table.lines()), encoding
    )


def _decoded(manifest: Path) -> tuple[str, str]:
    """Return the text of a manifest and its encoding.

    Raises:
        InvalidManifest: it is in none of ``ENCODINGS``.
        OSError: it cannot be read.
    """
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


class _Table:
    """A table as CSV, of which each pass yields the lines below the header that are not empty.

    Raises:
        InvalidManifest: the header is not valid.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        self.line = 1
        """The line that was read last, counted from 1."""
        self.columns: list[str] = []
        try:
            self.columns = _columns(next(self._reader(), []))
        except csv.Error as error:
            raise InvalidManifest(f"Manifest, line 1: {error}") from None

    def _reader(self) -> Iterator[list[str]]:
        reader = csv.reader(
            io.StringIO(self._text, newline=""), delimiter=self._delimiter, strict=True
        )
        try:
            for cells in reader:
                self.line = reader.line_num
                yield cells
        except csv.Error:
            self.line = reader.line_num
            raise

    def lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of each line that is not empty, and its cells."""
        reader = self._reader()
        next(reader, None)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield self.line, cells

    def row(self, cells: Sequence[str], folder: Path, fields: dict[str, str]) -> Row:
        """Return the row of a line without problems."""
        given = {c: v.strip() for c, v in zip(self.columns, cells, strict=False) if v.strip()}
        name = given.pop(FILE)
        return Row(folder / name, name, {**fields, **given})


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


def _cell_problems(
    cells: Sequence[str], columns: Sequence[str], folder: Path
) -> Iterator[tuple[str, str]]:
    if len(cells) > len(columns):
        what = f"the line has {len(cells)} cells and the table {len(columns)} columns"
        yield str(len(columns) + 1), what + "; put cells that contain a separator in quotes"
        return
    given = {c: v.strip() for c, v in zip(columns, cells, strict=False) if v.strip()}
    name = given.pop(FILE, "")
    if not name:
        yield FILE, "is empty"
    else:
        yield from ((FILE, what) for what in _path_problems(name, folder))
    yield from _field_problems(given)


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
    neither names nor URLs.

    Raises:
        InvalidManifest: the file has a line that this class did not write.
        OSError: the file cannot be read, or its end not be repaired after a crash.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._jobs: dict[str, str] = {}
        self._lock = threading.Lock()
        content = path.read_bytes() if path is not None and path.exists() else b""
        lines = content.decode("ascii", "replace").splitlines(keepends=True)
        torn = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        for number, line in enumerate(lines, 1):
            if not self._read(line.rstrip()):
                raise self._foreign(number)
        if torn and path is not None:
            self._mend(path, torn, len(content))

    def _read(self, line: str) -> bool:
        """Take over what a line records, and return whether it is whole."""
        row, _, job = line.partition(" ")
        whole = bool(re.fullmatch(r"[0-9a-f]{64}", row) and re.fullmatch(r"[0-9a-z]{26}", job))
        if whole:
            self._jobs[row] = job
        return whole

    def _mend(self, path: Path, torn: str, size: int) -> None:
        """Complete or remove a last line that a crash cut short, or the next one would join it.

        The row of a line that is removed is submitted again.
        """
        if self._read(torn):
            with path.open("ab") as file:
                file.write(b"\n")
            return
        if not self._jobs and not _TORN.fullmatch(torn):
            raise self._foreign(1)
        with path.open("r+b") as file:
            file.truncate(size - len(torn))

    def _foreign(self, number: int) -> InvalidManifest:
        return InvalidManifest(
            f"{clean(str(self._path))}, line {number}: not written by deepfake submit. Delete "
            "the file to submit all rows again."
        )

    def job_of(self, row: str) -> str | None:
        """Return the id of the job of a row with this digest, if it was submitted."""
        return self._jobs.get(row)

    def add(self, row: str, job: str) -> None:
        """Record that a row was submitted."""
        with self._lock:
            self._jobs[row] = job
            if self._path is not None:
                with self._path.open("a") as file:
                    file.write(f"{row} {job}\n")
