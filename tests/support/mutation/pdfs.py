"""PDF: objects, streams, cross-reference tables and signatures (ISO 32000-1)."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable

from tests.support.mutation.noise import number, scramble

NUMBERS = re.compile(
    rb"/(Length|Size|Prev|Root|Index|W|N|First|Count|Predictor|Columns|Colors|BitsPerComponent)"
    rb"\s*\[?\s*(\d+)"
)
OBJECTS = re.compile(rb"\d+ \d+ obj\b.*?\bendobj", re.DOTALL)
REFERENCES = re.compile(rb"\b(\d+) (\d+) R\b")
START = re.compile(rb"startxref\s+(\d+)")
BYTE_RANGE = re.compile(rb"/ByteRange\s*\[([^\]]*)\]")
CONTENTS = re.compile(rb"/Contents\s*<([0-9a-fA-F]*)>")
ENTRIES = re.compile(rb"\d{10} \d{5} [nf]")
FILTER = re.compile(rb"/Filter\s*/(\w+)")
NESTINGS = (b"[" * 3000, b"<<" * 3000, b"<</A " * 3000, b"(" * 3000)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one change of its objects."""
    match rng.randrange(11):
        case 0 | 1:
            return _replaced(data, NUMBERS, 2, lambda old: b"%d" % number(rng, 32, int(old)), rng)
        case 2:
            return _replaced(data, REFERENCES, 1, lambda old: b"%d" % (rng.randrange(40)), rng)
        case 3:
            return _replaced(data, START, 1, lambda old: b"%d" % number(rng, 32, int(old)), rng)
        case 4:
            return _replaced(
                data, ENTRIES, 0, lambda _: b"%010d 00000 n" % rng.randrange(len(data) or 1), rng
            )
        case 5:
            bounds = b" ".join(b"%d" % number(rng, 32, len(data)) for _ in range(4))
            return _replaced(
                data, BYTE_RANGE, 1, lambda old: bounds[: len(old)].ljust(len(old)), rng
            )
        case 6:
            return _replaced(data, CONTENTS, 1, lambda old: _changed_signature(old, rng), rng)
        case 7:
            names = (b"FlateDecode", b"ASCIIHexDecode", b"LZWDecode", b"Crypt", b"DCTDecode", b"X")
            return _replaced(data, FILTER, 1, lambda _: rng.choice(names), rng)
        case 8:
            return _repeat_or_remove(data, rng)
        case 9:
            return _replaced(data, OBJECTS, 0, lambda old: _nested(old, rng), rng)
        case _:
            return _appended(data, rng)


def _replaced(
    data: bytes,
    pattern: re.Pattern[bytes],
    group: int,
    change: Callable[[bytes], bytes],
    rng: random.Random,
) -> bytes:
    """Return ``data`` with one match of ``pattern`` changed; scrambled if it has none."""
    matches = list(pattern.finditer(data))
    if not matches:
        return scramble(data, rng)
    match = rng.choice(matches)
    start, end = match.span(group)
    return data[:start] + change(match[group]) + data[end:]


def _changed_signature(digits: bytes, rng: random.Random) -> bytes:
    """Change the signature, a CMS structure (RFC 5652) in DER, and keep its length."""
    content = bytes.fromhex(digits.decode()[: len(digits) // 2 * 2])
    used = content.rstrip(b"\0")
    changed = scramble(used, rng)[: len(content)].ljust(len(content), b"\0")
    return changed.hex().encode()


def _repeat_or_remove(data: bytes, rng: random.Random) -> bytes:
    matches = list(OBJECTS.finditer(data))
    if not matches:
        return scramble(data, rng)
    start, end = rng.choice(matches).span()
    if rng.random() < 0.5:
        return data[:start] + data[end:]
    return data[:end] + b"\n" + data[start:end] * rng.choice((1, 30)) + data[end:]


def _nested(content: bytes, rng: random.Random) -> bytes:
    at = content.find(b"obj") + 3
    return content[:at] + b" " + rng.choice(NESTINGS) + content[at:]


def _appended(data: bytes, rng: random.Random) -> bytes:
    """Append an incremental update: a loop of tables, or a stream that unpacks to too much."""
    if rng.random() < 0.5:
        return data + b"\nxref\n0 0\ntrailer\n<</Prev %d/Size 9>>\nstartxref\n%d\n%%%%EOF" % (
            len(data) + 1, len(data) + 1,
        )  # fmt: skip
    packed = zlib.compress(bytes(64 << 20), 9)
    body = b"\n900 0 obj\n<</Type/XRef/W[1 4 2]/Size %d/Filter/FlateDecode/Length %d>>stream\n" % (
        number(rng, 31), len(packed),
    )  # fmt: skip
    end = b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF" % (len(data) + 1)
    return data + body + packed + end
