from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepfake_service.http.multipart import (
    MAX_NAME_CHARS,
    Part,
    base_name,
    boundary_of,
    read_parts,
)
from deepfake_service.platform.errors import MalformedRequest, ServiceError, UnsupportedContentType

BODY = (
    b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\nfirst\r\n-- b of it\r\n"
    b'--b\r\ncontent-disposition: form-data; name="files"; filename=""\r\n\r\n\r\n'
    b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nthird\r\n'
    b"--b--\r\n"
)
PARTS = [
    (Part("files", "a.jpg"), b"first\r\n-- b of it"),
    (Part("files", ""), b""),
    (Part("note", None), b"third"),
]


def parsed(body: bytes, *cuts: int) -> list[tuple[Part, bytes]]:
    async def pieces() -> AsyncIterator[bytes]:
        for start, end in pairwise([0, *sorted(cuts), len(body)]):
            yield body[start:end]

    async def read() -> list[tuple[Part, bytes]]:
        found: list[tuple[Part, bytes]] = []
        async for piece in read_parts(b"b", pieces()):
            if isinstance(piece, Part):
                found.append((piece, b""))
            else:
                found[-1] = (found[-1][0], found[-1][1] + piece)
        return found

    return asyncio.run(read())


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=12))
def test_where_the_network_cuts_makes_no_difference(cuts: list[int]) -> None:
    assert parsed(BODY, *cuts) == PARTS


@given(end=st.integers(0, len(BODY) - len(b"--\r\n") - 1))
def test_a_body_that_is_cut_short_is_refused(end: int) -> None:
    with pytest.raises(MalformedRequest):
        parsed(BODY[:end])


@given(body=st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parsed(body)


@given(at=st.integers(0, len(BODY) - 1), value=st.integers(0, 255))
def test_a_changed_byte_never_escapes_as_a_foreign_error(at: int, value: int) -> None:
    changed = BODY[:at] + bytes([value]) + BODY[at + 1 :]
    with contextlib.suppress(MalformedRequest):
        parsed(changed)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Type: image/jpeg",
        b"Content-Disposition: form-data",
        b'Content-Disposition: attachment; name="files"',
        b"Content-Disposition: form-data; name*=utf-8''files",
        b"X: " + b"y" * 5000,
        b"\r\n".join(b"X-%d: y" % i for i in range(20)),
    ],
)
def test_parts_without_a_proper_head_are_refused(head: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parsed(b"--b\r\n" + head + b"\r\n\r\nx\r\n--b--\r\n")


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        (None, UnsupportedContentType),
        ("", UnsupportedContentType),
        ("image/jpeg", UnsupportedContentType),
        ("multipart/mixed; boundary=b", UnsupportedContentType),
        ("application/x-www-form-urlencoded", UnsupportedContentType),
        ("multipart/form-data", MalformedRequest),
        ("multipart/form-data; boundary=", MalformedRequest),
    ],
)
def test_content_types_that_cannot_be_read(
    content_type: str | None, error: type[ServiceError]
) -> None:
    with pytest.raises(error):
        boundary_of(content_type)


def test_the_boundary_may_be_quoted() -> None:
    assert boundary_of('Multipart/Form-Data; charset=utf-8; boundary="a b"') == b"a b"


def test_a_boundary_too_long_is_refused() -> None:
    with pytest.raises(MalformedRequest, match="1 to 70 characters"):
        boundary_of(f"multipart/form-data; boundary={'b' * 71}")


@pytest.mark.parametrize("cuts", [(), (9,), (1, 2, 30)])
def test_the_byte_that_is_not_multipart_is_named(cuts: tuple[int, ...]) -> None:
    head, at = BODY.index(b"filename"), BODY.index(b"content-disposition")
    with pytest.raises(MalformedRequest, match=f"byte {at}, from 0"):
        parsed(BODY[:at] + b"(" + BODY[at + 1 :], *cuts, head)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("사진.jpg", "사진.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\x\\a.jpg", "a.jpg"),
        ("a/b\\c.png", "c.png"),
        ("/", ""),
        ("a\x00b\r\nc\x1b[31m.jpg", "abc[31m.jpg"),
        ("photo\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "photogpj.exe"),
        ("\N{LEFT-TO-RIGHT ISOLATE}\N{ARABIC LETTER MARK}\N{ZERO WIDTH SPACE}a.jpg", "a.jpg"),
        ("x" * 5000, "x" * MAX_NAME_CHARS),
    ],
)
def test_file_names_are_made_fit_to_be_shown(raw: str, name: str) -> None:
    assert base_name(raw) == name


@given(raw=st.text(max_size=400))
def test_any_file_name_becomes_printable_text(raw: str) -> None:
    name = base_name(raw)
    assert name.isprintable()
    assert not {"/", "\\"} & set(name)
    assert len(name) <= MAX_NAME_CHARS


@pytest.mark.parametrize(
    ("head", "problem"),
    [
        ('name="가"', "The name of a field is not UTF-8"),
        ('name="file"; filename="가.mp4"', 'The file name in the field "file" is not UTF-8'),
    ],
)
def test_names_that_are_not_utf8_are_refused(head: str, problem: str) -> None:
    part = f"Content-Disposition: form-data; {head}".encode("cp949")
    with pytest.raises(MalformedRequest, match=problem):
        parsed(b"--b\r\n" + part + b"\r\n\r\nx\r\n--b--\r\n")
