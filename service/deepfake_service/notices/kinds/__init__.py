"""The kinds of notices, one folder each: ``manifest.toml`` says all that tells a kind from others.

Forms, the API, the console's lists and the table in ``docs/notices.md`` follow from the manifests.
The name of the folder, with hyphens, is the id that is stored.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    create_model,
)

from deepfake_service.cases.posts import Post
from deepfake_service.platform.errors import FieldError, InvalidRequest, NotFound
from deepfake_service.platform.texts.fields import TYPES, field_error_of

MANIFEST = "manifest.toml"
MINOR_NEEDS = (
    "choose child or youth sexual exploitation material, because a person shown may be a minor"
)

CLAIMS_MANIPULATION = (
    "a notice that rests on a statement about consent cannot claim that the content is manipulated"
)


class _Part(BaseModel):
    """A part of a manifest, in which a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Bilingual(_Part):
    """A text in both languages. Korean ones address their reader politely, as letters do."""

    en: str = Field(description="In English.")
    ko: str = Field(description="In Korean.")

    def of(self, language: str) -> str:
        """Return the text in a language."""
        return self.ko if language == "ko" else self.en


class Choice(Bilingual):
    """One of the values of a field, with the text for it."""

    value: str


class NoticeField(_Part):
    """One field of a kind of notice. The service states nothing for anyone: only a form begins with
    ``default``, and the API has no defaults."""

    type: Literal[
        "text", "statement", "email", "phone", "date", "signature", "affirmation", "choice"
    ]
    label: Bilingual
    provision: Bilingual
    """The provision that requires the field."""
    optional: bool = False
    waived_for_minors: bool = False
    """May be left out if a person shown may be a minor."""
    for_minors: str | None = None
    """The one of its ``choices`` that is needed if a person shown may be a minor."""
    earlier: bool = False
    """Tells of the earlier notice: a form begins with what the records say of it."""
    claims_manipulation: str | bool | None = None
    """The value that claims that the content is manipulated: a notice about what is shared without
    consent cannot have it."""
    default: str | None = None
    """The one of its ``choices`` that a form begins with."""
    replaces_url: bool = False
    """Says where content is that has no URL."""
    contact: Literal["name", "email", "phone"] | None = None
    """The contact of the sender that a form begins with."""
    example: Bilingual | None = None
    choices: tuple[Choice, ...] = ()

    def declaration(self) -> tuple[object, object]:
        """Return the type of the field and its description, as Pydantic takes them."""
        values = tuple(choice.value for choice in self.choices)
        kind = TYPES[self.type] if self.type != "choice" else Literal[values]
        if self.optional or self.waived_for_minors:
            kind = kind | None
        about: dict[str, JsonValue] = {
            "provision": self.provision.en,
            "provision_ko": self.provision.ko,
            "label_ko": self.label.ko,
            "label_en": self.label.en,
            "multiline": self.type == "statement",
        }
        if self.example:
            about |= {"example_ko": self.example.ko, "example_en": self.example.en}
        default = None if self.optional else ...
        return kind, Field(default, description=self.label.en, json_schema_extra=about)


class Kind(_Part):
    """One kind of notice, as its manifest states it."""

    id: str
    country: str
    """Code of the country or union whose law it rests on; ``any`` for a treaty."""
    language: Literal["ko", "en"] = "ko"
    """The language of its addressees."""
    recipient: Literal["platform", "authority", "search_engine"]
    """A platform is told of its own posts only."""
    follows: tuple[str, ...] = ()
    """Ids of the kinds that it can follow, where these were not acted on."""
    recipient_name: Bilingual | None = None
    """The recipient, where there is only one."""
    needs: tuple[Literal["url", "screenshot"], ...] = ()
    """What each post needs."""
    hours_to_act: int | None = None
    """Time from sending within which the recipient is to act; left out if the law sets none."""
    outcomes: tuple[str, ...]
    """The ``NoticeState`` that it can end in, besides being withdrawn."""
    template: str | None = None
    """The Typst template in its folder, where the law has a form; other kinds are letters."""
    name: Bilingual
    """How the console calls it."""
    law: Bilingual
    deadline: Bilingual
    """Where ``hours_to_act`` comes from, or what the law says instead."""
    title: Bilingual
    opening: Bilingual
    if_minor: Bilingual
    """Where to report that a person shown may be a minor."""
    fields: dict[str, NoticeField]
    form: dict[str, Bilingual] = {}
    """The texts of its template."""

    @property
    def removes(self) -> bool:
        """Whether its recipient can remove the content, so that its posts are looked at."""
        return "removed" in self.outcomes

    @property
    def needs_screenshot(self) -> bool:
        """Whether each post needs a screenshot, which the PDF then shows."""
        return "screenshot" in self.needs

    @property
    def waived_for_minors(self) -> list[str]:
        """Names of the fields that may be left out if a person shown may be a minor."""
        return [name for name, field in self.fields.items() if field.waived_for_minors]

    @cached_property
    def model(self) -> type[BaseModel]:
        """The Pydantic model of its fields."""
        declared = {name: field.declaration() for name, field in self.fields.items()}
        model: type[BaseModel] = create_model(  # type: ignore[call-overload]
            self.id, __base__=_Part, __doc__=self.law.en, __module__=__name__, **declared
        )
        return model

    def check(
        self,
        given: Mapping[str, object],
        posts: Sequence[Post],
        *,
        minor: bool,
        manipulated: bool = True,
    ) -> dict[str, object]:
        """Return the fields of a notice about ``posts``, validated, as JSON; ``InvalidRequest``,
        naming every field that is missing or invalid.

        Args:
            minor: whether a person shown may be a minor.
            manipulated: whether the notice may claim that the content is manipulated.
        """
        invalid: list[FieldError] = []
        content = dict(given)
        if minor:
            content = dict.fromkeys(self.waived_for_minors) | content
        fields: dict[str, object] = {}
        try:
            fields = self.model.model_validate(content).model_dump(mode="json")
        except ValidationError as error:
            for e in error.errors(include_input=False, include_url=False):
                name = ".".join(str(p) for p in e["loc"]) or "fields"
                invalid.append(field_error_of(f"fields.{name}", e))
        for name, field in self.fields.items():
            value = fields.get(name)
            if fields and not minor and field.waived_for_minors and value is None:
                invalid.append(FieldError(f"fields.{name}", "missing; add it"))
            if fields and minor and field.for_minors not in (None, value):
                invalid.append(FieldError(f"fields.{name}", MINOR_NEEDS))
            if not manipulated and value is not None and value == field.claims_manipulation:
                invalid.append(FieldError(f"fields.{name}", CLAIMS_MANIPULATION))
        if not posts:
            invalid.append(FieldError("occurrence_ids", "choose at least one post"))
        invalid += [
            FieldError(f"occurrences.{post.id}.{name}", "missing; add it")
            for post in posts
            for name in self.missing_of(post, content, minor=minor)
        ]
        if invalid:
            names = ", ".join(e.field for e in invalid)
            raise InvalidRequest(f"Missing or invalid fields: {names}.", errors=invalid)
        return fields

    def missing_of(self, post: Post, given: Mapping[str, object], *, minor: bool) -> list[str]:
        """Return what a post lacks, ``source_url`` and ``screenshot``. The fields ``given`` in the
        notice may say where content without a URL is."""
        elsewhere = any(given.get(n) for n, field in self.fields.items() if field.replaces_url)
        needed = {
            "source_url": "url" in self.needs and not elsewhere,
            "screenshot": self.needs_screenshot and not minor,
        }
        return [name for name, is_needed in needed.items() if is_needed and not getattr(post, name)]


def _load() -> dict[str, Kind]:
    """Read the manifests: platforms' kinds first."""
    kinds = [
        Kind(
            id=folder.name.replace("_", "-"),
            **tomllib.loads((folder / MANIFEST).read_text(encoding="utf-8")),
        )
        for folder in files(__name__).iterdir()
        if (folder / MANIFEST).is_file()
    ]
    kinds.sort(key=lambda kind: (kind.recipient != "platform", kind.id))
    return {kind.id: kind for kind in kinds}


KINDS = _load()


def kind_of(name: str) -> Kind:
    """Return the kind of notice with the id ``name``; ``NotFound`` if there is no such kind."""
    try:
        return KINDS[name]
    except KeyError as error:
        raise NotFound from error
