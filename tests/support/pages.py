"""The pages of the documentation, and the code in them."""

from __future__ import annotations

import re
from pathlib import Path

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
