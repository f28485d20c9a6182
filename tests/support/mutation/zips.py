"""ZIP: local headers, central directory and end records (APPNOTE.TXT 4.3)."""

from __future__ import annotations

import random
from functools import partial
from itertools import accumulate

from tests.support.mutation.noise import scramble, with_number

LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
LOCAL_FIELDS = (2, 2, 2, 2, 2, 4, 4, 4, 2, 2)
"""Sizes of the fields behind the signature: version, flags, method, time, date, checksum, sizes,
lengths of name and extra field."""
CENTRAL_FIELDS = (2, 2, 2, 2, 2, 2, 4, 4, 4, 2, 2, 2, 2, 2, 4, 4)
END_FIELDS = (2, 2, 2, 2, 4, 4, 2)
NAMES = (
    b"../../etc/passwd", b"/etc/passwd", b"data/../verdict.json", b"data//x", b"", b"a" * 300,
    b"data/verdict.json", b"bagit.txt", b"\xff\xfe", b"DATA/X", b"con", b"data/x\0y", b"..\\x",
)  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one change of its records."""
    change = rng.choice(
        (
            partial(_change_field, LOCAL, LOCAL_FIELDS),
            partial(_change_field, CENTRAL, CENTRAL_FIELDS),
            partial(_change_field, END, END_FIELDS), _rename, _repeat_record, _append_zip64, _hide,
            _change_content,
        )
    )  # fmt: skip
    return change(data, rng)


def _found(data: bytes, signature: bytes, rng: random.Random) -> int:
    """Return where a record with this signature begins; -1 if there is none."""
    places, at = [], data.find(signature)
    while at >= 0:
        places.append(at)
        at = data.find(signature, at + 4)
    return rng.choice(places) if places else -1


def _change_field(
    signature: bytes, sizes: tuple[int, ...], data: bytes, rng: random.Random
) -> bytes:
    at = _found(data, signature, rng)
    if at < 0:
        return scramble(data, rng)
    offset, size = rng.choice(list(zip(accumulate(sizes, initial=4), sizes, strict=False)))
    return with_number(data, at + offset, size, rng, "little")


def _rename(data: bytes, rng: random.Random) -> bytes:
    """Write another name over one in the directory, of the same length so that nothing moves."""
    at = _found(data, rng.choice((LOCAL, CENTRAL)), rng)
    if at < 0:
        return scramble(data, rng)
    field = 26 if data[at : at + 4] == LOCAL else 28
    start = at + (30 if field == 26 else 46)
    length = int.from_bytes(data[at + field : at + field + 2], "little")
    name = rng.choice(NAMES)[:length].ljust(length, b"x")
    return data[:start] + name + data[start + length :]


def _repeat_record(data: bytes, rng: random.Random) -> bytes:
    at = _found(data, rng.choice((LOCAL, CENTRAL, END)), rng)
    end = data.find(b"PK", at + 4)
    record = data[at : end if end > 0 else len(data)]
    place = _found(data, rng.choice((LOCAL, CENTRAL, END)), rng)
    return data[:place] + record + data[place:]


def _append_zip64(data: bytes, rng: random.Random) -> bytes:
    """Insert ZIP64 end records (4.3.14, 4.3.15) with hostile numbers."""
    at = max(data.rfind(END), 0)
    record = b"PK\6\6" + (44).to_bytes(8, "little") + bytes(44)
    locator = b"PK\6\7" + bytes(4) + at.to_bytes(8, "little") + (1).to_bytes(4, "little")
    record = with_number(record, rng.choice((24, 32, 40, 48)), 8, rng, "little")
    if rng.random() < 0.5:
        locator = with_number(locator, rng.choice((4, 8, 16)), 4, rng, "little")
    return data[:at] + record + locator + data[at:]


def _hide(data: bytes, rng: random.Random) -> bytes:
    """Put bytes before, between or behind the records."""
    at = rng.choice((0, len(data), _found(data, CENTRAL, rng), _found(data, LOCAL, rng)))
    return data[: max(at, 0)] + rng.randbytes(rng.choice((1, 22, 500))) + data[max(at, 0) :]


def _change_content(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(max(len(data), 1))
    return data[:at] + rng.randbytes(1) + data[at + 1 :]
