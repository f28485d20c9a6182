"""The text fields that accompany media, as Pydantic models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from deepfake_service.capture.shapes import CollectorNotes
from deepfake_service.cases.cases import PostDetails, canonical_reference
from deepfake_service.examination.submissions import MAX_FRAMES, Submission
from deepfake_service.http.multipart import MAX_NAME_CHARS, MULTIPART, base_name
from deepfake_service.http.schemas import Body
from deepfake_service.platform.answers import EXAMPLE_ID
from deepfake_service.platform.clock import CLIENT_SKEW, utc_now
from deepfake_service.platform.enums import CallbackContent, Priority, RetentionPolicy
from deepfake_service.platform.webhooks import Callback


def _printable(value: str) -> str:
    if not value.isprintable():
        raise PydanticCustomError("not_printable", "use printable characters only")
    return value


def _undamaged(value: str) -> str:
    # A decoder puts it for bytes that it cannot read: different references become the same.
    if "\ufffd" in value:
        raise PydanticCustomError("damaged_text", "has U+FFFD for lost letters; send it as UTF-8")
    return value


def _web_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+\S*", value):
        raise PydanticCustomError("not_a_url", "send a URL that begins with http:// or https://")
    return value


def _moment(value: str) -> str:
    try:
        at = datetime.fromisoformat(value)
        if at.tzinfo is not None:
            at = at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError(
            "not_a_time", "send a time in ISO 8601, for example 2026-01-31T12:00:00Z"
        ) from None
    if at.tzinfo is None:
        raise PydanticCustomError("no_time_zone", "add a time zone; end the time with Z for UTC")
    if at > utc_now() + CLIENT_SKEW:
        raise PydanticCustomError("in_the_future", "send a time that is not in the future")
    return at.isoformat()


def _whole_number(value: object) -> object:
    """Accept integers and decimal digits: Pydantic would also take "1_000", " 8 " and "8.0"."""
    if isinstance(value, str) and re.fullmatch("0|[1-9][0-9]{0,17}", value):
        value = int(value)
    if type(value) is not int:  # from JSON; a bool is none
        raise PydanticCustomError("int", "must be a whole number")
    return value


Line = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
WHOLE_NUMBER = BeforeValidator(_whole_number)
CaseReference = Annotated[
    Annotated[Line, AfterValidator(_undamaged)] | None,
    BeforeValidator(lambda value: canonical_reference(value) if isinstance(value, str) else value),
]
WebAddress = Annotated[
    str, Field(max_length=4096), AfterValidator(_printable), AfterValidator(_web_address)
]
SeenAt = Annotated[str, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]
Note = Annotated[str, Field(max_length=2000), AfterValidator(_printable)]
Id = Annotated[str, Field(max_length=26), AfterValidator(_printable)]
FrameCount = Annotated[int, Field(ge=1, le=MAX_FRAMES), WHOLE_NUMBER]
FileName = Annotated[str, Field(max_length=MAX_NAME_CHARS), AfterValidator(base_name)]


class SightingForm(Body, frozen=True):
    """Where and when a medium was seen."""

    source_url: WebAddress | None = Field(None, examples=["https://example.org/v/1"])
    """Where it was seen."""
    platform: Line | None = Field(None, examples=["Example"])
    """Name of the platform."""
    account: Line | None = Field(None, examples=["@someone"])
    """The account that published it."""
    captured_at: SeenAt | None = Field(None, examples=["2026-01-31T12:00:00Z"])
    """When it was seen, not in the future: ISO 8601 with a time zone."""
    note: Note | None = Field(None, examples=["found by search"])
    """What the collector notes about it."""

    def sighting(self) -> PostDetails:
        """Return these fields without those that a subclass adds."""
        return PostDetails(**{name: getattr(self, name) for name in SightingForm.model_fields})


class PictureForm(SightingForm):
    """The text fields of ``POST /v1/frames``."""

    case_reference: CaseReference = Field(None, examples=["2026-0117"])
    """Your reference of the case to which this belongs. White space around it does not count."""

    def submission(self) -> Submission:
        """Return the submission of one of the pictures."""
        return Submission(
            kind="frame", case_reference=self.case_reference, sighting=self.sighting()
        )


class VideoForm(PictureForm):
    """The text fields of ``POST /v1/videos``."""

    callback_url: WebAddress | None = None
    """Called with a signed webhook when the job ends, or at once if it has ended. A URL that the
    job already has is not called again."""
    callback_content: CallbackContent = CallbackContent.IDS
    """`verdict` to be told the verdict and the case reference in the webhook as well. Without it,
    the webhook names the job, its case and its state. The first one for a URL stays."""
    priority: Priority = Priority.BATCH
    """Queue priority."""
    frames: FrameCount | None = Field(
        None, description=f"How many frames to examine, 1 to {MAX_FRAMES}.", examples=[32]
    )
    retention: RetentionPolicy = RetentionPolicy.STANDARD
    """How long the media are retained after the verdict."""

    def submission(self) -> Submission:
        """Return the submission of the video."""
        url = self.callback_url
        return Submission(
            case_reference=self.case_reference,
            sighting=self.sighting(),
            callback=Callback(url, self.callback_content) if url else None,
            priority=self.priority,
            frames=self.frames,
            retention=self.retention,
        )

    @field_validator("callback_content")
    @classmethod
    def _has_address(cls, value: CallbackContent, info: ValidationInfo[object]) -> CallbackContent:
        if info.data.get("callback_url") is None:
            raise PydanticCustomError("no_callback", "send a callback_url with it")
        return value


class UploadForm(VideoForm):
    """What an upload that was sent in parts is."""

    file_name: FileName | None = Field(None, examples=["clip.mp4"])
    """The name of the file, as lists show it."""

    def submission(self) -> Submission:
        return replace(super().submission(), file_name=self.file_name or None)


class OccurrenceForm(SightingForm):
    """The text fields of ``POST /v1/cases/{case_id}/occurrences``."""

    media_id: Id | None = Field(None, examples=[EXAMPLE_ID])
    """The medium; may be left out if the case has only one."""
    tool: Line | None = Field(None, examples=["crawler 1.2"])
    """The program that captured it."""


class LookForm(Body, frozen=True):
    """The text fields of ``POST /v1/cases/{case_id}/occurrences/{occurrence_id}/looks``."""

    result: Literal["gone", "up", "restricted", "blocked_here"] | None = None
    """What you saw when you looked yourself. Unset: the service looks, as soon as the site may be
    asked again."""
    seen_at: SeenAt | None = None
    """When you looked, if not now, and after the post was recorded: ISO 8601 with a time zone."""
    note: Note | None = None
    """Your note, for example with which device you looked."""


class CaptureForm(SightingForm):
    """The text fields of ``POST /v1/captures``: what is known of the page, and who captured it."""

    case_reference: CaseReference = Field(None, examples=["2026-0117"])
    """Your reference of the case."""
    case_id: Id | None = Field(None, examples=[EXAMPLE_ID])
    """The case, in place of a reference; it must exist."""
    title: Line | None = None
    """Title of the post or page."""
    captured_by: Line | None = Field(None, examples=["J. Kim"])
    """Who captured it, if another person."""
    device: Line | None = Field(None, examples=["phone, Android 15"])
    """With which device."""
    reached: Line | None = Field(
        None, examples=["signed in to Telegram Web with an account of the centre"]
    )
    """How the page was reached."""
    full_page: Literal["true", "false"] = "false"
    """Whether the first screenshot shows the whole page, with its address and the time."""
    examine: Literal["all", "chosen", "never"] = "chosen"
    """`all` to have every picture and video of the page examined at once. `never` to keep one
    picture or video, in `file` alone, to compare items of the case with."""
    callback_url: WebAddress | None = None
    """Called with a signed webhook when the page was read or refused, and when a job of what is in
    it ends."""

    def handed_in(self) -> CollectorNotes:
        """Return what is said about the capture."""
        told = self.model_dump(include={"title", "captured_by", "device", "reached"})
        shows_page, examines_all = self.full_page == "true", self.examine == "all"
        return CollectorNotes(
            self.sighting(), **told, full_page=shows_page, examine_all=examines_all
        )

    @field_validator("case_id")
    @classmethod
    def _has_one_case(cls, value: str | None, info: ValidationInfo[object]) -> str | None:
        if value is not None and info.data.get("case_reference") is not None:
            raise PydanticCustomError("two_cases", "send either this or case_reference")
        return value


REF = "#/components/schemas/{model}"


def form_schema(form: type[BaseModel]) -> dict[str, dict[str, object]]:
    """Return the OpenAPI schemas of a form's fields, all of which are sent as text."""
    schema = form.model_json_schema()
    properties = {}
    for name, field in schema["properties"].items():
        kinds = [k for k in field.pop("anyOf", [field]) if k.get("type") != "null"]
        kind = {k: v for k, v in kinds[0].items() if k not in ("default", "title")}
        if "$ref" in kind:
            kind = {"$ref": f"#/components/schemas/{kind['$ref'].rpartition('/')[2]}"}
        examples = field.get("examples")
        properties[name] = {
            **kind,
            **({"examples": examples} if examples else {}),
            "description": " ".join(field["description"].split()),
        }
    return properties


def upload_body(
    title: str,
    form: type[BaseModel],
    files: Mapping[str, object],
    *,
    required: bool = True,
) -> dict[str, object]:
    """Return the OpenAPI description of a multipart body with a form and files by their fields, of
    which the first one may be required."""
    schema = {
        "title": title,
        "type": "object",
        **({"required": list(files)[:1]} if required else {}),
        "properties": {**files, **form_schema(form)},
    }
    return {"requestBody": {"required": True, "content": {MULTIPART: {"schema": schema}}}}
