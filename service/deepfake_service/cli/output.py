"""Exit codes of ``deepfake``, and text that is safe to print."""

from __future__ import annotations

import json
import sys
import unicodedata

EXIT_OK, EXIT_UNREADABLE = 0, 1


def json_line(value: object) -> str:
    """Return a value as JSON in one line, with control and bidirectional characters escaped, so
    that it is safe for a terminal as well."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not is_utf8)
    return "".join(c if unicodedata.category(c)[0] != "C" else json.dumps(c)[1:-1] for c in text)


def clean(text: str) -> str:
    """Return ``text`` with control and bidirectional characters replaced, safe for a terminal."""
    return "".join(
        c if unicodedata.category(c)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def clean_lines(text: str) -> str:
    """Return ``text`` as ``clean`` does, but keep its line breaks."""
    return "\n".join(map(clean, text.split("\n")))
