"""``python -m tests.support.notice_table``: write the kinds of notices into the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from deepfake_service.notices.kinds import KINDS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"en": DOCS / "notices.md", "ko": DOCS / "ko" / "notices.md"}
HEADS = {
    "en": ("kind", "law of", "addressee", "legal basis", "time to act"),
    "ko": ("종류", "법", "수신자", "근거 규정", "처리 기한"),
}
RECIPIENTS = {
    "en": {"platform": "a platform", "authority": "an authority"},
    "ko": {"platform": "플랫폼", "authority": "기관"},
}


def written(language: str) -> str:
    """Return the page of notices in a language with the table as the manifests have it."""
    rows = [HEADS[language], ("---",) * 5]
    for kind in KINDS.values():
        name = kind.recipient_name
        recipient = name.of(language) if name else RECIPIENTS[language][kind.recipient]
        law, deadline = kind.law.of(language), kind.deadline.of(language)
        rows.append((f"`{kind.id}`", kind.country, recipient, law, deadline))
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    page = PAGES[language].read_text(encoding="utf-8")
    return re.sub(rf"\| {HEADS[language][0]} \|.*?\n(?=\n)", lambda _: table, page, flags=re.S)


if __name__ == "__main__":
    for each, path in PAGES.items():
        path.write_text(written(each), encoding="utf-8")
