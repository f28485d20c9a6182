"""The ZIP of an evidence bundle: hostile ones are refused, and it is written and read in parts."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zipfile
from typing import Any

import pytest

from deepfake_service.evidence.bundle import zip_format as bag
from deepfake_service.evidence.bundle.builder import VERDICT
from deepfake_service.evidence.bundle.documents import Failed
from deepfake_service.evidence.bundle.steps import ExitCode
from deepfake_service.evidence.bundle.verification import verify
from tests.support import exhibits
from tests.support.exhibits import OURS, failed_at


def test_a_byte_changed_anywhere_in_the_file_is_caught() -> None:
    draw = random.Random(2)
    content = exhibits.bundle()
    for _ in range(150):
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        assert verify(bytes(changed), OURS).exit_code is ExitCode.FAILED


@pytest.mark.parametrize("where", ["before", "after", "comment", "between"])
def test_bytes_outside_the_entries_are_caught(where: str) -> None:
    content = exhibits.bundle()
    if where == "before":
        changed = b"MZ" + content
    elif where == "after":
        changed = content + b"\0"
    elif where == "comment":
        file = io.BytesIO(content)
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = b"see the real verdict elsewhere"
        changed = file.getvalue()
    else:
        start = struct.unpack("<I", content[-6:-2])[0]
        moved = struct.pack("<I", start + 4)
        changed = content[:start] + b"evil" + content[start:-6] + moved + content[-2:]
        with zipfile.ZipFile(io.BytesIO(changed)) as archive:
            assert archive.testzip() is None  # other tools take it
    assert failed_at(changed) == 1


def raw_zip(*entries: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", compression) as archive:
        warnings.simplefilter("ignore")  # of names given twice, which is what is wanted
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        raw_zip(("../../etc/passwd", b"x")),
        raw_zip(("/etc/passwd", b"x")),
        raw_zip(("data/..\\x", b"x")),
        raw_zip(("data/verdict.json", b"{}"), ("data/verdict.json", b"{}")),
        raw_zip(("data/verdict.json", b"\0" * 50_000_000), compression=zipfile.ZIP_DEFLATED),
        raw_zip(*((f"data/{n}", b"") for n in range(bag.MAX_FILES + 1))),
        b"",
        b"PK\x05\x06" + b"\0" * 18,
        b"PK\x03\x04" * 1000,
    ],
    ids=["zip-slip", "absolute", "backslash", "duplicate-name", "bomb", "too-many", "empty",
         "no-entries", "junk"],
)  # fmt: skip
def test_hostile_zips_are_refused(content: bytes) -> None:
    assert failed_at(content) <= 2


@pytest.mark.parametrize("is_zip64", [False, True])
def test_a_directory_of_too_many_entries_is_refused_before_it_is_read(
    is_zip64: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 16) + b""
    count = 0x10000 if is_zip64 else 0xFFFF
    directory = entry * count
    if is_zip64:
        end64 = struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), 0
        )
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
        end = (
            end64
            + locator
            + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        )
    else:
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), 0, 0)
    content = directory + end
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert len(archive.infolist()) == count

    def reads_the_directory(*_: Any) -> None:
        pytest.fail("the directory was read")

    monkeypatch.setattr(zipfile, "ZipFile", reads_the_directory)
    with pytest.raises(Failed):
        bag.unzipped(content)


def test_entries_that_share_their_bytes_are_refused_before_they_are_read() -> None:
    """A bomb without compression: many entries of the directory share the same bytes."""
    big = raw_zip(("a", b"x" * 100_000))
    start = struct.unpack("<I", big[-6:-2])[0]
    directory = b"".join(big[start:-22].replace(b"a", bytes([97 + n]), 1) for n in range(20))
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 20, 20, len(directory), start, 0)
    content = big[:start] + directory + end
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert sum(i.file_size for i in archive.infolist()) == 2_000_000
    found = verify(content, OURS)
    assert found.steps[0].detail == "entries overlap"


@pytest.mark.parametrize("limit", [zipfile.ZIP64_LIMIT, 1000])
def test_a_zip_in_pieces_is_the_zip_as_a_whole(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not it is so large that it needs ZIP64."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    files = {f"data/{n}.bin": bytes([n]) * 400 * n for n in range(5)}
    pieces = list(bag.zip_pieces(files.items()))
    assert len(pieces) == len(files) + 1
    assert b"".join(pieces) == bag.zipped(files)
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_one_file_of_a_bundle_is_read_alone() -> None:
    content = bag.zipped(made := {"data/a.json": b"a", VERDICT: b"{}"})
    assert all(bag.member(content, name) == made[name] for name in made)
    with pytest.raises(KeyError):
        bag.member(content, "data/other.json")
    with pytest.raises(Failed):
        bag.member(b"no ZIP", VERDICT)
