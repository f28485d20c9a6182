"""Trees of elements, as MP4 and WebM have them, and changes of their shape."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Node:
    """An element: its name as in the file, and either ``payload`` or, behind it, ``children``."""

    name: bytes
    payload: bytes = b""
    children: list[Node] = field(default_factory=list)
    false_size: int | None = None
    """The size to write in place of the true one."""
    wide: bool = False
    """Whether the size is written in its longest form."""


def places(nodes: list[Node]) -> Iterator[tuple[list[Node], int]]:
    """Yield the list and the index of each node of a tree."""
    for index, node in enumerate(nodes):
        yield nodes, index
        yield from places(node.children)


def random_node(nodes: list[Node], rng: random.Random) -> Node:
    """Return a node of the tree, which is not empty."""
    siblings, index = rng.choice(list(places(nodes)))
    return siblings[index]


def restructure(nodes: list[Node], rng: random.Random, wrappers: Sequence[bytes]) -> None:
    """Duplicate, remove, move, swap or nest a node; ``wrappers`` are the names to nest it in."""
    siblings, index = rng.choice(list(places(nodes)))
    node = siblings[index]
    match rng.randrange(6):
        case 0:
            copies = rng.choice((1, 2, 40))
            siblings[index:index] = [copy.deepcopy(node) for _ in range(copies)]
        case 1:
            del siblings[index]
        case 2:
            other = rng.randrange(len(siblings))
            siblings[index], siblings[other] = siblings[other], node
        case 3:
            target, at = rng.choice(list(places(nodes)))
            target.insert(at, copy.deepcopy(node))
        case 4:
            name = rng.choice(wrappers)
            for _ in range(rng.choice((1, 8, 100))):
                node = Node(name, children=[node])
            siblings[index] = node
        case _:
            node.name = random_node(nodes, rng).name
