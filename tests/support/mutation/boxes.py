"""MP4, AVIF and HEIC: files of boxes (ISO/IEC 14496-12)."""

from __future__ import annotations

import random

from tests.support.mutation.noise import number, scramble, with_number
from tests.support.mutation.tree import Node, places, random_node, restructure

CONTAINERS = {
    b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"dinf": 0, b"udta": 0,
    b"edts": 0, b"mvex": 0, b"moof": 0, b"traf": 0, b"meta": 4, b"dref": 8, b"stsd": 8,
    b"iprp": 0, b"ipco": 0, b"iinf": 6, b"iref": 4, b"avc1": 78, b"hvc1": 78, b"hev1": 78,
    b"av01": 78, b"vp09": 78, b"mp4v": 78,
}  # fmt: skip
"""Boxes that contain boxes, and how many bytes of other fields come first."""
TABLES = (
    b"stts", b"ctts", b"stsz", b"stco", b"co64", b"stsc", b"stss", b"elst", b"trun", b"sidx",
    b"tfra", b"iloc", b"ipma", b"infe", b"pitm",
)  # fmt: skip
HEADERS = (b"mvhd", b"tkhd", b"mdhd", b"tfhd", b"tfdt", b"trex", b"ispe", b"pixi", b"colr", b"irot")
CODECS = (b"avcC", b"hvcC", b"av1C", b"vpcC", b"esds", b"btrt", b"pasp")
MAX_DEPTH = 24


def parse(data: bytes, depth: int = 0) -> list[Node]:
    """Return the boxes of ``data``; what cannot be parsed is the payload of the last one."""
    nodes, at = [], 0
    while at + 8 <= len(data):
        size, name, header = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1 and at + 16 <= len(data):
            size, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if size < header or at + size > len(data):
            size = len(data) - at
        payload = data[at + header : at + size]
        fields = CONTAINERS.get(name)
        if fields is None or depth == MAX_DEPTH:
            nodes.append(Node(name, payload))
        else:
            nodes.append(Node(name, payload[:fields], parse(payload[fields:], depth + 1)))
        at += size
    return nodes


def written(nodes: list[Node]) -> bytes:
    """Return the bytes of ``nodes``."""
    return b"".join(map(_written, nodes))


def _written(node: Node) -> bytes:
    content = node.payload + written(node.children)
    size = node.false_size if node.false_size is not None else len(content) + 8 + 8 * node.wide
    if node.wide or size >= 1 << 32:
        return (1).to_bytes(4, "big") + node.name + (size % (1 << 64)).to_bytes(8, "big") + content
    return size.to_bytes(4, "big") + node.name + content


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return ``data`` after one change of its boxes."""
    nodes = parse(data)
    if not nodes:
        return scramble(data, rng)
    match rng.randrange(10):
        case 0:
            restructure(nodes, rng, tuple(CONTAINERS))
        case 1:
            node = random_node(nodes, rng)
            node.wide = rng.random() < 0.4
            node.false_size = number(rng, 64 if node.wide else 32, len(node.payload) + 8)
        case 2:
            random_node(nodes, rng).wide = True
        case 3 | 4 | 5:
            _change_table(_one_of(nodes, TABLES, rng), rng)
        case 6 | 7:
            node = _one_of(nodes, HEADERS, rng)
            words = max(len(node.payload) // 4, 1)
            node.payload = with_number(node.payload, 4 * rng.randrange(words), 4, rng)
        case 8:
            node = _one_of(nodes, CODECS, rng)
            node.payload = scramble(node.payload, rng)
        case _:
            node = _one_of(nodes, tuple(n for n, size in CONTAINERS.items() if size == 78), rng)
            node.payload = with_number(node.payload, rng.choice((24, 26)), 2, rng)
    return written(nodes)


def _one_of(nodes: list[Node], names: tuple[bytes, ...], rng: random.Random) -> Node:
    """Return a node with one of these names, or any one if there is none."""
    named = [s[i] for s, i in places(nodes) if s[i].name in names]
    return rng.choice(named) if named else random_node(nodes, rng)


def _change_table(node: Node, rng: random.Random) -> None:
    """Change the flags, the count or an entry of a table, or repeat its entries."""
    payload = node.payload
    match rng.randrange(4):
        case 0:
            node.payload = with_number(payload, rng.choice((4, 8)), 4, rng)
        case 1:
            node.payload = with_number(
                payload, 4 * rng.randrange(max(len(payload) // 4, 1)), 4, rng
            )
        case 2:
            entries = payload[8:] * rng.choice((2, 64))
            count = (len(entries) // 8).to_bytes(4, "big")
            node.payload = payload[:4] + count + entries[: 1 << 18]
        case _:
            node.payload = with_number(payload, 0, 4, rng)
