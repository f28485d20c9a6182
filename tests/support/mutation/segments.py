"""JPEG: segments (ITU-T T.81, annex B) with EXIF in APP1 and C2PA's JUMBF in APP11."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.support.mutation.noise import number, scramble, with_number

SOI, EOI, SOS, DHT, DQT, DRI, APP1, APP2, APP11, APP14 = (
    0xD8, 0xD9, 0xDA, 0xC4, 0xDB, 0xDD, 0xE1, 0xE2, 0xEB, 0xEE,
)  # fmt: skip
FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA)
METADATA = (APP1, APP2, APP11, APP14)


@dataclass(slots=True)
class Segment:
    """A marker, its parameters, and the compressed data behind it."""

    marker: int
    payload: bytes = b""
    data: bytes = b""
    false_length: int | None = None

    def written(self) -> bytes:
        """Return the bytes of the segment."""
        if self.marker in (SOI, EOI):
            return bytes((0xFF, self.marker)) + self.data
        length = len(self.payload) + 2 if self.false_length is None else self.false_length
        head = bytes((0xFF, self.marker)) + (length & 0xFFFF).to_bytes(2, "big")
        return head + self.payload + self.data


def parse(data: bytes) -> list[Segment]:
    """Return the segments of ``data``, up to the first that cannot be parsed."""
    segments, at = [], 0
    while at + 2 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        payload = b""
        at += 2
        if marker not in (SOI, EOI):
            length = max(int.from_bytes(data[at : at + 2], "big"), 2)
            payload = data[at + 2 : at + length]
            at += length
        end = at
        while end < len(data) and (
            data[end] != 0xFF or data[end + 1 : end + 2] in (b"", b"\0", b"\xff")
            or 0xD0 <= data[end + 1] <= 0xD7
        ):  # fmt: skip
            end += 1
        segments.append(Segment(marker, payload, data[at:end]))
        at = end
    return segments


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one change of its segments."""
    segments = parse(data)
    if not segments:
        return scramble(data, rng)
    index = rng.randrange(len(segments))
    chosen = segments[index]
    match rng.randrange(11):
        case 0:
            segments[index:index] = [chosen] * rng.choice((1, 2, 50))
        case 1:
            del segments[index]
        case 2:
            segments.insert(rng.randrange(len(segments)), segments.pop(index))
        case 3:
            chosen.false_length = number(rng, 16, len(chosen.payload) + 2)
        case 4 | 5:
            _change_frame(_one_of(segments, FRAMES, rng), rng)
        case 6:
            _change_bytes(_one_of(segments, (DHT, DQT, SOS), rng), rng)
        case 7:
            _change_bytes(_one_of(segments, METADATA, rng), rng)
        case 8:
            segments.insert(index, Segment(DRI, number(rng, 16).to_bytes(2, "big")))
        case 9:
            scan = _one_of(segments, (SOS,), rng)
            scan.data = scramble(scan.data, rng)
        case _:
            chosen.marker = rng.choice((*FRAMES, *METADATA, SOS, DHT, DQT, SOI, EOI, 0xDC, 0xDE))
    return b"".join(s.written() for s in segments)


def _one_of(segments: list[Segment], markers: tuple[int, ...], rng: random.Random) -> Segment:
    return rng.choice([s for s in segments if s.marker in markers] or segments)


def _change_frame(frame: Segment, rng: random.Random) -> None:
    """Change the precision, a dimension, the count of components or their sampling (B.2.2)."""
    at, size = rng.choice(((0, 1), (1, 2), (3, 2), (1, 4), (5, 1), (7, 1), (8, 1), (10, 1)))
    frame.payload = with_number(frame.payload, at, size, rng)


def _change_bytes(segment: Segment, rng: random.Random) -> None:
    """Change a table: its counts, or a number of one, two or four bytes anywhere in it."""
    if rng.random() < 0.3:
        segment.payload = scramble(segment.payload, rng)
        return
    at = rng.randrange(max(min(len(segment.payload), 400), 1))
    order = "big" if rng.random() < 0.5 else "little"
    segment.payload = with_number(segment.payload, at, rng.choice((1, 2, 4)), rng, order)
