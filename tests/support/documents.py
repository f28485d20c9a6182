"""The pages of the documentation, and the texts in documents under test."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepfake_service.evidence.bundle.documents import Custody, VerdictDocument
from deepfake_service.evidence.report.report import present
from deepfake_service.platform.texts.i18n import Words
from tests.support.exhibits import stated

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n)+")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_blocks(text: str) -> list[str]:
    """Return the blocks of commands, fenced or indented, in the order of the page."""
    found = [*FENCED.finditer(text), *INDENTED.finditer(without_fenced(text))]
    return [match.group() for match in sorted(found, key=lambda match: match.start())]


def without_fenced(text: str) -> str:
    """Return ``text`` with characters of no meaning in place of fenced blocks."""
    return FENCED.sub(lambda match: "\0" * len(match.group()), text)


def leaves(value: Any) -> Iterator[str]:
    """Yield every text in JSON data."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from leaves(each)
    elif isinstance(value, str):
        yield value


NO_CUSTODY = Custody(accounts={}, entries=())


def report_texts(
    document: dict[str, Any] | VerdictDocument,
    pictures: Mapping[str, bytes],
    words: Words,
    custody: Custody = NO_CUSTODY,
) -> dict[str, Any]:
    """Return all that a report says, by name."""
    payload = {**pictures, "custody.json": custody.canonical()}
    if isinstance(document, dict):
        document = stated(document)
    shown = present(document, payload, words, "ab" * 32)
    del shown["files"]  # their names are no texts
    return shown
