"""``make catalogue``: check the translations of all texts.

Prints each text of the console (templates, errors and field errors), of reports or of notices
that is not translated, not used, marked fuzzy, or whose translation has other placeholders, and
exits with 1 if there is one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from string import Formatter

from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir

from deepfake_service.capture.captures import UNPICTURED
from deepfake_service.capture.links import ENDS, NO_HOST, NO_URL, NOT_CLOSED
from deepfake_service.http.multipart import NOT_UTF8
from deepfake_service.http.problems import problem_of
from deepfake_service.http.uploads import MORE_BYTES, MORE_FILES
from deepfake_service.notices.kinds import CLAIMS_MANIPULATION, MINOR_NEEDS
from deepfake_service.platform import errors
from deepfake_service.platform.db.sqlite import UNAVAILABLE
from deepfake_service.platform.disk_space import SHORT
from deepfake_service.platform.errors import ServiceError
from deepfake_service.platform.storage.blobs import STORE_MISSING
from deepfake_service.platform.texts.characters import HiddenCharacter
from deepfake_service.platform.texts.fields import (
    INPUT_MESSAGES,
    OTHER,
    OWN_MESSAGES,
    STATEMENT_TOO_SHORT,
    UNKNOWN,
)
from deepfake_service.platform.texts.i18n import CATALOGUES, load
from deepfake_service.web.admin import TABLE_NAME
from deepfake_service.web.pages import INVALID_FORM

_METHODS = [("**.html", "jinja2.ext.babel_extract")]
_PERCENT = re.compile(r"%(?:\((\w+)\)s|%)")
INTERNAL = (500,)
FORM_SOURCES = (
    "accounts/visibility.py", "api/captures.py", "capture/captures.py", "capture/links.py",
    "cases/*.py", "evidence/*.py", "examination/*.py", "hashes/*.py", "http/list_filters.py",
    "notices/**/*.py",
    "platform/pagination.py", "removal/looks.py", "retention/*.py", "review/*.py", "web/*.py",
)  # fmt: skip
"""Modules whose errors about fields are shown in the console's forms."""
SIGNING_KEYS = "signing_keys.py"
"""Its errors are an operator's alone."""
COMPOSED = frozenset(
    {
        INVALID_FORM,
        "required",
        STATEMENT_TOO_SHORT,
        TABLE_NAME,
        *UNAVAILABLE.values(),
        HiddenCharacter.TEMPLATE,
        NO_HOST,
        NO_URL,
        NOT_CLOSED,
        NOT_UTF8,
        STORE_MISSING,
        MINOR_NEEDS,
        CLAIMS_MANIPULATION,
        "tick this box: only the person making the notice can state this",
        "send a PNG, JPEG or WebP picture",
        "not a valid address or number",
    }
)
"""Messages that are composed at run time, from limits or from several parts."""


def template_messages() -> set[str]:
    """Return every message of the templates; of one with a plural, the singular."""
    folder = str(Path(str(files("deepfake_service.web"))) / "templates")
    options = {"**.html": {"newstyle_gettext": "true", "trim_blocks": "true"}}
    extracted = extract_from_dir(
        folder, _METHODS, options, keywords={"_": None, "gettext": None, "ngettext": (1, 2)}
    )
    return {m[2] if isinstance(m[2], str) else m[2][0] for m in extracted}


def _kinds() -> list[type[ServiceError]]:
    found = vars(errors).values()
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, ServiceError)]


def error_messages() -> set[str]:
    """Return the titles and the default messages of all errors that a page can show."""
    shown = [problem_of(kind()) for kind in _kinds() if kind not in (errors.Conflict, errors.Gone)]
    shown += [problem_of(errors.Conflict(code=code)) for code in errors.Code]
    messages = {problem.told("en")[0] for problem in shown}
    told = (p.told("en")[1] for p in shown if p.status not in INTERNAL)
    return messages | set(told)


def raised_messages() -> set[str]:
    """Return the literal messages of errors, and of errors about fields, raised for a page."""
    position = {kind.__name__: 0 for kind in _kinds()} | {
        "FieldError": 1,
        "invalid_field": 1,
    }
    root = Path(str(files("deepfake_service")))
    return {
        message
        for pattern in FORM_SOURCES
        for module in sorted(root.glob(pattern))
        if module.name != SIGNING_KEYS
        for message in _literals(ast.parse(module.read_text(encoding="utf-8")), position)
    }


def _literals(tree: ast.AST, position: Mapping[str, int]) -> Iterator[str]:
    """Yield the literal arguments at the given positions of all calls of the named functions."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        match call.args[position[name] :] if name in position else []:
            case [ast.Constant(value=str(message)), *_] if message:
                yield message


def problems() -> list[str]:
    """Return one line for each fault of a catalogue."""
    translated = {_forms(message.id)[0] for message in load("console") if message.id}
    used = template_messages() | error_messages() | raised_messages()
    used |= {OTHER, UNKNOWN, SHORT, MORE_BYTES, MORE_FILES, *INPUT_MESSAGES.values()}
    used |= {*OWN_MESSAGES.values(), *ENDS.values(), *UNPICTURED.values()}
    missing = sorted(used - translated)
    unused = sorted(translated - used - COMPOSED)
    keys = {name: Counter(m.context for m in load(name) if m.context) for name in CATALOGUES}
    twice = [f"{name}: {key}" for name in keys for key, count in keys[name].items() if count > 1]
    return [
        *(f"console: not in the catalogue: {message}" for message in missing),
        *(f"console: not used: {message}" for message in unused),
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
    lines = problems()
    sys.stdout.writelines(f"{line}\n" for line in lines)
    raise SystemExit(bool(lines))
