"""Changes of bytes and numbers without regard to their meaning."""

from __future__ import annotations

import random


def scramble(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one to eight changes of a byte, of a run of bytes or of its length."""
    content = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(max(len(content), 1))
        run = rng.choice((1, 4, 64, 1024))
        match rng.randrange(6):
            case 0:
                content[at : at + 1] = rng.randbytes(1)
            case 1:
                content[at : at + run] = rng.choice((b"\x00", b"\xff")) * run
            case 2:
                del content[at:]
            case 3:
                del content[at : at + run]
            case 4:
                content[at:at] = content[rng.randrange(len(content) or 1) :][:run]
            case _:
                content[at : at + 4] = number(rng, 32).to_bytes(4, "big")
    return bytes(content)


def number(rng: random.Random, bits: int, old: int = 0) -> int:
    """Return an unsigned number of ``bits`` bits at which parsers may fail."""
    most = (1 << bits) - 1
    middle = 1 << (bits - 1)
    value = rng.choice(
        (
            0, 1, 2, most, most - 1, middle, middle - 1, middle + 1, most >> 2, 1 << (bits // 2),
            old + 1, old - 1, old * 2, old // 2, old + rng.randrange(-8, 9), rng.getrandbits(bits),
        )
    )  # fmt: skip
    return value & most


def with_number(data: bytes, at: int, size: int, rng: random.Random, order: str = "big") -> bytes:
    """Return ``data`` with another number in the ``size`` bytes from ``at``, if it has them."""
    if at < 0 or at + size > len(data):
        return data
    little = order == "little"
    old = int.from_bytes(data[at : at + size], "little" if little else "big")
    value = number(rng, 8 * size, old).to_bytes(size, "little" if little else "big")
    return data[:at] + value + data[at + size :]
