"""``python -m deepfake_service.web.catalogue``: check the translations of all texts.

Prints each message of the templates, of reports or of notices that is not translated, is marked
fuzzy, or has other placeholders in its translation, and exits with 1 if there is one.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from string import Formatter

from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir

from deepfake_service.documents.i18n import CATALOGUES, load

_METHODS = [("**.html", "jinja2.ext.babel_extract")]
_PERCENT = re.compile(r"%(?:\((\w+)\)s|%)")


def template_messages() -> set[str]:
    """Return every message of the templates; of one with a plural, the singular."""
    folder = str(Path(str(files("deepfake_service.web"))) / "templates")
    options = {"**.html": {"newstyle_gettext": "true", "trim_blocks": "true"}}
    extracted = extract_from_dir(
        folder, _METHODS, options, keywords={"_": None, "ngettext": (1, 2)}
    )
    return {m[2] if isinstance(m[2], str) else m[2][0] for m in extracted}


def problems() -> list[str]:
    """Return one line for each fault of a catalogue."""
    translated = {_forms(message.id)[0] for message in load("console") if message.id}
    missing = sorted(template_messages() - translated)
    keys = {name: Counter(m.context for m in load(name) if m.context) for name in CATALOGUES}
    twice = [f"{name}: {key}" for name in keys for key, count in keys[name].items() if count > 1]
    return [
        *(f"console: not in the catalogue: {message}" for message in missing),
        *(f"key used twice: {key}" for key in twice),
        *(
            f"{catalogue}: {fault}: {message.context or message.id}"
            for catalogue in CATALOGUES
            for message in load(catalogue)
            if message.id
            for fault in faults(message)
        ),
    ]


def faults(message: Message) -> Iterator[str]:
    """Yield what is wrong with one message of a catalogue."""
    english, translation = _forms(message.id), _forms(message.string)
    if not all(translation):
        yield "not translated"
        return
    if message.fuzzy:
        yield "fuzzy"
    expected = _placeholders(english[-1], braces=bool(message.context))
    if any(_placeholders(t, braces=bool(message.context)) != expected for t in translation):
        yield "other placeholders in the translation"


def _forms(text: object) -> tuple[str, ...]:
    """Return a message's text, or its singular and plural."""
    return tuple(text) if isinstance(text, list | tuple) else (str(text or ""),)


def _placeholders(text: str, *, braces: bool) -> list[str]:
    """Return the names that are filled in: in braces with a key, after a per cent sign without."""
    if not braces:
        return sorted(match.group(0) for match in _PERCENT.finditer(text))
    return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)


if __name__ == "__main__":
    found = problems()
    sys.stdout.writelines(f"{line}\n" for line in found)
    raise SystemExit(bool(found))
