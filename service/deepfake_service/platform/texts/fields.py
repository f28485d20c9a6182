"""The types of fields that a notice's form can have, and what is wrong with a value, in words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, StringConstraints

from deepfake_service.platform.clock import Day
from deepfake_service.platform.errors import FieldError
from deepfake_service.platform.texts.characters import HiddenCharacter, shown

MIN_STATEMENT_CHARS = 20
MIN_SIGNATURE_CHARS = 2
STATEMENT_TOO_SHORT = "at least 20 characters are required, or 10 Korean ones"
ONE_OF = "use one of {expected}"
UNKNOWN = "unknown; use one of {expected}"
LEAVE_OUT = "unknown; leave it out"
OTHER = "not a valid value"
INPUT_MESSAGES = {
    "missing": "missing; add it",
    **dict.fromkeys(("extra", "unexpected"), LEAVE_OUT),
    "string": "must be text",
    "string_too_long": "at most {max_length} characters are allowed",
    "string_too_short": "at least {min_length} characters are required",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    **dict.fromkeys(("literal", "enum"), ONE_OF),
    "bool": "must be true or false",
    "int": "must be a whole number",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "date": "must be a date such as 2026-01-31",
    **dict.fromkeys(
        ("datetime", "timezone"),
        "must be a time with its zone, such as 2026-01-31T12:00:00Z (in a URL, + is %2B)",
    ),
    **dict.fromkeys(("list", "sequence"), "must be a list"),
    "too_long": "too many; at most {max_length} are allowed",
    "too_short": "too few; send {min_length} or more",
    **dict.fromkeys(("dict", "model", "dataclass"), "must be a JSON object"),
}
"""What is wrong with an input, by the type of Pydantic's error or the first word of it."""
OWN_MESSAGES = {
    "not_printable": "use printable characters only",
    "not_a_url": "enter a URL that begins with http:// or https://",
    "not_a_time": "enter a time such as 2026-01-31 21:00",
    "no_time_zone": "add the time and its zone, for example 2026-01-31T21:00+09:00",
    "in_the_future": "enter a time that is not in the future",
    "damaged_text": "has U+FFFD for lost letters; enter it again",
    "not_one_of": ONE_OF,
    "no_callback": "send a callback_url with it",
    "two_cases": "send either case_id or case_reference",
}
"""The same of errors that the service raises itself: in the console, and in Korean. In English, the
API tells their messages."""
_EMAIL = r"^[^@\s<>,;:\"']{1,64}@[^@\s<>,;:\"']{1,190}\.[^@\s<>,;:\"'.]{2,63}$"
_PHONE = r"^[0-9+() -]{6,30}$"


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
Phone = Annotated[str, StringConstraints(strip_whitespace=True, pattern=_PHONE)]
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
    "date": Day,
    "signature": Signature,
    "affirmation": Affirmation,
}
"""The types that a manifest can name, beside ``choice``, which lists its values."""
NEVER_COPIED = ("date", "signature", "affirmation")
"""Types of fields that a person gives anew for each notice."""


def unknown_field(name: str, known: Iterable[str]) -> FieldError:
    """Return the error about a field that is none of those that are ``known``, if any are."""
    values = {"expected": ", ".join(known)}
    template = UNKNOWN if values["expected"] else LEAVE_OUT
    return FieldError(name, template.format_map(values), template, values)


def field_error_of(name: str, error: Any) -> FieldError:
    """Return what is wrong with a field, by Pydantic's error, without repeating its value."""
    kind, values = error["type"], error.get("ctx", {})
    cause = values.get("error")
    if isinstance(cause, HiddenCharacter):
        return FieldError(name, str(cause), HiddenCharacter.TEMPLATE, cause.values)
    if kind == "value_error":
        return FieldError(name, str(cause))
    if kind in ("literal_error", "enum"):
        values = {"expected": ", ".join(re.findall(r"'([^']*)'", values["expected"]))}
    template = _template(kind, values)
    detail = str(error["msg"]) if kind in OWN_MESSAGES else template.format_map(values)
    return FieldError(name, detail, template, values)


def _template(kind: str, values: Mapping[str, Any]) -> str:
    match kind:
        case "literal_error" if not values["expected"]:  # an ``Affirmation``
            return "tick this box: only the person making the notice can state this"
        case "string_too_short" if values["min_length"] == 1:
            return "required"
        case "string_too_short" if values["min_length"] > MIN_SIGNATURE_CHARS:
            return STATEMENT_TOO_SHORT
        case "string_pattern_mismatch" if values["pattern"] in (_EMAIL, _PHONE):
            return "not a valid address or number"
    first = INPUT_MESSAGES.get(kind.partition("_")[0], OTHER)
    return OWN_MESSAGES.get(kind) or INPUT_MESSAGES.get(kind, first)
