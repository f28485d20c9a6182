"""Multipart requests: a line with the Content-Type, and behind it the body (RFC 7578)."""

from __future__ import annotations

import random
import re

from tests.support.mutation.noise import scramble

TOKENS = (
    b"\r\n", b"\n", b"--", b"--b", b"--b--", b"--b--\r\n", b"\r\n--b\r\n", b":", b";", b'"', b"\0",
    b'name="files"', b'name=""', b'name*=utf-8\'\'%ff', b'filename="', b"filename*=utf-8''%00%ff",
    b'filename="..\\..\\x"', b"Content-Disposition: form-data; ", b"Content-Type: text/plain\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"boundary=", b"\xff\xfe", "\u202e\ud55c".encode(),
    b"9" * 5000, b"1e999", b"2026-01-31T12:00:00+99:99", b"http://[::1", b"http://x\t",
    b"0001-01-01",
)  # fmt: skip
NAMES = (
    b"files", b"file", b"case_reference", b"source_url", b"platform", b"account", b"captured_at",
    b"note", b"frames", b"priority", b"retention", b"callback_url", b"csrf", b"x" * 300,
)  # fmt: skip
BODY = (
    b"multipart/form-data; boundary=b\n"
    b'--b\r\nContent-Disposition: form-data; name="case_reference"\r\n\r\nR-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="captured_at"\r\n\r\n2026-01-31T12:00:00Z\r\n'
    b'--b\r\nContent-Disposition: form-data; name="source_url"\r\n\r\nhttps://example.org/1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n'
    b"Content-Type: image/jpeg\r\n\r\nfirst\r\n--b--\r\n"
)
"""A request to begin with."""


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one change of its syntax, its names or its order."""
    at = rng.randrange(len(data) + 1)
    parts = data.split(b"\r\n--b")
    match rng.randrange(6):
        case 0 | 1:
            return data[:at] + rng.choice(TOKENS) + data[at + rng.choice((0, 0, 1, 8)) :]
        case 2:
            return re.sub(rb'name="\w+"', b'name="%s"' % rng.choice(NAMES), data, count=1)
        case 3:
            part = rng.choice(parts)
            return b"\r\n--b".join([*parts[:-1], *[part] * rng.choice((1, 2, 80)), parts[-1]])
        case 4:
            rng.shuffle(parts)
            return b"\r\n--b".join(parts)
        case _:
            return scramble(data, rng)
