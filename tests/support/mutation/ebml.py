"""WebM: elements of EBML (RFC 8794) with the names of Matroska (RFC 9559)."""

from __future__ import annotations

import random

from tests.support.mutation.noise import number, scramble, with_number
from tests.support.mutation.tree import Node, random_node, restructure

MASTERS = tuple(
    bytes.fromhex(name)
    for name in (
        "1a45dfa3", "18538067", "114d9b74", "4dbb", "1549a966", "1654ae6b", "ae", "e0", "e1",
        "55b0", "1f43b675", "a0", "1c53bb6b", "bb", "b7", "1254c367", "7373", "67c8", "6d80",
    )
)  # fmt: skip
"""Elements that contain elements: EBML, Segment, Tracks, TrackEntry, Video, Cluster, Cues..."""
UNKNOWN = (1 << 56) - 1
"""The size that means "until the next element of this level" (RFC 8794, 6.2)."""
MAX_DEPTH = 24


def parse(data: bytes, depth: int = 0) -> list[Node]:
    """Return the elements of ``data``, up to the first that cannot be parsed."""
    nodes, at = [], 0
    while at < len(data):
        name_length = _length(data[at])
        size_at = at + name_length
        if not 1 <= name_length <= 4 or size_at >= len(data):
            break
        length = _length(data[size_at])
        start = size_at + length
        if not 1 <= length <= 8 or start > len(data):
            break
        size = int.from_bytes(data[size_at:start], "big") & ((1 << (7 * length)) - 1)
        end = min(start + size, len(data))
        name, payload = data[at:size_at], data[start:end]
        if name in MASTERS and depth < MAX_DEPTH:
            nodes.append(Node(name, b"", parse(payload, depth + 1)))
        else:
            nodes.append(Node(name, payload))
        at = end
    return nodes


def _length(first: int) -> int:
    """Return the bytes of a variable-size integer that begins with ``first``; 9 if invalid."""
    return 9 - first.bit_length()


def written(nodes: list[Node]) -> bytes:
    """Return the bytes of ``nodes``."""
    return b"".join(map(_written, nodes))


def _written(node: Node) -> bytes:
    content = node.payload + written(node.children)
    size = len(content) if node.false_size is None else node.false_size
    length = 8 if node.wide else next(n for n in range(1, 9) if size < (1 << (7 * n)) - 1 or n == 8)
    marked = (1 << (7 * length)) | (size & ((1 << (7 * length)) - 1))
    return node.name + marked.to_bytes(length, "big") + content


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one change of its elements."""
    nodes = parse(data)
    if not nodes:
        return scramble(data, rng)
    node = random_node(nodes, rng)
    match rng.randrange(7):
        case 0:
            restructure(nodes, rng, MASTERS)
        case 1:
            node.wide, node.false_size = True, UNKNOWN
        case 2:
            node.wide = rng.random() < 0.5
            node.false_size = number(rng, 56 if node.wide else 28, len(node.payload))
        case 3:
            node.wide = True
        case 4 | 5:
            # A number of one to eight bytes, or the head of a block: track, time and flags.
            node.payload = with_number(node.payload, 0, min(len(node.payload), 8) or 1, rng)
        case _:
            node.payload = scramble(node.payload, rng)
    return written(nodes)
