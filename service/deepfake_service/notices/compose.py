"""The text of notices, for pasting into a form; ``notices/pdf.py`` sets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from deepfake_service.notices.kinds import Kind, NoticeField
from deepfake_service.platform.texts.characters import revealed, revealed_url
from deepfake_service.platform.texts.formatting import day, to_the_second
from deepfake_service.platform.texts.i18n import Words, words

MAX_CAPTURES = 50
"""Screenshots in one PDF, of up to 1 MB each. The ZIP of a notice has all of them."""


@dataclass(frozen=True, slots=True)
class Basis:
    """The examination of one file that a notice relies on."""

    sha256: Annotated[str, Field(description="SHA-256 of the file.")]
    verdict: Annotated[str, Field(description="The conclusion of the model.")]
    finding: Annotated[str | None, Field(description="The finding of the reviewers.")]
    job: Annotated[str, Field(description="Id of the job.")]
    edition: Annotated[int, Field(description="Number of the edition of its evidence.")]
    examined_at: Annotated[
        str,
        Field(json_schema_extra={"format": "date-time"}),
        Field(description="When the examination ended."),
    ]


@dataclass(frozen=True, slots=True)
class NoticeSubject:
    """What a notice is about, and to whom it is addressed."""

    occurrences: Sequence[dict[str, Any]]
    """``source_url``, ``platform``, ``account`` and ``captured_at`` of each place."""
    basis: Sequence[Basis]
    recipient: str | None = None
    reference: str | None = None
    minor: bool = False
    """A person shown may be a minor."""
    captures: str | None = None
    """How the PDF shows the screenshots: ``clear`` or ``blurred``; ``None`` if it does not."""
    reports: int = 0
    """How many reports of examinations are sent with it."""


@dataclass(frozen=True, slots=True)
class Section:
    """A label and lines of text."""

    heading: str
    lines: list[str]
    name: str
    """The field of the notice that it states, or its part."""
    provision: str | None = None
    """The provision that requires the field."""

    @property
    def title(self) -> str:
        """The label with the provision."""
        return f"{self.heading} ({self.provision})" if self.provision else self.heading


@dataclass(frozen=True, slots=True)
class Composed:
    """The text of a notice."""

    title: str
    opening: str
    """The first paragraph."""
    sections: list[Section]

    def text(self) -> str:
        """Return the notice as plain text."""
        parts = [self.title, "", self.opening]
        for section in self.sections:
            parts += ["", section.title, *(f"  {line}" for line in section.lines)]
        return "\n".join(parts) + "\n"


def compose(
    kind: Kind, fields: Mapping[str, Any], subject: NoticeSubject, *, language: str
) -> Composed:
    """Write a notice. What a person states or signs is in their own words, unchanged.

    Args:
        fields: as ``Kind.check`` returns them.
    """
    # A letter: in Korean it addresses its recipient politely, unlike a report.
    t = words(language, "notice", polite=True)
    sections = [Section(t("by"), [kind.law.of(language)], "by")]
    if subject.recipient:
        sections.insert(0, Section(t("to"), [revealed(subject.recipient)], "to"))
    if subject.minor:
        text = t("minor", route=kind.if_minor.of(language))
        sections.append(Section(t("important"), [text], "important"))
    sections.append(Section(t("about"), _places(subject.occurrences, t), "about"))
    sections += [
        Section(
            field.label.of(language),
            _lines(field, fields[name], t),
            name,
            field.provision.of(language),
        )
        for name, field in kind.fields.items()
        if fields.get(name) is not None
    ]
    sections.append(Section(t("evidence"), _evidence(subject, t), "evidence"))
    if enclosed := _enclosed(subject, t):
        sections.append(Section(t("enclosed"), enclosed, "enclosed"))
    if subject.reference:
        sections.append(Section(t("case"), [revealed(subject.reference)], "case"))
    return Composed(kind.title.of(language), kind.opening.of(language), sections)


def _places(occurrences: Sequence[dict[str, Any]], t: Words) -> list[str]:
    """Return the lines on where the content is: a URL, and below it what else is known."""
    lines = []
    for number, occurrence in enumerate(occurrences, 1):
        url = occurrence["source_url"]
        place = revealed_url(url) if url else t("no_url")
        lines.append(f"{number}. {place}" if len(occurrences) > 1 else place)
        captured = occurrence["captured_at"]
        # Written by others: an account may be called anything.
        known = (
            ("platform", revealed(occurrence["platform"] or "")),
            ("account", revealed(occurrence["account"] or "")),
            ("captured_at", to_the_second(captured, t.language) if captured else ""),
        )
        lines += [f"{t(name)}: {value}" for name, value in known if value]
    return lines


def _lines(field: NoticeField, value: object, t: Words) -> list[str]:
    if value is True:
        return [t("yes")]
    chosen = [c.of(t.language) for c in field.choices if c.value == value]
    return chosen or str(value).splitlines()


def _evidence(subject: NoticeSubject, t: Words) -> list[str]:
    w = words(t.language)
    lines = []
    for b in subject.basis:
        lines += [
            t(
                "evidence_line",
                sha256=b.sha256,
                verdict=w.of("verdicts", b.verdict),
                date=day(datetime.fromisoformat(b.examined_at), t.language),
                job=b.job,
                edition=b.edition,
            ),
            t("reviewed", finding=w.of("findings", b.finding)) if b.finding else t("unreviewed"),
        ]
    return [*lines, t("rates" if subject.reports else "rates_alone")]


def _enclosed(subject: NoticeSubject, t: Words) -> list[str]:
    """Return the lines on what is sent with the notice."""
    lines = []
    if subject.captures:
        count = len(subject.occurrences)
        lines.append(t(f"captures_{subject.captures}", count=min(count, MAX_CAPTURES)))
        if count > MAX_CAPTURES:
            lines.append(t("captures_more"))
    if subject.reports:
        lines.append(t("reports", count=subject.reports))
    return lines


def composed_of(stored: dict[str, Any]) -> Composed:
    """Return the text of a notice from its stored form."""
    sections = [Section(**section) for section in stored["sections"]]
    return Composed(stored["title"], stored["opening"], sections)
