"""The report of an edition: a PDF/A-3 that a layperson understands on page one.

Set by Typst from a template that takes words and values as data alone, in a Korean font that a
package carries. The same data gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any

from deepfake_service.documents.i18n import Words
from deepfake_service.documents.report_presenter import View
from deepfake_service.documents.typesetting import pdf_of


def report(
    document: dict[str, Any],
    pictures: Mapping[str, bytes],
    custody: dict[str, Any],
    digests: Mapping[str, str],
    words: Words,
    certificate_sha256: str,
) -> bytes:
    """The unsigned PDF of a ``verdict.json`` document in the language of ``words``.

    ``digests`` are the SHA-256 of the bundle's other files, stated so that they can be compared by
    eye.
    """
    view = View(document, words)
    data = {
        **view.heading(),
        **view.page_one(),
        "pictures": view.pictures(pictures),
        "pictures_note": view.pictures_note(),
        "timeline": view.timeline(),
        "people": view.people(),
        "people_more": view.people_more(),
        "pictures_meaning": view.pictures_meaning(),
        "reviews": view.reviews(),
        "facts": {"item": view.item(), "finding": view.finding(), "method": view.method()},
        "occurrences": view.occurrences(),
        "conditions": view.conditions(),
        "rates_note": view.rates_note(),
        "custody_more": view.custody_more(custody),
        "occurrences_more": view.occurrences_more(),
        "custody": view.custody(custody),
        "files": [[name, digests[name]] for name in sorted(digests)],
        "command": "deepfake verify BUNDLE.zip --public-key KEY.pem --rescore",
        "certificate": certificate_sha256,
        "words": words.plain,
        "lang": words.language,
    }
    template = (files("deepfake_service.documents") / "templates" / "report.typ").read_bytes()
    return pdf_of(template, data, datetime.fromisoformat(document["created_at"]))
