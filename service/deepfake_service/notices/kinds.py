"""The kinds of notices: their fields, legal basis, and the time within which to act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from deepfake_service.documents.characters import HiddenCharacter
from deepfake_service.errors import FieldError, InvalidRequest, NotFound
from deepfake_service.notices.fields import (
    MIN_SIGNATURE_CHARS,
    STATEMENT_TOO_SHORT,
    Budapest29,
    EuDsa16,
    Fields,
    KrD4u,
    KrTba225,
    UsTakeItDown,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of notice."""

    id: str
    fields: type[Fields]
    provision: str
    time_to_act: timedelta | None
    """Time from sending within which the addressee is to act; ``None`` if the law sets none."""
    time_to_act_basis: str
    """The provision or target that ``time_to_act`` comes from."""
    needs_url: bool = True
    needs_screenshot: bool = False
    waived_for_minors: tuple[str, ...] = ()
    """Fields that may be left out if a person shown may be a minor."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the fields, each with the provision that requires it."""
        return self.fields.model_json_schema()

    def to_json(self) -> dict[str, Any]:
        """Return the kind as the HTTP interface describes it."""
        return {
            "kind": self.id,
            "provision": self.provision,
            "clock_hours": self.time_to_act and self.time_to_act.total_seconds() / 3600,
            "clock_basis": self.time_to_act_basis,
            "needs_url": self.needs_url,
            "needs_screenshot": self.needs_screenshot,
            "waived_for_minors": list(self.waived_for_minors),
            "fields": self.schema(),
        }


KINDS = {
    kind.id: kind
    for kind in (
        Kind(
            "eu-dsa-16",
            EuDsa16,
            "Regulation (EU) 2022/2065, Article 16(2)",
            None,
            "Article 16(6): in a timely, diligent, non-arbitrary and objective manner",
            waived_for_minors=("notifier_name", "notifier_email"),
        ),
        Kind(
            "us-take-it-down",
            UsTakeItDown,
            "TAKE IT DOWN Act, s. 3(a)(1)",
            timedelta(hours=48),
            "s. 3(a)(3): removed within 48 hours",
        ),
        Kind(
            "kr-tba-22-5",
            KrTba225,
            "전기통신사업법 제22조의5제1항, 시행령 제30조의5",
            timedelta(hours=24),
            "법률상 지체 없이 조치하여야 함(24시간은 심의 기관의 처리 목표)",
            needs_url=False,
            needs_screenshot=True,
        ),
        Kind(
            "kr-d4u",
            KrD4u,
            "성폭력방지 및 피해자보호 등에 관한 법률 제7조의3 삭제지원",
            None,
            "정해진 기한 없음",
        ),
        Kind(
            "budapest-29",
            Budapest29,
            "Convention on Cybercrime (ETS 185), Article 29(2)",
            timedelta(days=60),
            "Article 29(7): preserved for at least 60 days, within which mutual assistance is "
            "asked for",
            needs_url=False,
        ),
    )
}


def kind_of(name: str) -> Kind:
    """Return the kind of notice with the id ``name``.

    Raises:
        NotFound: there is no such kind.
    """
    try:
        return KINDS[name]
    except KeyError as error:
        raise NotFound from error


def checked(
    kind: Kind,
    given: Mapping[str, Any],
    occurrences: Sequence[Mapping[str, Any]],
    *,
    minor: bool,
) -> Fields:
    """Validate the fields of a notice about ``occurrences``.

    Raises:
        InvalidRequest: naming every field that is missing or invalid.
    """
    invalid: list[FieldError] = []
    content = dict(given)
    if minor:
        for name in kind.waived_for_minors:
            content.setdefault(name, None)
    fields = None
    try:
        fields = kind.fields.model_validate(content)
    except ValidationError as error:
        for e in error.errors(include_input=False, include_url=False):
            name = ".".join(str(p) for p in e["loc"]) or "fields"
            invalid.append(field_error_of(f"fields.{name}", e))
    if fields is not None and not minor:
        invalid += [
            FieldError(f"fields.{name}", "missing")
            for name in kind.waived_for_minors
            if getattr(fields, name) is None
        ]
    if isinstance(fields, KrTba225) and minor and fields.reason != "child_sexual_exploitation":
        detail = (
            "choose child or youth sexual exploitation material, because a person shown may be a "
            "minor"
        )
        invalid.append(FieldError("fields.reason", detail))
    invalid += _occurrence_errors(kind, content, occurrences, minor=minor)
    if invalid or fields is None:
        names = ", ".join(e.field for e in invalid)
        raise InvalidRequest(f"Missing or invalid fields: {names}.", errors=invalid)
    return fields


def _occurrence_errors(
    kind: Kind,
    content: Mapping[str, Any],
    occurrences: Sequence[Mapping[str, Any]],
    *,
    minor: bool,
) -> list[FieldError]:
    if not occurrences:
        return [FieldError("occurrence_ids", "choose at least one post")]
    elsewhere = bool(content.get("location_without_url"))
    return [
        FieldError(f"occurrences.{o['id']}.{name}", "missing")
        for o in occurrences
        for name in lacking(kind, o, minor=minor, elsewhere=elsewhere)
    ]


def lacking(
    kind: Kind, occurrence: Mapping[str, Any], *, minor: bool, elsewhere: bool = False
) -> list[str]:
    """Return what an occurrence lacks for a kind of notice: ``source_url`` and ``screenshot``.

    Args:
        elsewhere: whether the notice says otherwise where the content is.
    """
    needs_url = kind.needs_url or (kind.needs_screenshot and not elsewhere)
    needs_screenshot = kind.needs_screenshot and not minor
    needed = {"source_url": needs_url, "screenshot": needs_screenshot}
    return [name for name, is_needed in needed.items() if is_needed and not occurrence[name]]


def field_error_of(name: str, error: Any) -> FieldError:
    """Return what is wrong with a field."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, HiddenCharacter):
        return FieldError(name, str(cause), HiddenCharacter.TEMPLATE, cause.values)
    return FieldError(name, _explanation(error))


def _explanation(error: Any) -> str:
    """Return what is wrong with a field, in words that do not repeat its value."""
    if error["type"] == "missing":
        return "missing"
    if error["type"] == "extra_forbidden":
        return "not a field of this kind of notice"
    if error["type"] == "literal_error" and error["ctx"]["expected"] == "True":
        return "tick this box: only the person making the notice can state this"
    if error["type"] == "string_too_short" and error["ctx"]["min_length"] == 1:
        return "required"
    if error["type"] == "string_too_short" and error["ctx"]["min_length"] > MIN_SIGNATURE_CHARS:
        return STATEMENT_TOO_SHORT
    if error["type"] == "string_too_short":
        return f"at least {error['ctx']['min_length']} characters are required"
    if error["type"] == "string_too_long":
        return f"at most {error['ctx']['max_length']} characters are allowed"
    if error["type"] == "string_pattern_mismatch":
        return "not a valid address or number"
    return str(error["msg"]).removeprefix("Value error, ")
