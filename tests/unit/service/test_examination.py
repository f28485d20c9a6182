"""What a worker makes of parts that another one kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from deepfake_models.decision.decide import Part
from deepfake_models.decision.serialization import dump_part
from deepfake_service.casework.examination import Examination


class Kept:
    """A vault of plain bytes."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def keep(self, name: str, _: bytes, content: bytes) -> None:
        self.blobs[name] = content

    def kept(self, name: str, _: bytes) -> bytes:
        return self.blobs[name]


def test_no_verdict_is_of_two_models() -> None:
    vault, examined = Kept(), []

    def examination(model: str) -> Any:
        made: Any = Examination.__new__(Examination)

        def examine(_: object, frames: list[int]) -> Part:
            examined.append((model, frames))
            return Part((), 0)

        made._scorer = SimpleNamespace(bundle=SimpleNamespace(sha256=model * 32), examine=examine)
        made._vault = vault
        made._on_media = lambda _, what: what(None)
        made._plan = lambda _: [[0, 1], [2, 3]]
        return made

    opened = SimpleNamespace(work=lambda name: f"work/j/{name}", case_key=b"")
    old, new = examination("aa"), examination("bb")
    old._keep_part(opened, 1, Part((), 0))
    assert old._found(opened, 1) == Part((), 0)
    assert examined == []
    assert new._found(opened, 1) == Part((), 0)
    assert examined == [("bb", [2, 3])]
    new._found(opened, 1)
    assert len(examined) == 1
    # As workers kept parts that did not say by which model.
    vault.blobs["work/j/part-0"] = dump_part(Part((), 0))
    new._found(opened, 0)
    assert examined[1:] == [("bb", [0, 1])]
