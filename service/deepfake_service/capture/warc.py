"""WARC files (ISO 28500:2017), read as a stream of hostile bytes, and records of our own written.

warcio, the library for it, can read without end on damaged input, and passes over records that
were cut short. This reader bounds what it unpacks, says at which byte a file is damaged, and keeps
nothing but one buffer. It runs in the sandbox.
"""

from __future__ import annotations

import hashlib
import re
import sys
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import BinaryIO

import brotli

from deepfake_models.errors import DeepfakeError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 64 * 1024
MAX_HEAD_BYTES = 64 * 1024
"""Of the fields of a record, and of an HTTP head: servers send a few hundred bytes."""
MAX_UNPACKED_BYTES = 16 << 30
"""Four times the largest upload: gzip packs text that small, and nothing else does."""
HEAD_END = re.compile(rb"\n\r?\n")
"""Of an HTTP head. Some servers end its lines without a carriage return."""
_VERSION = re.compile(rb"WARC/\d\.\d{1,2}\r?\n")
_LENGTH = re.compile(r"\d{1,15}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;.*)?\r?\n?")


class Damaged(DeepfakeError):
    """The file is damaged."""


class Refused(DeepfakeError):
    """The file cannot be imported."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


@dataclass
class Budget:
    """What a file may unpack to."""

    left: int = MAX_UNPACKED_BYTES

    def charge(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise Refused("too_large", f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record begins: the byte of the file, and the byte of what is unpacked from there."""

    offset: int
    skip: int


START = Place(0, 0)


def _plain(file: BinaryIO, offset: int, piece: bytes) -> Iterator[tuple[Place, bytes]]:
    """Yield ``piece``, which is at ``offset``, and what follows it, each with its place."""
    while piece:
        yield Place(offset, 0), piece
        offset += len(piece)
        piece = file.read(PIECE)


def _unpacked(file: BinaryIO, offset: int, packed: bytes) -> Iterator[tuple[Place, bytes]]:
    """Yield the content of gzip members (RFC 1952) likewise; ``packed`` is at ``offset``."""
    while packed:
        unpacker, begin, skip = zlib.decompressobj(31), offset, 0
        while not unpacker.eof:
            if not (packed := packed or file.read(PIECE)):
                raise Damaged(f"it ends within a gzip member, at byte {offset}")
            try:
                piece = unpacker.decompress(packed, PIECE)
            except zlib.error as error:
                raise Damaged(f"not intact gzip data near byte {offset}") from error
            rest = unpacker.unused_data or unpacker.unconsumed_tail
            offset, packed = offset + len(packed) - len(rest), rest
            yield Place(begin, skip), piece
            skip += len(piece)
        packed = packed or file.read(PIECE)


class _Stream:
    """The content of a file from ``place`` on, unpacked if it is packed."""

    def __init__(self, file: BinaryIO, budget: Budget, place: Place) -> None:
        first = file.read(PIECE)
        self._is_packed = first.startswith(b"\x1f\x8b")
        self._pieces = (_unpacked if self._is_packed else _plain)(file, place.offset, first)
        self._budget = budget
        self._place, self._ready = place, b""
        left = place.skip
        while left and (piece := self.read(left)):
            left -= len(piece)

    def _fill(self) -> bool:
        """Make bytes ready, all of one gzip member; return whether there are any."""
        while not self._ready:
            following = next(self._pieces, None)
            if following is None:
                return False
            self._place, self._ready = following
            self._budget.charge(len(self._ready))
        return True

    def place(self) -> Place:
        """Return where the next byte is."""
        self._fill()
        return self._place

    def read(self, size: int) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        self._fill()
        piece, self._ready = self._ready[:size], self._ready[size:]
        at, length = self._place, len(piece)
        self._place = (
            Place(at.offset, at.skip + length) if self._is_packed else Place(at.offset + length, 0)
        )
        return piece

    def line(self, limit: int) -> bytes:
        """Return a line with its end; what there is, at the end."""
        line = bytearray()
        while not line.endswith(b"\n") and self._fill():
            line += self.read(self._ready.find(b"\n") + 1 or len(self._ready))
            if len(line) > limit:
                at = self._place.offset
                raise Damaged(f"a line with more than {limit} bytes near byte {at}")
        return bytes(line)


@dataclass
class Record:
    """One record. Its block has to be read before the next record."""

    kind: str
    fields: dict[str, str]
    """By lower-case name. Of a field that comes twice, the first counts."""
    place: Place
    stream: _Stream
    left: int
    """Bytes of its block that were not read yet."""

    @property
    def uri(self) -> str:
        """Its target (ISO 28500, 5.12), which some tools put between angle brackets."""
        return self.fields.get("warc-target-uri", "").strip("<>")

    def block(self) -> Iterator[bytes]:
        """Yield the block in pieces; ``Damaged`` if the file ends before the block does."""
        while self.left > 0:
            piece = self.stream.read(min(self.left, PIECE))
            if not piece:
                raise Damaged(f"a record was cut short: {self.left} bytes of its block are missing")
            self.left -= len(piece)
            yield piece


def records(file: BinaryIO, budget: Budget, place: Place = START) -> Iterator[Record]:
    """Yield the records of a WARC file that is open at ``place.offset``; ``Refused``, or
    ``Damaged``, naming the byte. What was yielded before is intact."""
    stream = _Stream(file, budget, place)
    while True:
        begin = stream.place()
        line = stream.line(MAX_HEAD_BYTES)
        if not line:
            return
        if not line.strip():
            continue
        if not _VERSION.fullmatch(line):
            raise Damaged(f"no WARC record begins at byte {begin.offset}, where one should")
        fields, length = _fields(stream, begin)
        record = Record(fields.get("warc-type", ""), fields, begin, stream, length)
        yield record
        for _ in record.block():
            pass


def _fields(stream: _Stream, begin: Place) -> tuple[dict[str, str], int]:
    lines = bytearray()
    while line := stream.line(MAX_HEAD_BYTES):
        if not line.strip():
            break
        lines += line
        if len(lines) > MAX_HEAD_BYTES:
            raise Damaged(f"a record's head with more than {MAX_HEAD_BYTES} bytes")
    fields = head_fields(bytes(lines))
    length = fields.get("content-length", "")
    if not _LENGTH.fullmatch(length):
        raise Damaged(f"the record at byte {begin.offset} does not say how long it is")
    return fields, int(length)


def head_fields(lines: bytes) -> dict[str, str]:
    """Return the fields of a head by lower-case name; of one that comes twice, the first."""
    fields: dict[str, str] = {}
    # At line ends alone: other tools take U+0085 and the like for parts of a value.
    for line in re.split(r"\r?\n", lines.decode("utf-8", errors="replace")):
        name, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "\t")):
            fields.setdefault(name.strip().lower(), value.strip(" \t"))
    return fields


def split_head(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the HTTP head that begins ``pieces``, and what follows; no head if none has an end."""
    start = b""
    while (end := HEAD_END.search(start)) is None and len(start) <= MAX_HEAD_BYTES:
        if not (piece := next(pieces, b"")):
            break
        start += piece
    at = end.end() if end else 0
    return start[:at], chain(filter(None, [start[at:]]), pieces)


def decode_chunks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a body without its chunked transfer coding (RFC 9112, section 7.1).

    Some tools remove the coding and leave its header: a body that does not begin with the size of a
    chunk is yielded as it is. ``Damaged`` if the coding ends before the last chunk, or is not
    well-formed.
    """
    source, buffer, is_first = iter(pieces), b"", True
    while True:
        while b"\n" not in buffer[:MAX_HEAD_BYTES] and (piece := next(source, b"")):
            buffer += piece
            if len(buffer) > MAX_HEAD_BYTES:
                break
        line, newline, rest = buffer.partition(b"\n")
        size = _CHUNK_SIZE.fullmatch(line + newline)
        if size is None or not newline:
            if not is_first:
                raise Damaged("a body in chunks is not well-formed")
            yield buffer
            yield from source
            return
        is_first, buffer, left = False, rest, int(size[1], 16)
        if not left:
            return
        while left > 0:
            if not buffer and not (buffer := next(source, b"")):
                raise Damaged(f"a body in chunks was cut short: {left} bytes are missing")
            yield buffer[:left]
            left, buffer = left - len(buffer[:left]), buffer[left:]
        while len(buffer) < 2 and (piece := next(source, b"")):
            buffer += piece
        buffer = buffer.removeprefix(b"\r").removeprefix(b"\n")


def decoded(coding: str, pieces: Iterable[bytes], budget: Budget) -> Iterator[bytes]:
    """Yield a body without its content coding, one of ``CODINGS`` (RFC 9110, section 8.4.1);
    ``Damaged`` if it is not intact, ``Refused`` as ``Budget``."""
    try:
        for plain in CODINGS[coding](pieces):
            budget.charge(len(plain))
            yield plain
    except (zlib.error, brotli.error, zstd.ZstdError) as error:
        raise Damaged("a compressed body is not intact") from error


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(47)
    for piece in pieces:
        packed = piece
        while packed and not unpacker.eof:
            yield unpacker.decompress(packed, PIECE)
            packed = unpacker.unconsumed_tail


def _from_brotli(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack Brotli (RFC 7932)."""
    unpacker = brotli.Decompressor()
    for piece in pieces:
        packed = piece
        while not unpacker.is_finished() and (packed or not unpacker.can_accept_more_data()):
            yield unpacker.process(packed, output_buffer_limit=PIECE)
            packed = b""


def _from_zstandard(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Unpack Zstandard (RFC 8878), with the window that RFC 9659 allows: 8 MiB."""
    limits: dict[int, int] = {zstd.DecompressionParameter.window_log_max: 23}
    unpacker = zstd.ZstdDecompressor(options=limits)
    for piece in pieces:
        packed = piece
        while packed or not (unpacker.eof or unpacker.needs_input):
            if unpacker.eof:  # another frame follows
                unpacker = zstd.ZstdDecompressor(options=limits)
            yield unpacker.decompress(packed, PIECE)
            packed = unpacker.unused_data if unpacker.eof else b""


CODINGS: Mapping[str, Callable[[Iterable[bytes]], Iterator[bytes]]] = {
    "gzip": _inflated,
    "x-gzip": _inflated,
    "deflate": _inflated,
    "br": _from_brotli,
    "zstd": _from_zstandard,
}


Decoder = Callable[[Iterable[bytes]], Iterator[bytes]]
"""Removes one coding of a body."""


def decoders_of(head: dict[str, str], budget: Budget) -> list[Decoder]:
    """Return what removes the codings that an HTTP head states."""
    decoders: list[Decoder] = []
    if "chunked" in head.get("transfer-encoding", "").lower():
        decoders.append(decode_chunks)
    if (coding := head.get("content-encoding", "").lower()) in CODINGS:
        decoders.append(partial(decoded, coding, budget=budget))
    return decoders


def head_of(kind: str, fields: Mapping[str, str], length: int) -> bytes:
    """Return the head of a record of WARC 1.1 whose block has ``length`` bytes."""
    lines = {
        "WARC-Type": kind,
        "WARC-Record-ID": f"<urn:uuid:{uuid.uuid4()}>",
        **fields,
        "Content-Length": str(length),
    }
    head = "".join(f"{name}: {' '.join(text.split())}\r\n" for name, text in lines.items())
    return b"WARC/1.1\r\n" + head.encode() + b"\r\n"


def record(kind: str, fields: Mapping[str, str], block: bytes) -> Iterator[bytes]:
    """Yield a record in pieces, with the digest of its block."""
    digest = f"sha256:{hashlib.sha256(block).hexdigest()}"
    yield head_of(kind, {**fields, "WARC-Block-Digest": digest}, len(block))
    yield block
    yield b"\r\n\r\n"


def written(kind: str, fields: Mapping[str, str], block: bytes) -> bytes:
    """Return a record as a gzip member without a time."""
    return zlib.compress(b"".join(record(kind, fields, block)), 6, wbits=31)
