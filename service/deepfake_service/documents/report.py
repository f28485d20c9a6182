"""The report of an evidence edition: a PDF/A-3 whose first page a layperson understands.

Typst sets it from a template that takes texts and values as data only, in a Korean font that comes
with a Python package. The same data gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

from deepfake_service.documents.i18n import Words
from deepfake_service.documents.report_presenter import SummaryPresenter
from deepfake_service.documents.report_tables import TablePresenter
from deepfake_service.documents.typesetting import pdf_of
from deepfake_service.documents.value_plot import value_note


@dataclass(frozen=True, slots=True)
class Signing:
    """How a report is signed."""

    certificate_sha256: str
    """The SHA-256 of the certificate of its electronic signature."""
    line: bool = False
    """Whether it also has a line on paper for whoever hands it in."""


def report(
    document: dict[str, Any],
    pictures: Mapping[str, bytes],
    custody: dict[str, Any],
    digests: Mapping[str, str],
    words: Words,
    signing: Signing,
) -> bytes:
    """Return the unsigned PDF of a ``verdict.json`` document in the language of ``words``.

    ``digests`` are the SHA-256 of the bundle's other files by name, printed so that a reader can
    compare them.
    """
    data = {
        **report_texts(document, pictures, custody, words),
        "files": [[name, digests[name]] for name in sorted(digests)],
        "command": "deepfake verify BUNDLE.zip --public-key KEY.pem --rescore",
        "certificate": signing.certificate_sha256,
        "signature_line": signing.line,
    }
    template = (files("deepfake_service.documents") / "templates" / "report.typ").read_bytes()
    return pdf_of(template, data, datetime.fromisoformat(document["created_at"]))


def report_texts(
    document: dict[str, Any], pictures: Mapping[str, bytes], custody: dict[str, Any], words: Words
) -> dict[str, Any]:
    """Return the texts, tables and pictures of a report."""
    summary, tables = SummaryPresenter(document, words), TablePresenter(document, words)
    return {
        **summary.heading(),
        **summary.page_one(),
        "pictures": summary.pictures(pictures),
        "pictures_note": summary.pictures_note(pictures),
        "pictures_meaning": summary.pictures_meaning(),
        "spread": summary.spread(),
        "spread_note": value_note(document, words),
        "timeline": summary.timeline() if summary.is_video else None,
        "people": summary.people(),
        "people_more": summary.people_more(),
        "people_note": summary.people_note(),
        "reviews": summary.reviews(),
        "facts": {"item": tables.item(), "finding": tables.finding(), "method": tables.method()},
        "occurrences": tables.occurrences(),
        "occurrences_more": tables.occurrences_more(),
        "conditions": tables.conditions(),
        "rates_note": tables.rates_note(),
        "custody": tables.custody(custody),
        "custody_more": tables.custody_more(custody),
        "words": words.plain,
        "lang": words.language,
    }
