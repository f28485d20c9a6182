"""PNG: chunks with their checksums (ISO/IEC 15948)."""

from __future__ import annotations

import random
import zlib
from dataclasses import dataclass
from functools import cache

from tests.support.mutation.noise import number, scramble, with_number

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BOMB_BYTES = 96 << 20
"""What a compressed chunk unpacks to. It has a thousandth of that size itself."""


@dataclass(slots=True)
class Chunk:
    """A chunk; its length and checksum are right unless they are made false."""

    name: bytes
    payload: bytes
    false_length: int | None = None
    false_checksum: bool = False

    def written(self) -> bytes:
        """Return the bytes of the chunk."""
        length = len(self.payload) if self.false_length is None else self.false_length
        checksum = zlib.crc32(self.name + self.payload) ^ self.false_checksum
        return b"".join(
            (length.to_bytes(4, "big"), self.name, self.payload, checksum.to_bytes(4, "big"))
        )


def parse(data: bytes) -> list[Chunk]:
    """Return the chunks of ``data``, up to the first that is cut short."""
    chunks, at = [], len(SIGNATURE)
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append(Chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


@cache
def bomb() -> bytes:
    """Return a zlib stream (RFC 1950) of ``BOMB_BYTES`` zeros."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(BOMB_BYTES >> 20)) + packer.flush()


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one change of its chunks."""
    chunks = parse(data)
    if not chunks:
        return scramble(data, rng)
    index = rng.randrange(len(chunks))
    chosen = chunks[index]
    match rng.randrange(11):
        case 0:
            chunks[index:index] = [chosen] * rng.choice((1, 2, 50))
        case 1:
            del chunks[index]
        case 2:
            chunks.insert(rng.randrange(len(chunks)), chunks.pop(index))
        case 3:
            chosen.false_length = number(rng, 32, len(chosen.payload))
        case 4:
            chosen.false_checksum = True
        case 5 | 6:
            # Width, height, depth, colour type, compression, filter, interlacing.
            at, size = rng.choice(
                ((0, 4), (4, 4), (0, 8), (8, 1), (9, 1), (10, 1), (11, 1), (12, 1))
            )
            chunks[0].payload = with_number(chunks[0].payload, at, size, rng)
        case 7:
            chosen.payload = scramble(chosen.payload, rng)
        case 8:
            pixels = next((c for c in chunks if c.name == b"IDAT"), chosen)
            pixels.payload = bomb() if rng.random() < 0.5 else scramble(pixels.payload, rng)
        case 9:
            chunks.insert(min(1, index), _packed_text(rng))
        case _:
            chosen.name = rng.choice(
                (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fcTL", b"fdAT", b"iCCP",
                 b"eXIf", b"caBX", b"gAMA", b"sBIT", b"hIST", b"CgBI")
            )  # fmt: skip
    return SIGNATURE + b"".join(c.written() for c in chunks)


def _packed_text(rng: random.Random) -> Chunk:
    """Return a compressed text, profile or list of frames that unpacks to too much."""
    name, head = rng.choice(
        (
            (b"zTXt", b"Comment\0\0"),
            (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
            (b"iTXt", b"Comment\0\1\0ko\0\0"),
            (b"iCCP", b"profile\0\0"),
        )
    )
    return Chunk(name, head + bomb())
