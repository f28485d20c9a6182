"""Manifests of ``deepfake submit``: what they may contain, and how errors are reported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepfake_service.cli.manifest import (
    InvalidManifest,
    Row,
    SubmittedRows,
    read_manifest,
    rows_of_folder,
)
from deepfake_service.cli.submit_many import SubmissionOutcome


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    media = tmp_path / "media"
    (media / "sub").mkdir(parents=True)
    for name in ("a.mp4", "sub/b.mp4", ".hidden"):
        (media / name).write_bytes(name.encode())
    return media


def problem_of(folder: Path, content: str | bytes) -> str:
    """Return the message with which a manifest is refused."""
    manifest = folder.parent / "files.csv"
    manifest.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InvalidManifest) as refused:
        read_manifest(manifest, folder, {})
    return refused.value.message


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_empty_cells_take_the_values_of_the_options(folder: Path, separator: str) -> None:
    lines = ["\ufefffile,case_reference,note", "a.mp4,C-1,", "", '"sub/b.mp4",,"two\nlines"']
    manifest = folder.parent / "files.csv"
    text = "\r\n".join(lines).replace("two\nlines", "seen twice").replace(",", separator)
    manifest.write_text(text, newline="")
    given = {"case_reference": "C-0", "platform": "P"}
    (first, second), _ = read_manifest(manifest, folder, given)
    assert (first.path, first.name) == (folder / "a.mp4", "a.mp4")
    assert first.fields == {"case_reference": "C-1", "platform": "P"}
    assert second.fields == {"case_reference": "C-0", "platform": "P", "note": "seen twice"}


def test_every_error_of_a_manifest_names_its_line_and_column(folder: Path) -> None:
    message = problem_of(
        folder,
        "file,source_url,captured_at,note\n"
        "missing.mp4,ftp://x,2026-01-31 12:00,\n"
        "../files.csv,,,\n"
        "sub,,,\n"
        ",https://example.org,,\n"
        f"a.mp4,,,{'n' * 2001}\n"
        "a.mp4,1,2,3,4\n"
        "a.mp4\n"
        "a.mp4\n",
    )
    for expected in (
        "line 2, column file: missing.mp4 does not exist",
        "line 2, column source_url: send a URL",
        "line 2, column captured_at: add a time zone",
        "line 3, column file: ../files.csv is outside the folder",
        "line 4, column file: sub is a folder",
        "line 5, column file: is empty",
        "line 6, column note: String should have at most 2000 characters",
        "line 7, column 5: the line has 5 cells",
        "line 9: repeats line 8",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", '"file" is missing'),
        ("file\n", "no rows below its header"),
        ("file,color\na.mp4,red\n", 'column 2, "color", is not known'),
        ("file,note,note\n", '"note" appears twice'),
        ("note\nx\n", '"file" is missing'),
        ('file\n"a.mp4\n', "line 2: unexpected end of data"),
        (b"file\n\xff\xff.mp4\n", "byte 5 is not CP949, nor is the file UTF-8"),
        ("file\n한글.mp4".encode("utf-16")[:-1], "byte 22 is not UTF-16. Save"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused(
    folder: Path, content: str | bytes, expected: str
) -> None:
    assert expected in problem_of(folder, content)


@pytest.mark.parametrize(
    ("codec", "encoding"),
    [("utf-8", "UTF-8"), ("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("cp949", "CP949")],
)
def test_tables_are_read_as_excel_saves_them(folder: Path, codec: str, encoding: str) -> None:
    (folder / "한글.mp4").write_bytes(b"x")
    manifest = folder.parent / "files.csv"
    manifest.write_bytes("file\tnote\r\n한글.mp4\t똠방각하\r\n".encode(codec))
    rows, read_as = read_manifest(manifest, folder, {})
    assert read_as == encoding
    assert [(row.name, row.fields) for row in rows] == [("한글.mp4", {"note": "똠방각하"})]


def test_a_folder_gives_a_row_for_each_file_that_is_not_hidden(folder: Path) -> None:
    rows = rows_of_folder(folder, {"platform": "P"})
    assert len(rows) == 2
    assert [row.name for row in rows] == ["a.mp4", "sub/b.mp4"]
    with pytest.raises(InvalidManifest, match="--source-url: send a URL"):
        rows_of_folder(folder, {"source_url": "x"})


def test_symbolic_links_below_a_folder_are_skipped_and_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever made the folder could have had the files of this machine submitted."""
    secret = tmp_path / "keys.json"
    secret.write_text("secret")
    (folder / "c.mp4").symlink_to(secret)
    (folder / "sub" / "more").symlink_to(tmp_path)
    assert [row.name for row in rows_of_folder(folder, {})] == ["a.mp4", "sub/b.mp4"]
    assert capsys.readouterr().err.splitlines() == [
        f"{folder / 'c.mp4'} is a symbolic link and is skipped",
        f"{folder / 'sub' / 'more'} is a symbolic link and is skipped",
    ]


def test_a_file_that_became_a_pipe_is_refused_at_once(folder: Path) -> None:
    (row, _) = rows_of_folder(folder, {})
    row.path.unlink()
    os.mkfifo(row.path)
    with pytest.raises(OSError, match="not a regular file"):
        row.digest("http://a")


def test_recorded_rows_are_known_until_their_file_or_a_field_changes(folder: Path) -> None:
    path = folder.parent / "files.csv.submitted"
    row = rows_of_folder(folder, {})[0]
    before, job = row.digest("http://a"), "01k8c1pnwkxb1rv6h6j80vnvd1"
    SubmittedRows(path).add(before, job)
    path.write_text(path.read_text() + "\ncut sh")
    assert SubmittedRows(path).job_of(before) == job
    assert SubmittedRows(path).job_of(row.digest("http://b")) is None
    assert rows_of_folder(folder, {"note": "n"})[0].digest("http://a") != before
    row.path.write_bytes(b"changed")
    assert row.digest("http://a") != before


@pytest.mark.parametrize("cut", [0, 1, 20, 27, 28, 60, 91])
def test_progress_is_resumed_again_after_a_line_was_cut_short(tmp_path: Path, cut: int) -> None:
    path, job = tmp_path / "files.csv.submitted", "01k8c1pnwkxb1rv6h6j80vnvd1"
    for row in ("a" * 64, "b" * 64):
        SubmittedRows(path).add(row, job)
    path.write_bytes(path.read_bytes()[: 184 - cut])
    resumed = SubmittedRows(path)
    assert resumed.job_of("b" * 64) == (None if cut else job)
    resumed.add("c" * 64, job)
    again = SubmittedRows(path)
    assert (again.job_of("a" * 64), again.job_of("c" * 64)) == (job, job)
    assert again.job_of("b" * 64) == (None if cut else job)


def test_a_file_that_is_no_progress_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "files.csv.submitted"
    path.write_text("the only copy of a note")
    with pytest.raises(InvalidManifest, match="has no rows that deepfake submit recorded"):
        SubmittedRows(path)
    assert path.read_text() == "the only copy of a note"


def test_a_line_about_a_rejected_file_is_safe_for_a_terminal(folder: Path) -> None:
    row = Row(folder, "한글/end.mp4\x1b", {"case_reference": "C-1"})
    line = SubmissionOutcome(row, None, "too large\n").to_line()
    assert line == f"{'rejected':<31}  한글/end.mp4\ufffd  C-1: too large\ufffd"
