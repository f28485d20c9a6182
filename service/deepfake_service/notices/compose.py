"""The text of notices, for pasting into a form, and their PDFs: letters, or statutory forms."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from deepfake_service.cases.posts import Post
from deepfake_service.evidence.bundle.signs import Signs, sign_lines
from deepfake_service.notices.kinds import Kind, NoticeField
from deepfake_service.platform.clock import Day
from deepfake_service.platform.texts.characters import readable, revealed, revealed_url
from deepfake_service.platform.texts.fields import Text
from deepfake_service.platform.texts.formatting import attributed, day, to_the_second
from deepfake_service.platform.texts.i18n import Words, words
from deepfake_service.platform.texts.typesetting import pdf_of

MAX_CAPTURES = 50
"""Screenshots in one PDF, of up to 1 MB each. The ZIP of a notice has all of them."""


@dataclass(frozen=True, slots=True)
class Basis:
    """The finding about one file, and its examination."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    sha256: str
    """SHA-256 of the file."""
    finding: str
    """The finding of the reviewers."""
    reviewers: int
    """How many reviewers found it."""
    reasons: list[str]
    """Their reasons, as they wrote them; empty unless the notice is to have them."""
    verdict: str
    """The conclusion of the model."""
    job: str
    """Id of the job."""
    edition: int
    """Number of the edition of its evidence."""
    examined_at: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When the examination ended."""
    report: bool
    """Whether its report is enclosed."""
    without_pictures: int = 0
    """From how many of them the pictures were withheld, as a person shown may be a minor."""
    is_part: bool = False
    """Whether only a part of a video, chosen by a person, was examined."""
    signs: Signs = ()
    """The signs of manipulation that they saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithoutConsent:
    """That files are shared without consent, whether manipulated or not: a person's statement."""

    __pydantic_config__ = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    stated_by: Literal["person", "representative"]
    """Who stated it: the person shown, or a representative."""
    stated_on: Day
    """The day on which it was stated."""
    record: Text
    """Where the statement is recorded. The recipient is not told."""

    def stored(self) -> dict[str, str]:
        """Return it as JSON."""
        return {**asdict(self), "stated_on": self.stated_on.isoformat()}


@dataclass(frozen=True, slots=True)
class NoticeSubject:
    """What a notice is about, and to whom it is addressed."""

    posts: Sequence[Post]
    basis: Sequence[Basis]
    """Empty if it rests on a statement."""
    without_consent: WithoutConsent | None = None
    files: Sequence[str] = ()
    """SHA-256 of the files that it is about."""
    recipient: str | None = None
    reference: str | None = None
    minor: bool = False
    """A person shown may be a minor."""
    captures: str | None = None
    """How the PDF shows the screenshots: ``clear`` or ``blurred``; ``None`` if it does not."""

    @property
    def reports(self) -> int:
        """How many reports of examinations are sent with it."""
        return len({b.job for b in self.basis if b.report})


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a notice, or a field of its kind."""

    heading: str
    lines: list[str]
    name: str
    """Of the field or part."""
    provision: str | None
    """What requires the field."""


@dataclass(frozen=True, slots=True)
class ComposedNotice:
    """What a notice says."""

    title: str
    opening: str
    """The first paragraph."""
    sections: list[Section]


def compose(
    kind: Kind, fields: Mapping[str, object], subject: NoticeSubject, *, language: str
) -> ComposedNotice:
    """Write a notice with fields as ``Kind.check`` returns them. What a person states or signs is
    in their own words, unchanged."""
    # A letter: in Korean it addresses its recipient politely, unlike a report.
    t = words(language, "notice", polite=True)
    sections: list[Section] = []

    def add(name: str, lines: list[str], heading: str = "", provision: str | None = None) -> None:
        sections.append(Section(heading or t(name), lines, name, provision))

    if subject.recipient:
        add("to", [revealed(subject.recipient)])
    add("by", [kind.law.of(language)])
    if subject.minor:
        add("important", [t("minor", route=kind.if_minor.of(language))])
    add("finding", _grounds(subject, t))
    add("about", _places(subject.posts, t))
    for name, field in kind.fields.items():
        if fields.get(name) is not None:
            lines = _lines(field, fields[name], t)
            add(name, lines, field.label.of(language), field.provision.of(language))
    add("evidence", _evidence(subject, t))
    if enclosed := _enclosed(subject, t):
        add("enclosed", enclosed)
    if subject.reference:
        add("case", [revealed(subject.reference)])
    return ComposedNotice(kind.title.of(language), kind.opening.of(language), sections)


def text_of(composed: ComposedNotice) -> str:
    """Return what ``compose`` wrote as plain text."""
    parts = [composed.title, "", composed.opening]
    for section in composed.sections:
        provision = f" ({section.provision})" if section.provision else ""
        parts += ["", f"{section.heading}{provision}", *(f"  {i}" for i in section.lines)]
    return "\n".join(parts) + "\n"


def _in_line(text: str) -> str:
    """Return what others wrote on one line, in which runs of spaces cannot begin another one."""
    return revealed(" ".join(text.split()))


def _places(posts: Sequence[Post], t: Words) -> list[str]:
    lines = []
    for number, post in enumerate(posts, 1):
        url, claimed, captured = post.source_url, post.claimed, post.captured_at
        place = attributed("source_url", revealed_url(url), claimed, t) if url else t("no_url")
        lines.append(f"{number}. {place}" if len(posts) > 1 else place)
        # Written by others: an account may be called anything.
        known = (
            ("platform", _in_line(post.platform or "")),
            ("account", _in_line(post.account or "")),
            ("captured_at", to_the_second(captured, t.language) if captured else ""),
        )
        lines += [
            f"{t(name)}: {attributed(name, text, claimed, t)}" for name, text in known if text
        ]
    return lines


def _lines(field: NoticeField, value: object, t: Words) -> list[str]:
    if value is True:
        return [t("yes")]
    chosen = [c.of(t.language) for c in field.choices if c.value == value]
    return chosen or str(value).splitlines()


def _grounds(subject: NoticeSubject, t: Words) -> list[str]:
    """Return what people found, before what the examination says; or what a person stated."""
    if consent := subject.without_consent:
        on = consent.stated_on.isoformat()
        return [t("without_consent"), t(f"stated_by_{consent.stated_by}", date=on)]
    w = words(t.language)
    alike: dict[tuple[str, ...], list[str]] = {}
    for number, b in enumerate(subject.basis, 1):
        told = [t("reviewed", finding=w.of("findings", b.finding), count=b.reviewers)]
        if b.without_pictures:
            told.append(t("without_pictures", count=b.without_pictures))
        told += [t("sign", sign=line) for line in sign_lines(b.signs, w)]
        told += [t("reason", reason=_in_line(r)) for r in b.reasons]
        told.append(t("automatic", verdict=w.of("verdicts", b.verdict)))
        if b.is_part:
            told.append(t("automatic_part"))
        alike.setdefault(tuple(told), []).append(str(number))
    lines = []
    for told_alike, numbers in alike.items():
        if len(alike) > 1:
            lines.append(t("files", numbers=", ".join(numbers)))
        lines += told_alike
    return lines


def _evidence(subject: NoticeSubject, t: Words) -> list[str]:
    lines = [t("file", sha256=sha256) for sha256 in subject.files if not subject.basis] + [
        t(
            "evidence_line",
            sha256=b.sha256,
            date=day(datetime.fromisoformat(b.examined_at), t.language),
            job=b.job,
            edition=b.edition,
        )
        for b in subject.basis
    ]
    if len(lines) > 1:
        lines = [f"{number}. {line}" for number, line in enumerate(lines, 1)]
    if not subject.basis:
        return lines
    return [*lines, t("rates" if subject.reports else "rates_alone")]


def _enclosed(subject: NoticeSubject, t: Words) -> list[str]:
    lines = []
    if subject.captures:
        count = len(subject.posts)
        lines.append(t(f"captures_{subject.captures}", count=min(count, MAX_CAPTURES)))
        if count > MAX_CAPTURES:
            lines.append(t("captures_more"))
    if subject.reports:
        lines.append(t("reports", count=subject.reports))
    return lines


@dataclass(frozen=True, slots=True, repr=False)
class Capture:
    """A screenshot of a post, as a page of the PDF shows it."""

    post: Post
    sha256: str | None = None
    """Of the stored file; ``None`` if it was deleted."""
    jpeg: bytes | None = None
    """The picture; ``None`` if it was deleted or could not be decoded."""
    size: tuple[int, int] = (0, 0)
    blurred: bool = False


def notice_pdf(kind: Kind, data: dict[str, object], at: datetime) -> bytes:
    """Return a notice that was made ``at`` a time as a PDF/A of what ``notice_data`` returned."""
    room = files("deepfake_service.notices")
    shared, letter = room / "templates" / "shared.typ", room / "templates" / "letter.typ"
    folder = room / "kinds" / kind.id.replace("-", "_")
    template = folder / kind.template if kind.template else letter
    return pdf_of(shared.read_bytes() + template.read_bytes(), data, at)


def notice_data(
    kind: Kind,
    composed: ComposedNotice,
    language: str,
    at: datetime,
    sender: Sequence[str],
    captures: Sequence[Capture] = (),
) -> dict[str, object]:
    """Return the texts and pictures of a notice's PDF: the cells of a form, or rows of a letter,
    and a page for each capture. The ``sender`` has a name, and lines on how it is reached."""
    name, *reached_at = map(readable, sender)
    t = words(language, "notice", polite=True)
    return {
        "title": composed.title,
        "opening": composed.opening,
        "lang": language,
        "characters_note": words(language, polite=True)("characters_note"),
        "issuer": name,
        "sender": reached_at,
        "date": day(at, language),
        "captures": [_capture(c, number, len(captures), t) for number, c in enumerate(captures, 1)],
        **(
            _form(kind, composed, t)
            if kind.template
            else {"rows": [_row(s) for s in composed.sections]}
        ),
    }


def _row(section: Section) -> dict[str, object]:
    return {
        "label": readable(section.heading),
        "provision": section.provision and readable(section.provision),
        "lines": [readable(line) for line in section.lines],
    }


def _form(kind: Kind, composed: ComposedNotice, t: Words) -> dict[str, object]:
    cells = {s.name: [readable(line) for line in s.lines] for s in composed.sections}
    texts = {name: text.of(t.language) for name, text in kind.form.items()}
    dates = {
        name: date.fromisoformat(cells[name][0])
        for name, field in kind.fields.items()
        if field.type == "date" and name in cells
    }
    return {
        "cells": cells,
        "choices": {
            name: [
                {"text": c.of(t.language), "is_marked": c.of(t.language) in cells.get(name, ())}
                for c in field.choices
            ]
            for name, field in kind.fields.items()
            if field.choices
        },
        "dates": {
            name: texts["date"].format(year=at.year, month=at.month, day=at.day)
            for name, at in dates.items()
        },
        "addressee": texts["addressee"].format(name=cells["to"][0]) if "to" in cells else None,
        "texts": texts,
        "words": t.plain,
    }


def _capture(capture: Capture, number: int, count: int, t: Words) -> dict[str, object]:
    post = capture.post
    url = readable(revealed_url(post.source_url)) if post.source_url else t("no_url")
    at = to_the_second(post.captured_at or post.recorded_at, t.language)
    if not post.captured_at:
        at = t("no_capture_time", at=at)
    rows = [
        (t("capture_url"), attributed("source_url", url, post.claimed, t)),
        (t("captured_at"), attributed("captured_at", at, post.claimed, t)),
    ]
    if capture.sha256:
        rows.append((t("capture_sha256"), capture.sha256))
    note = t("capture_blurred") if capture.blurred else None
    if capture.jpeg is None:
        note = t("capture_unreadable" if capture.sha256 else "capture_gone")
    return {
        "heading": t("capture_heading", number=number, count=count),
        "rows": rows,
        "picture": capture.jpeg and _svg(capture.jpeg, *capture.size),
        "alt": t("capture_heading", number=number, count=count),
        "note": note,
    }


def _svg(jpeg: bytes, width: int, height: int) -> str:
    """Return an SVG that holds a picture: texts are all that Typst takes from its caller."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><image width="{width}" height="{height}" '
        f'href="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"/></svg>'
    )
