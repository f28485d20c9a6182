"""JSON: values, types and shapes of documents that the service reads."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from tests.support.mutation.noise import scramble


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a JSON text after one change of a value, its type or its place."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return scramble(data, rng)
    if rng.random() < 0.05:
        return b"[" * 100_000 + data
    return json.dumps(changed(document, rng), ensure_ascii=rng.random() < 0.5).encode(
        "utf-8", "surrogatepass"
    )


def changed(document: Any, rng: random.Random) -> Any:
    """Return a copy of ``document`` with one value changed, moved or removed."""
    root = [copy.deepcopy(document)]
    places = list(_places(root))
    holder, key = rng.choice(places)
    match rng.randrange(5):
        case 0:
            if holder is root:
                root[0] = _value(rng)
            else:
                del holder[key]
        case 1:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
        case 2 if isinstance(holder[key], list) and holder[key]:
            holder[key] = holder[key] * rng.choice((2, 50))
        case 3 if isinstance(holder[key], dict):
            holder[key][rng.choice(("", "x", "__proto__", "\u0000"))] = _value(rng)
        case _:
            holder[key] = _value(rng)
    return root[0]


def _places(value: Any) -> Any:
    """Yield each container of a document with each of its keys."""
    keys = range(len(value)) if isinstance(value, list) else value
    for key in list(keys):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _value(rng: random.Random) -> Any:
    """Return a value that code does not expect."""
    deep: Any = []
    for _ in range(rng.choice((2, 200))):
        deep = [deep]
    return rng.choice(
        (
            None, True, False, 0, -1, 1e308, -1e308, float("nan"), float("inf"), 2**63, 10**400,
            0.1, "", "x" * 20_000, "\u0000", "\ud800", "2026-01-02T03:04:05+00:00", "9" * 5000,
            [], {}, [None], {"": None}, deep, rng.random(), rng.getrandbits(16),
        )
    )  # fmt: skip
