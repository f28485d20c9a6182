"""The types of fields that a notice's form can have, and what is wrong with a value, in words."""

from __future__ import annotations

import unicodedata
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, StringConstraints

from deepfake_service.platform.errors import FieldError
from deepfake_service.platform.texts.characters import HiddenCharacter, shown

MIN_STATEMENT_CHARS = 20
MIN_SIGNATURE_CHARS = 2
STATEMENT_TOO_SHORT = "at least 20 characters are required, or 10 Korean ones"
_EMAIL = r"^[^@\s<>,;:\"']{1,64}@[^@\s<>,;:\"']{1,190}\.[^@\s<>,;:\"'.]{2,63}$"


def _substantiated(value: str) -> str:
    """Require 20 letters, of which a Hangul syllable or a Chinese character counts as two."""
    length = sum(2 if unicodedata.east_asian_width(char) == "W" else 1 for char in value)
    if length < MIN_STATEMENT_CHARS:
        raise ValueError(STATEMENT_TOO_SHORT)
    return value


_SHOWN_IN_LINE = AfterValidator(lambda value: shown(value, lines=False))
_SHOWN_IN_LINES = AfterValidator(lambda value: shown(value, lines=True))

Text = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), _SHOWN_IN_LINE
]
Statement = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=MIN_STATEMENT_CHARS // 2, max_length=5000),
    _SHOWN_IN_LINES,
    AfterValidator(_substantiated),
]
Email = Annotated[str, StringConstraints(strip_whitespace=True, pattern=_EMAIL), _SHOWN_IN_LINE]
Phone = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[0-9+() -]{6,30}$")]
Signature = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=MIN_SIGNATURE_CHARS, max_length=200),
    _SHOWN_IN_LINE,
]
Affirmation = Literal[True]
"""A statement that a person makes by setting the field to true; false is refused."""
TYPES: dict[str, Any] = {
    "text": Text,
    "statement": Statement,
    "email": Email,
    "phone": Phone,
    "date": date,
    "signature": Signature,
    "affirmation": Affirmation,
}
"""The types that a manifest can name, beside ``choice``, which lists its values."""
NEVER_COPIED = ("date", "signature", "affirmation")
"""Types of fields that a person gives anew for each notice."""


def field_error_of(name: str, error: Any) -> FieldError:
    """Return what is wrong with a field, by Pydantic's error, without repeating its value."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, HiddenCharacter):
        return FieldError(name, str(cause), HiddenCharacter.TEMPLATE, cause.values)
    return FieldError(name, _explanation(error))


def _explanation(error: Any) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return "missing"
        case "extra_forbidden":
            return "not a field of this kind of notice"
        case "literal_error" if context["expected"] == "True":
            return "tick this box: only the person making the notice can state this"
        case "string_too_short" if context["min_length"] == 1:
            return "required"
        case "string_too_short" if context["min_length"] > MIN_SIGNATURE_CHARS:
            return STATEMENT_TOO_SHORT
        case "string_too_short":
            return f"at least {context['min_length']} characters are required"
        case "string_too_long":
            return f"at most {context['max_length']} characters are allowed"
        case "string_pattern_mismatch":
            return "not a valid address or number"
    return str(error["msg"]).removeprefix("Value error, ")
