"""Encryption at rest: nothing can be read, changed, cut, swapped or moved without the key."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepfake_service.platform.errors import DecryptionFailed
from deepfake_service.platform.storage.envelope import (
    CHUNK_BYTES,
    HEADER_BYTES,
    READ_AHEAD_CHUNKS,
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    MasterKeys,
    StreamSealer,
    UnsealedReader,
    new_key,
    seal,
    unseal,
)
from tests.support.carving import sealed_size

KEY, CONTEXT = new_key(), b"media/1"
SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7)


@dataclass
class Held:
    data: bytes
    reads: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, offset: int, length: int) -> bytes:
        assert offset >= 0
        assert offset + length <= self.size
        self.reads += 1
        return self.data[offset : offset + length]


def plaintext(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def sealed(data: bytes, key: bytes = KEY, context: bytes = CONTEXT, piece: int = 10_000) -> bytes:
    sealer = StreamSealer(key, context)
    parts = [p for i in range(0, len(data), piece) for p in sealer.update(data[i : i + piece])]
    return b"".join([*parts, *sealer.finish()])


def reader(data: bytes, key: bytes = KEY, context: bytes = CONTEXT) -> UnsealedReader:
    return UnsealedReader(Held(data), key, context)


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_comes_back_whatever_its_length(size: int) -> None:
    data = plaintext(size)
    whole = sealed(data)
    assert len(whole) == sealed_size(size)
    opened = reader(whole)
    assert opened.size == size
    assert io.BufferedReader(opened).read() == data
    assert size < 100 or data[:64] not in whole


@given(st.integers(1, 200_000), st.lists(st.integers(1, 70_000), max_size=12))
@settings(max_examples=25, deadline=None)
def test_however_it_arrives_and_wherever_it_is_read(size: int, cuts: list[int]) -> None:
    data = plaintext(size)
    opened = reader(sealed(data, piece=cuts[0] if cuts else 9_999))
    for cut in cuts:
        position = cut % size
        opened.seek(position)
        assert opened.tell() == position
        assert (
            opened.read(500)
            == data[position : position + 500][: CHUNK_BYTES - position % CHUNK_BYTES]
        )
    assert opened.seek(0, io.SEEK_END) == size
    assert opened.read(1) == b""


def test_the_same_bytes_are_never_sealed_alike() -> None:
    assert sealed(b"x") != sealed(b"x")
    assert seal(KEY, b"x", b"") != seal(KEY, b"x", b"")


@pytest.mark.parametrize("size", [0, 5, CHUNK_BYTES + 5])
def test_every_flipped_bit_is_noticed(size: int) -> None:
    whole = sealed(plaintext(size))
    places = {*range(HEADER_BYTES), *range(len(whole) - TAG_BYTES - 1, len(whole))}
    for place in places | {HEADER_BYTES, HEADER_BYTES + SEALED_CHUNK_BYTES - 1}:
        if place < len(whole):
            broken = bytearray(whole)
            broken[place] ^= 1
            with pytest.raises(DecryptionFailed):
                io.BufferedReader(reader(bytes(broken))).read()


def _swapped(whole: bytes) -> bytes:
    a, b = HEADER_BYTES, HEADER_BYTES + SEALED_CHUNK_BYTES
    return (
        whole[:a] + whole[b : b + SEALED_CHUNK_BYTES] + whole[a:b] + whole[b + SEALED_CHUNK_BYTES :]
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w[:-1],
        lambda w: w + b"\0",
        lambda w: w[: HEADER_BYTES + SEALED_CHUNK_BYTES],
        lambda w: w[:HEADER_BYTES],
        lambda w: w[:10],
        lambda w: b"",
        _swapped,
    ],
    ids=["cut", "extended", "cut at a chunk", "header alone", "half a header", "empty", "swapped"],
)  # fmt: skip
def test_cut_extended_or_swapped_chunks_are_noticed(change) -> None:  # type: ignore[no-untyped-def]
    whole = sealed(plaintext(2 * CHUNK_BYTES + 9))
    with pytest.raises(DecryptionFailed):
        io.BufferedReader(reader(change(whole))).read()


def test_a_cut_at_a_chunk_is_noticed_before_anything_is_read() -> None:
    whole = sealed(plaintext(3 * CHUNK_BYTES))
    with pytest.raises(DecryptionFailed):
        reader(whole[: HEADER_BYTES + 2 * SEALED_CHUNK_BYTES])


def test_another_key_or_another_place_does_not_open_it() -> None:
    whole = sealed(b"media")
    with pytest.raises(DecryptionFailed):
        reader(whole, key=new_key())
    with pytest.raises(DecryptionFailed):
        reader(whole, context=b"media/2")
    with pytest.raises(DecryptionFailed):
        unseal(KEY, seal(KEY, b"v", b"a"), b"b")
    with pytest.raises(DecryptionFailed):
        unseal(KEY, b"short", b"a")


def test_reading_through_asks_the_store_once_a_mebibyte() -> None:
    held = Held(sealed(bytes(40 * CHUNK_BYTES)))
    io.BufferedReader(UnsealedReader(held, KEY, CONTEXT)).read()
    # The header, the last chunk, and the body in pieces.
    assert held.reads <= 2 + -(-40 // READ_AHEAD_CHUNKS)


def test_wrapped_keys_survive_a_rotation_and_nothing_else() -> None:
    old, new, case = new_key(), new_key(), new_key()
    before = MasterKeys(old)
    wrapped = before.wrap(case, b"case/1")
    assert case not in wrapped
    assert before.is_current(wrapped)
    both = MasterKeys(new, (old,))
    assert both.unwrap(wrapped, b"case/1") == case
    assert not both.is_current(wrapped)
    again = both.wrap(case, b"case/1")
    assert MasterKeys(new).unwrap(again, b"case/1") == case
    for wrapper, content, context in (
        (MasterKeys(new), wrapped, b"case/1"),
        (both, wrapped, b"case/2"),
        (both, wrapped[:-1], b"case/1"),
        (both, b"", b"case/1"),
    ):
        with pytest.raises(DecryptionFailed):
            wrapper.unwrap(content, context)
    with pytest.raises(ValueError, match="32 bytes"):
        MasterKeys(b"short")
