"""The inputs of a notice's forms, and what is sent with them, by the limits of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError

from deepfake_service.casework.core.notice_states import NoticeRequest, NoticeUpdate
from deepfake_service.errors import FieldError, InvalidRequest
from deepfake_service.notices.kinds import Kind
from deepfake_service.notices.render import choice, cited

_CONTACTS = {
    "name": ("notifier_name", "reporter_name"),
    "email": ("notifier_email", "reporter_email", "contact_email"),
    "phone": ("reporter_phone", "contact_phone"),
}
"""The fields that a contact fills. No statement and no signature is among them."""
REQUEST = TypeAdapter(NoticeRequest)
UPDATE = TypeAdapter(NoticeUpdate)
INPUT_MESSAGES = {
    "string_too_long": "at most {max_length} characters are allowed",
    "too_long": "choose at most {max_length} posts",
    "other": "not a valid value",
}
"""What is wrong with an input, by the type of Pydantic's error."""
T = TypeVar("T")


def checked_input(adapter: TypeAdapter[T], **values: Any) -> T:
    """Return what a form says, checked as a request to the API is.

    Raises:
        InvalidRequest: naming each input that is invalid.
    """
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        invalid = [_field_error(e) for e in error.errors(include_input=False, include_url=False)]
    raise InvalidRequest(errors=invalid)


def _field_error(error: Any) -> FieldError:
    template = INPUT_MESSAGES.get(error["type"], INPUT_MESSAGES["other"])
    values = {"max_length": error.get("ctx", {}).get("max_length", 0)}
    return FieldError(str(error["loc"][0]), template.format_map(values), template, values)


def contact_values(contact: Mapping[str, str]) -> dict[str, str]:
    """Return the initial values of fields about who sends a notice.

    Args:
        contact: the ``name``, ``email`` and ``phone`` that are known.
    """
    return {field: value for name, value in contact.items() for field in _CONTACTS[name]}


def choices_of(annotation: Any) -> list[str | bool]:
    """Return the values of a field that is a choice, including one that is optional."""
    return [
        value
        for part in (annotation, *get_args(annotation))
        for value in get_args(part)
        if isinstance(value, str | bool)
    ]


def form_inputs(
    kind: Kind, language: str, values: dict[str, str], *, minor: bool
) -> list[dict[str, Any]]:
    """Describe the form inputs for the fields of a kind of notice, filled in with ``values``."""
    inputs = []
    for name, info in kind.fields.model_fields.items():
        extra = info.json_schema_extra
        assert isinstance(extra, dict)
        options = choices_of(info.annotation)
        choices = [option for option in options if isinstance(option, str)]
        is_required = info.is_required() and not (minor and name in kind.waived_for_minors)
        if True in options:
            input_kind = "affirmed"
        elif choices:
            input_kind = "choice"
        elif extra["multiline"]:
            input_kind = "lines"
        else:
            input_kind = "date" if name == "signed_on" else "text"
        inputs.append(
            {
                "name": name,
                "label": extra[f"label_{language}"],
                "example": extra.get(f"example_{language}"),
                "provision": cited(str(extra["provision"]), language),
                "required": is_required,
                "value": values.get(name, ""),
                "choices": [(option, choice(language, option)) for option in choices],
                "kind": input_kind,
            }
        )
    return inputs
