"""``python -m deepfake_service.web.catalogue``: whether all that the templates say is translated.

Prints each message that a language's catalogue lacks, and exits with 1 if there is one.
"""

from __future__ import annotations

import sys
from importlib.resources import files
from pathlib import Path

from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

_METHODS = [("**.html", "jinja2.ext.babel_extract")]


def said() -> set[str]:
    """Every message of the templates; of those with a plural, the singular."""
    folder = str(Path(str(files("deepfake_service.web"))) / "templates")
    options = {"**.html": {"newstyle_gettext": "true", "trim_blocks": "true"}}
    found = extract_from_dir(folder, _METHODS, options, keywords={"_": None, "ngettext": (1, 2)})
    return {m[2] if isinstance(m[2], str) else m[2][0] for m in found}


def untranslated(language: str) -> set[str]:
    """Messages without a text in ``language``."""
    with (files("deepfake_service.web") / "locale" / f"{language}.po").open("rb") as file:
        catalogue = read_po(file, locale=language)
    have = set()
    for message in catalogue:
        texts = message.string if isinstance(message.string, tuple) else (message.string,)
        if message.id and all(texts) and not message.fuzzy:
            have.add(message.id if isinstance(message.id, str) else message.id[0])
    return said() - have


if __name__ == "__main__":
    missing = sorted(untranslated("ko"))
    sys.stdout.writelines(f"{m}\n" for m in missing)
    raise SystemExit(bool(missing))
