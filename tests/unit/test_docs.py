"""The documentation: its links lead somewhere, and Korean pages keep up with English ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import DOCS, PAGES, ROOT, code_blocks, text_of, without_fenced

TRANSLATED = ("captures.md", "console.md", "notices.md", "removal.md", "verify-by-hand.md")

CODE_SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)


def code_spans(text: str) -> set[str]:
    """Return what a page sets in code within its sentences: settings, fields, commands, paths."""
    return set(CODE_SPAN.findall(without_fenced(text)))


def anchors(text: str) -> set[str]:
    """Return the fragments that GitHub gives to the headings of a page."""
    titles = (title for _, title in HEADING.findall(without_fenced(text)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def outline(text: str) -> list[str]:
    """Return the marks of the headings, table rows and list items of a page, in order."""
    marks = re.compile(r"^(#+ |\||- |\d\. )", re.MULTILINE)
    return marks.findall(without_fenced(text))


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_korean_page_has_the_commands_of_the_english_one(name: str) -> None:
    english, korean = text_of(DOCS / name), text_of(DOCS / "ko" / name)
    assert code_blocks(korean) == code_blocks(english)
    assert code_spans(korean) == code_spans(english)


@pytest.mark.parametrize("name", TRANSLATED)
def test_a_korean_page_has_the_parts_of_the_english_one(name: str) -> None:
    assert outline(text_of(DOCS / "ko" / name)) == outline(text_of(DOCS / name))


def test_every_korean_page_is_compared_with_an_english_one() -> None:
    assert sorted(page.name for page in (DOCS / "ko").iterdir()) == sorted(TRANSLATED)


def test_the_korean_readme_uses_commands_of_the_english_one() -> None:
    english, korean = text_of(ROOT / "README.md"), text_of(ROOT / "README.ko.md")
    commands = [line for block in code_blocks(korean) for line in block.splitlines()]
    assert "    make serve" in commands
    assert [line for line in commands if line not in english.splitlines()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    broken = []
    for link in LINK.findall(CODE_SPAN.sub("", without_fenced(text_of(page)))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        found = target.exists() and target.is_relative_to(ROOT)
        if not found or (fragment and fragment not in anchors(text_of(target))):
            broken.append(link)
    assert broken == []
