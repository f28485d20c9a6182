"""Mutators of media, archives, documents and requests that know the structure of each format.

Files changed at random mostly fail at the first header. These mutators parse a file, change what a
parser relies on (sizes, counts, offsets, order, nesting) and write it with correct checksums, so
that the parsers of the service get further into it. All randomness comes from the given generator.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.support.mutation import boxes, chunks, documents, ebml, pdfs, requests, segments, zips
from tests.support.mutation.noise import scramble

MAX_BYTES = 4 << 20
"""Of a mutant. Repeated changes could otherwise double a file many times."""

Mutator = Callable[[bytes, random.Random], bytes]
"""Returns the data after one change of their structure."""

MUTATORS: dict[str, Mutator] = {
    "mp4": boxes.mutate,
    "avif": boxes.mutate,
    "heic": boxes.mutate,
    "webm": ebml.mutate,
    "jpeg": segments.mutate,
    "png": chunks.mutate,
    "zip": zips.mutate,
    "pdf": pdfs.mutate,
    "json": documents.mutate,
    "looks": documents.mutate,
    "multipart": requests.mutate,
}
"""By format. Files of other formats are only scrambled."""


def mutate(form: str, data: bytes, rng: random.Random) -> bytes:
    """Return ``data``, of the format ``form``, after one to four changes of its structure.

    One in four mutants also has changed bytes, or has only those.
    """
    structural = MUTATORS.get(form, scramble)
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        data = structural(data, rng)[:MAX_BYTES]
    return scramble(data, rng) if rng.random() < 0.25 else data
