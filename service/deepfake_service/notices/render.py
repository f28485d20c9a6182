"""A notice as plain text for pasting into a form, and as a PDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib.resources import files
from typing import Any

from deepfake_service.documents.i18n import Words, words
from deepfake_service.documents.typesetting import pdf_of, readable
from deepfake_service.notices.fields import Fields
from deepfake_service.notices.kinds import Kind


@dataclass(frozen=True, slots=True)
class Basis:
    """What a notice rests on: one examined medium."""

    sha256: str
    verdict: str
    finding: str | None
    job: str
    edition: int
    examined_at: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and lines of text."""

    heading: str
    lines: list[str]


@dataclass(frozen=True, slots=True)
class Composed:
    """A notice in words."""

    title: str
    opening: str
    sections: list[Section]

    def text(self) -> str:
        """As plain text."""
        parts = [self.title, "", self.opening]
        for section in self.sections:
            parts += ["", section.heading, *(f"  {line}" for line in section.lines)]
        return "\n".join(parts) + "\n"

    def pdf(self, language: str, at: datetime, issuer: str) -> bytes:
        """As a PDF/A."""
        template = (files("deepfake_service.notices") / "templates" / "notice.typ").read_bytes()
        data = {
            "title": self.title,
            "opening": self.opening,
            "sections": [
                {"heading": s.heading, "lines": [readable(line) for line in s.lines]}
                for s in self.sections
            ],
            "lang": language,
            "issuer": readable(issuer),
            "date": at.strftime("%Y-%m-%d"),
        }
        return pdf_of(template, data, at)


def compose(
    kind: Kind,
    fields: Fields,
    occurrences: Sequence[dict[str, Any]],
    basis: Sequence[Basis],
    *,
    language: str,
    recipient: str | None,
    reference: str | None,
    minor: bool,
) -> Composed:
    """Put a notice into words: those of a person, where they state or sign, are theirs alone."""
    t = words(language, "notice")
    sections = [Section(t("by"), [kind.provision])]
    if recipient:
        sections.insert(0, Section(t("to"), [recipient]))
    if minor:
        sections.append(Section("!", [t("minor", route=t.of("routes", kind.id))]))
    sections.append(Section(t("about"), [_where(o, t) for o in occurrences]))
    for name, info in type(fields).model_fields.items():
        value = getattr(fields, name)
        if value is None:
            continue
        extra = info.json_schema_extra
        assert isinstance(extra, dict)
        heading = f"{extra[f'label_{language}']} ({extra['provision']})"
        sections.append(Section(heading, _value(value, t)))
    sections.append(Section(t("evidence"), _evidence(basis, t, language)))
    if reference:
        sections.append(Section(t("case"), [reference]))
    return Composed(t.of("titles", kind.id), t.of("openings", kind.id), sections)


def _where(o: dict[str, Any], t: Words) -> str:
    parts = [o["source_url"] or t("no_url"), o["platform"], o["account"], o["captured_at"]]
    return " · ".join(p for p in parts if p)


def _value(value: object, t: Words) -> list[str]:
    if value is True:
        return [t("yes")]
    if isinstance(value, date):
        return [value.isoformat()]
    text = str(value)
    choice_ = t.of("choices", text)
    return text.splitlines() if choice_ == text else [choice_]


def _evidence(basis: Sequence[Basis], t: Words, language: str) -> list[str]:
    w = words(language)
    lines = []
    for b in basis:
        lines.append(
            t(
                "evidence_line",
                sha256=b.sha256,
                verdict=w.of("verdicts", b.verdict),
                date=b.examined_at[:10],
                job=b.job,
                edition=b.edition,
            )
        )
        found = t("unreviewed")
        if b.finding:
            found = t("reviewed", finding=w.of("findings", b.finding))
        lines.append(found)
    return [*lines, t("rates")]


def choice(language: str, value: str) -> str:
    """One of the values that a field may have, in words."""
    return words(language, "notice").of("choices", value)
